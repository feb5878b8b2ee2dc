//! The parts of a routed pair, as a program hands them over.

use std::sync::Arc;

use tokenroute_core::{Bytes, Llm, ModelInfo, Scorer, TokenId, Vocabulary};
use tokenroute_llm::POSITIONS_PER_CALL;
use tokenroute_model::{ChatOptions, ChatTemplate, Message, Tokenizer};
use tokenroute_runtime::Calls;

use crate::net::memory::step_bytes;

/// The small model with its tokenizer, and the LLM if there is one.
pub struct ServerPair<M> {
    /// Its name for clients.
    pub name: String,
    /// The small model.
    pub slm: M,
    /// End tokens and sentence ends.
    pub vocabulary: Vocabulary,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Messages to a prompt; without it only `/v1/completions` answers.
    pub template: Option<ChatTemplate>,
    /// The LLM; without it the small model answers alone.
    pub llm: Option<ServerLlm>,
    /// Receives every prompt before it is decoded, for an LLM that shares text alone with the
    /// small model.
    pub announce: Option<Box<dyn Announce>>,
}

/// Names what an LLM reads for a prompt, where it shares text alone with the small model. Errors
/// are messages for the client.
pub trait Announce: Send + Sync {
    /// A plain prompt.
    ///
    /// # Errors
    /// A text that the LLM cannot read.
    fn text(&self, prompt: &[TokenId], text: &str) -> Result<(), String>;

    /// A conversation.
    ///
    /// # Errors
    /// Messages that the LLM cannot read.
    fn chat(
        &self,
        prompt: &[TokenId],
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<(), String>;
}

/// The LLM and the router that asks it.
pub struct ServerLlm {
    /// The LLM, in process or behind a network.
    pub llm: Box<dyn Llm + Send>,
    /// The router.
    pub scorer: Box<dyn Scorer + Send>,
    /// How calls are batched.
    pub calls: Calls,
    /// Bytes sent to the LLM and received from it, if it is behind a network.
    pub bytes: Option<ByteMeter>,
    /// What it takes of this machine's memory beside its weights.
    pub memory: LlmMemory,
}

/// Memory of an LLM beside its weights. All of it is 0 for an LLM behind a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LlmMemory {
    /// Bytes of a position in its KV cache.
    pub(crate) position_bytes: usize,
    /// Bytes of its steps.
    pub(crate) step_bytes: usize,
}

impl LlmMemory {
    /// The memory of an LLM in process, with the bytes of a position in its KV cache.
    #[must_use]
    pub fn in_process(info: &ModelInfo, position_bytes: usize) -> Self {
        LlmMemory { position_bytes, step_bytes: step_bytes(info, POSITIONS_PER_CALL) }
    }
}

/// Reads how many bytes have crossed the network so far.
pub type ByteMeter = Arc<dyn Fn() -> Bytes + Send + Sync>;
