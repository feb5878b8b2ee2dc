//! A reply as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

/// Marks the end of a stream.
pub(crate) const DONE: &str = "[DONE]";

/// Silence after which a comment is sent, so that proxies do not drop the connection.
const SILENCE: Duration = Duration::from_secs(10);

/// The data of a stream's events.
pub(crate) trait Events: Send + 'static {
    /// The next event's data; `None` after the last.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// The reply that sends these events.
pub(crate) fn streamed(events: impl Events) -> Response {
    let stream = stream::unfold(events, |mut events| async move {
        let data = events.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), events))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(SILENCE)).into_response()
}
