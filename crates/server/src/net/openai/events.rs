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

/// One event: its data, and its name if it has one.
#[derive(Debug)]
pub(crate) struct EventData {
    pub(crate) name: Option<&'static str>,
    pub(crate) data: String,
}

impl From<String> for EventData {
    fn from(data: String) -> Self {
        EventData { name: None, data }
    }
}

/// A stream's events.
pub(crate) trait Events: Send + 'static {
    /// The next event; `None` after the last.
    fn next(&mut self) -> impl Future<Output = Option<EventData>> + Send;
}

/// The reply that sends these events.
pub(crate) fn streamed(events: impl Events) -> Response {
    let stream = stream::unfold(events, |mut events| async move {
        let EventData { name, data } = events.next().await?;
        let named = name.into_iter().fold(Event::default(), Event::event);
        Some((Ok::<_, Infallible>(named.data(data)), events))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(SILENCE)).into_response()
}
