//! Memory that requests take: counted before it is taken, and given back on drop. A request
//! that would exceed a limit is refused with 503.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use tokenroute_core::{ModelInfo, Step, TokenId};

use crate::net::refusal::Refusal;
use crate::net::server::ServerError;

/// Positions of a request that a limit must have room for.
pub const ONE_REQUEST: usize = 512;

/// Positions of a state beyond those in use: its last block, and the copy of a fork.
const SLACK: usize = 64;

/// Bytes of a position while a step processes it, for each number of its hidden state:
/// activations of the widest layers that are held for all positions.
const STEP_BYTES: usize = 24;

/// Rows of logits that a step holds at once, beside those of the sequences.
const LOGIT_ROWS: usize = 128;

/// Bodies of requests that one connection may send at once, in greatest bodies.
const BODIES_OF_CONNECTION: usize = 4;

/// The same for all connections.
const BODIES: usize = 64;

/// Bytes that a process may use, and how many it used before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes of the process: weights, KV caches, requests and replies.
    pub total: usize,
    /// Bytes in use once the models are loaded.
    pub loaded: usize,
}

/// The memory of a service beside its models' weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceMemory {
    pub(crate) limit: Option<MemoryLimit>,
    /// Bytes of the models' steps.
    pub(crate) steps: usize,
    /// Bytes of the states of a sequence, for each position.
    pub(crate) position_bytes: usize,
    /// Bytes of a sequence beside them.
    pub(crate) sequence_bytes: usize,
}

impl ServiceMemory {
    /// Refuses a limit without room for one sequence.
    ///
    /// # Errors
    /// [`ServerError::NoMemory`].
    pub(crate) fn check(&self) -> Result<(), ServerError> {
        let Some(MemoryLimit { total, loaded }) = self.limit else { return Ok(()) };
        let needed = self.steps.saturating_add(self.one());
        let least = loaded.saturating_add(needed);
        match total >= least {
            true => Ok(()),
            false => {
                Err(ServerError::NoMemory { total, loaded, positions: ONE_REQUEST, needed, least })
            }
        }
    }

    /// How many positions of earlier sequences are kept: at most `wanted`, and at most a quarter
    /// of the memory that one sequence leaves. A kept position takes `position_bytes`.
    pub(crate) fn kept_positions(&self, position_bytes: usize, wanted: usize) -> usize {
        match self.limit {
            Some(_) => {
                let free = self.free().saturating_sub(self.one());
                wanted.min(free / 4 / kept_bytes(position_bytes, 1).max(1))
            }
            None => wanted,
        }
    }

    /// Room for requests, beside this many bytes of kept positions.
    pub(crate) fn room(&self, kept: usize) -> Room {
        let total = self.limit.map_or(usize::MAX, |limit| limit.total);
        Room::new(Limited::Process { total }, self.free().saturating_sub(kept), None)
    }

    /// Bytes that steps and weights leave.
    fn free(&self) -> usize {
        let used = |limit: MemoryLimit| limit.total.saturating_sub(limit.loaded);
        self.limit.map_or(usize::MAX, used).saturating_sub(self.steps)
    }

    fn one(&self) -> usize {
        state_bytes(self.position_bytes, ONE_REQUEST).saturating_add(self.sequence_bytes)
    }
}

/// Which limit a request exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Bodies that one connection sends.
    Connection,
    /// Bodies that all connections send.
    Bodies,
    /// The process, with this many bytes in total.
    Process { total: usize },
}

/// Room for a number of bytes, within a larger room if it is part of one.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limited: Limited,
    most: usize,
    taken: AtomicUsize,
    within: Option<Room>,
}

impl Room {
    fn new(limited: Limited, most: usize, within: Option<Room>) -> Room {
        Room(Arc::new(Inner { limited, most, taken: AtomicUsize::new(0), within }))
    }

    /// Room for the bodies of all requests, of at most `body` bytes each.
    pub(crate) fn for_bodies(&self, body: usize) -> Room {
        Room::new(Limited::Bodies, body.saturating_mul(BODIES), Some(self.clone()))
    }

    /// Room for the bodies of one connection, within the room for all bodies.
    pub(super) fn for_connection(&self) -> Room {
        let most = self.0.most / BODIES * BODIES_OF_CONNECTION;
        Room::new(Limited::Connection, most, Some(self.clone()))
    }

    /// Takes bytes until the reservation is dropped.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`] if fewer are free.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation, Refusal> {
        let reservation = self.nothing();
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// A reservation of no bytes, which may grow.
    pub(crate) fn nothing(&self) -> Reservation {
        Reservation { room: self.clone(), bytes: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> Result<(), Refusal> {
        let Inner { limited, most, taken, within } = &*self.0;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|all| all <= most);
        if let Err(taken) = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            let (limited, most, free) = (*limited, *most, most - taken);
            return Err(Refusal::NoMemory { limited, wanted: bytes, most, free });
        }
        let taken_within = within.as_ref().map_or(Ok(()), |within| within.take(bytes));
        if taken_within.is_err() {
            taken.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken_within
    }

    fn give_back(&self, bytes: usize) {
        self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(within) = &self.0.within {
            within.give_back(bytes);
        }
    }
}

/// Bytes taken from a room. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Room,
    bytes: AtomicUsize,
}

