//! The body of a request on its way in, cut off when its time is up.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// A request body with a time limit.
#[derive(Debug)]
pub(super) struct TimedBody {
    body: Incoming,
    time: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
}

impl TimedBody {
    /// `late` is set when the body is cut off.
    pub(super) fn new(body: Incoming, limit: Duration, late: Arc<AtomicBool>) -> Self {
        let time = (!body.is_end_stream()).then(|| Box::pin(sleep(limit)));
        TimedBody { body, time, late }
    }
}

impl Body for TimedBody {
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
