//! The body of a request on its way in, cut off when its time is up or its memory is refused,
//! and in one piece once it has arrived.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::net::memory::{Reservation, Room};
use crate::net::refusal::Refusal;

/// The memory of the bytes of a request's body. The endpoint holds it until the body is read.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Reservation>);

impl BodyMemory {
    pub(super) fn new(reservation: Reservation) -> Self {
        BodyMemory(Arc::new(reservation))
    }
}

/// Why a body was cut off.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<Mutex<Option<Refusal>>>);

impl Cut {
    fn set(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    pub(super) fn take(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request body with limits of time and memory.
#[derive(Debug)]
pub(super) struct LimitedBody {
    body: Incoming,
    limit: Duration,
    time: Option<Pin<Box<Sleep>>>,
    memory: BodyMemory,
    cut: Cut,
}

impl LimitedBody {
    /// `cut` is set when the body is cut off.
    pub(super) fn new(body: Incoming, limit: Duration, memory: BodyMemory, cut: Cut) -> Self {
        let time = (!body.is_end_stream()).then(|| Box::pin(sleep(limit)));
        LimitedBody { body, limit, time, memory, cut }
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let bytes = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(frame.map(|frame| {
                let frame = frame.map_err(io::Error::other)?;
                self.memory.0.grow(bytes(&frame)).map_err(|refusal| {
                    self.cut.set(refusal);
                    io::Error::from(io::ErrorKind::OutOfMemory)
                })?;
                Ok(frame)
            }));
        }
        let up = self.time.as_mut().is_some_and(|time| time.as_mut().poll(context).is_ready());
        if !up {
            return Poll::Pending;
        }
        self.time = None;
        self.cut.set(Refusal::Slow { limit: self.limit });
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that has arrived, with its memory.
pub(crate) struct Arrived {
    pub(crate) bytes: Vec<u8>,
    /// Memory of the bytes.
    _memory: Option<BodyMemory>,
    /// Memory of the capacity beyond them.
    spare: Reservation,
}

impl Arrived {
    /// Receives the body of a request of at most this many bytes. Its pieces are copied as they
    /// come: each would hold the whole buffer into which it was read.
    pub(crate) async fn receive(
        request: Request,
        most: usize,
        room: &Room,
    ) -> Result<Arrived, Refusal> {
        let memory = request.extensions().get::<BodyMemory>().cloned();
        let mut body = request.into_body();
        let stated = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let greatest = stated.unwrap_or(most).min(most);
        let mut arrived = Arrived { bytes: Vec::new(), _memory: memory, spare: room.nothing() };
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| {
                Refusal::body(format!("the body of the request does not arrive: {error}"))
            })?;
            if let Ok(piece) = frame.into_data() {
                if most - arrived.bytes.len() < piece.len() {
                    return Err(Refusal::TooLarge { most });
                }
                arrived.add(&piece, greatest)?;
            }
        }
        Ok(arrived)
    }

    /// Adds a piece, whose memory is counted. The capacity doubles up to `greatest`; until the
    /// bytes have moved, the old one is there as well.
    fn add(&mut self, piece: &[u8], greatest: usize) -> Result<(), Refusal> {
        let (length, capacity) = (self.bytes.len() + piece.len(), self.bytes.capacity());
        if length > capacity {
            let wanted = capacity.saturating_mul(2).min(greatest).max(length);
            self.spare.grow(wanted)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
            self.spare.shrink(capacity);
        }
        self.bytes.extend_from_slice(piece);
        self.spare.shrink(piece.len());
        Ok(())
    }
}