impl Reservation {
    /// Takes more bytes.
    ///
    /// # Errors
    /// As [`Room::reserve`].
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), Refusal> {
        self.room.take(bytes)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives this many of its bytes back, or all of them.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        drop(self.part(bytes));
    }

    /// Splits this many of its bytes off, or all of them.
    pub(crate) fn part(&mut self, bytes: usize) -> Reservation {
        let held = self.bytes.get_mut();
        let bytes = bytes.min(*held);
        *held -= bytes;
        Reservation { room: self.room.clone(), bytes: AtomicUsize::new(bytes) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.give_back(*self.bytes.get_mut());
    }
}

/// Memory of a reply, which its connection holds until the reply is sent.
#[derive(Debug, Clone)]
pub(super) struct ReplyMemory {
    _reservation: Arc<Reservation>,
}

/// The reply, which holds its memory until it is sent.
pub(crate) fn holding(mut reply: Response, reservation: Reservation) -> Response {
    let memory = ReplyMemory { _reservation: Arc::new(reservation) };
    reply.extensions_mut().insert(memory);
    reply
}

/// Bytes of the KV cache of a sequence, forks of its last positions included.
pub(crate) fn state_bytes(position_bytes: usize, positions: usize) -> usize {
    positions.saturating_add(SLACK).saturating_mul(position_bytes)
}

/// Bytes that a model's steps take, of at most this many positions each.
pub(crate) fn step_bytes(info: &ModelInfo, positions: usize) -> usize {
    let activations = positions.saturating_mul(info.hidden).saturating_mul(STEP_BYTES);
    activations.saturating_add(LOGIT_ROWS * size_of::<f32>() * info.vocabulary)
}

/// Bytes of one position of a session in a step, and of what the model says there, without the
/// logits.
pub(crate) fn said_bytes(info: &ModelInfo) -> usize {
    // Its most probable tokens, and their logits.
    let top = info.top_k.saturating_mul(size_of::<(TokenId, f32)>() + size_of::<f32>());
    let hidden = info.hidden.saturating_mul(size_of::<f32>() + STEP_BYTES);
    size_of::<Step>().saturating_add(hidden).saturating_add(top)
}

/// Bytes of kept positions. Short sequences fill half of their blocks at worst.
pub(crate) fn kept_bytes(position_bytes: usize, kept: usize) -> usize {
    kept.saturating_mul(position_bytes).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(total: usize, loaded: usize, steps: usize, position_bytes: usize) -> ServiceMemory {
        let limit = Some(MemoryLimit { total, loaded });
        ServiceMemory { limit, steps, position_bytes, sequence_bytes: 0 }
    }

    #[test]
    fn the_limit_has_room_for_a_request_before_anything_is_kept() {
        let one = 10 * (ONE_REQUEST + SLACK);
        let error = service(1000 + one - 1, 700, 300, 10).check().expect_err("a byte short");
        let ServerError::NoMemory { least, .. } = error else { panic!("{error}") };
        let memory = service(least, 700, 300, 10);
        memory.check().expect("room");
        assert_eq!(memory.kept_positions(10, 100), 0);
        let memory = service(least + 4 * 20 * 7, 700, 300, 10);
        assert_eq!((memory.kept_positions(10, 100), memory.kept_positions(10, 5)), (7, 5));
        memory.room(kept_bytes(10, 7)).reserve(one + 3 * 20 * 7).expect("what is not kept");
    }

    #[test]
    fn what_is_reserved_comes_back_and_a_part_never_exceeds_its_whole() {
        let process = service(1000, 300, 60, 0).room(0);
        let bodies = process.for_bodies(10);
        let (one, other) = (bodies.for_connection(), bodies.for_connection());
        let held = one.reserve(30).expect("room");
        held.grow(10).expect("room");
        let refused =
            |wanted, limited, most, free| Some(Refusal::NoMemory { limited, wanted, most, free });
        assert_eq!(held.grow(1).err(), refused(1, Limited::Connection, 40, 0));
        let rest = process.reserve(590).expect("room");
        let total = Limited::Process { total: 1000 };
        assert_eq!(other.reserve(11).err(), refused(11, total, 640, 10));
        drop(held);
        let all = other.reserve(40).expect("the refused bytes were given back");
        assert_eq!(process.reserve(11).err(), refused(11, total, 640, 10));
        drop((rest, all));
        drop(process.reserve(640).expect("all of it"));
    }

    #[test]
    fn an_unlimited_process_refuses_overflow_alone() {
        let process = ServiceMemory { limit: None, ..service(0, 0, 0, 0) }.room(0);
        let held = process.reserve(usize::MAX).expect("no limit");
        assert!(process.reserve(1).is_err());
        drop(held);
        process.reserve(1).expect("room");
    }
}
