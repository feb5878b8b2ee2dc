//! State that all requests of a routed server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::Bytes;

use crate::net::long_work::LongWork;
use crate::net::memory::Room;
use crate::net::openai::reply::Stamp;
use crate::routed::metrics::{Metrics, Now};
use crate::routed::pair::ByteMeter;
use crate::routed::served::ServedPair;
use crate::routed::worker::Worker;

/// State that all requests share.
pub(crate) struct Shared {
    pub(crate) pair: ServedPair,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bytes: Option<ByteMeter>,
    pub(crate) worker: Worker,
    /// Memory for requests.
    pub(crate) memory: Room,
    /// Where long requests are read.
    pub(crate) reading: LongWork,
    /// Replies so far.
    pub(crate) replies: AtomicU64,
}

impl Shared {
    /// The stamp of the next reply.
    pub(crate) fn stamp(&self, prefix: &str) -> Stamp {
        Stamp::now(prefix, self.replies.fetch_add(1, Ordering::Relaxed))
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn metrics_text(&self) -> String {
        let bytes: Option<Bytes> = self.bytes.as_ref().map(|bytes| bytes());
        let (under_way, slots) = (self.worker.under_way(), self.worker.slots());
        self.metrics.text(Now { under_way, slots, bytes })
    }
}
