//! What one connection is up to: whether a request is under way, whether a reader has
//! stopped reading, and whether a request's body takes too long to arrive.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body as AxumBody;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

use crate::server::Refusal;

tokio::task_local! {
    /// The reader of the HTTP/2 stream whose task this is.
    static READER: Arc<Reader>;
}

/// Requests under way on a connection.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<(usize, Instant)>);

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Pulse(Mutex::new((0, Instant::now()))))
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        // Nothing that holds the lock can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once no request has been under way for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let (requests, since) = *self.lock();
            let left = limit.saturating_sub(since.elapsed());
            if requests == 0 && left.is_zero() {
                return;
            }
            sleep(if requests == 0 { left } else { limit }).await;
        }
    }
}

/// A request is under way while this is there.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pulse>);

impl Busy {
    pub(super) fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.lock().0 += 1;
        Busy(Arc::clone(pulse))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut pulse = self.0.lock();
        *pulse = (pulse.0 - 1, Instant::now());
    }
}

/// Whether what was last handed out of a reply has been taken.
#[derive(Debug, Default)]
pub(super) struct Reader(Mutex<Option<Instant>>);

impl Reader {
    /// The reader of the stream that this is the task of, or else of the connection.
    pub(super) fn here(connection: &Arc<Reader>) -> Arc<Reader> {
        READER.try_with(Arc::clone).unwrap_or_else(|_| Arc::clone(connection))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once something has waited to be taken for so long.
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

/// Runs the streams of an HTTP/2 connection, each until its reader stalls: one that
/// does takes no other stream of the connection with it.
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

/// The moment from which nothing goes on.
pub(super) type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A reply's body that says how far its reader is.
pub(super) struct Read {
    body: AxumBody,
    reader: Arc<Reader>,
    over: Option<Over>,
    _busy: Busy,
}

impl Read {
    /// With `over`, the body is one of server-sent events, and at that moment ends with
    /// one that says so.
    pub(super) fn new(body: AxumBody, reader: Arc<Reader>, busy: Busy, over: Option<Over>) -> Self {
        Read { body, reader, over, _busy: busy }
    }
}

impl Body for Read {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Who asks for more has taken what there was.
        *self.reader.lock() = None;
        let over = self.over.as_mut().is_some_and(|over| over.as_mut().poll(context).is_ready());
        let polled = if over {
            self.over = None;
            // Nobody decodes what nobody will read.
            self.body = AxumBody::empty();
            let event = format!("data: {}\n\n", Refusal::Over.json());
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

impl Drop for Read {
    fn drop(&mut self) {
        *self.reader.lock() = None;
    }
}

/// A request's body that breaks off when its time is up.
#[derive(Debug)]
pub(super) struct Timed {
    body: Incoming,
    time: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
}

impl Timed {
    /// `late` is set when the body breaks off.
    pub(super) fn new(body: Incoming, limit: Duration, late: Arc<AtomicBool>) -> Self {
        let time = (!body.is_end_stream()).then(|| Box::pin(sleep(limit)));
        Timed { body, time, late }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let up = self.time.as_mut().is_some_and(|time| time.as_mut().poll(context).is_ready());
        if !up {
            return Poll::Pending;
        }
        self.time = None;
        self.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
