//! The served model, and the facts that requests are checked against.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokenroute_core::{ModelInfo, TokenId};

use crate::completions::batcher::Batcher;
use crate::completions::texts::Texts;
use crate::net::long_work::LongWork;
use crate::net::memory::Room;
use crate::net::openai::reply::{Stamp, model};

/// The served model. Its batch runs on a thread of its own.
pub(crate) struct ServedModel {
    /// Its name for clients.
    pub(crate) name: String,
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer_hash: String,
    pub(crate) texts: Box<dyn Texts>,
    /// Bytes of the token with the longest text.
    pub(crate) longest_token: usize,
    /// The special tokens that the tokenizer puts before a text.
    pub(crate) opening: Vec<TokenId>,
    pub(crate) batcher: Batcher,
    /// Memory for requests.
    pub(crate) memory: Room,
    /// Bytes of a position in the KV cache.
    pub(crate) position_bytes: usize,
    /// Where long requests are read.
    pub(crate) reading: LongWork,
    /// Replies so far.
    pub(crate) replies: AtomicU64,
}

impl ServedModel {
    /// The stamp of the next reply.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::now("cmpl", self.replies.fetch_add(1, Ordering::Relaxed))
    }

    /// The model as `/v1/models` lists it. Clients compare the hashes with their own.
    pub(crate) fn listed(&self) -> Value {
        let mut listed = model(&self.name, self.info.context);
        listed["tokenizer_hash"] = json!(self.tokenizer_hash);
        listed["weights_hash"] = json!(self.info.weights_hash);
        listed
    }
}
