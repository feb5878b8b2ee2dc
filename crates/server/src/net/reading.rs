//! Whether the client still reads its reply. A reader that stalls loses its connection or,
//! over HTTP/2, its stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body as AxumBody;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::sleep;

use crate::net::activity::Busy;
use crate::net::memory::ReplyMemory;
use crate::net::refusal::Refusal;

tokio::task_local! {
    /// The reader of the HTTP/2 stream that runs in this task.
    static READER: Arc<Reader>;
}

/// When the last piece was handed out, unless the client has taken it.
#[derive(Debug, Default)]
pub(super) struct Reader(Mutex<Option<Instant>>);

impl Reader {
    /// The reader of this task's HTTP/2 stream, or else of the connection.
    pub(super) fn here(connection: &Arc<Reader>) -> Arc<Reader> {
        READER.try_with(Arc::clone).unwrap_or_else(|_| Arc::clone(connection))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once a piece has waited for this long.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let handed = *self.lock();
            let left = handed.map_or(limit, |at| limit.saturating_sub(at.elapsed()));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

/// Runs the streams of an HTTP/2 connection. A stream whose reader stalls ends alone; the
/// other streams of the connection go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams(pub(super) Duration);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let limit = self.0;
        tokio::spawn(async move {
            let reader = Arc::<Reader>::default();
            tokio::select! {
                () = READER.scope(Arc::clone(&reader), stream) => {}
                () = reader.stalled(limit) => {}
            }
        });
    }
}

/// The end of shutdown's grace.
pub(super) type GraceEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A reply's body that records when its pieces are handed out and taken.
pub(super) struct WatchedBody {
    body: AxumBody,
    reader: Arc<Reader>,
    grace: Option<GraceEnd>,
    _held: Held,
}

/// What a reply holds until it is sent: its place among the requests under way, and its memory.
pub(super) type Held = (Busy, Option<ReplyMemory>);

impl WatchedBody {
    /// With `grace`, the body is a stream of server-sent events. At the end of the grace
    /// it stops with an error event.
    pub(super) fn new(
        body: AxumBody,
        reader: Arc<Reader>,
        held: Held,
        grace: Option<GraceEnd>,
    ) -> Self {
        WatchedBody { body, reader, grace, _held: held }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // A poll for more means that the last piece was taken.
        *self.reader.lock() = None;
        let over = self.grace.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready());
        let polled = if over {
            self.grace = None;
            // Dropping the old body stops the decoding behind it.
            self.body = AxumBody::empty();
            let event = format!("data: {}\n\n", Refusal::ShuttingDown.json());
            Poll::Ready(Some(Ok(Frame::data(event.into()))))
        } else {
            Pin::new(&mut self.body).poll_frame(context)
        };
        if let Poll::Ready(Some(Ok(_))) = polled {
            *self.reader.lock() = Some(Instant::now());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        *self.reader.lock() = None;
    }
}
