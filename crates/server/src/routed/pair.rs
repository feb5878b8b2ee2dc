//! The parts of a routed pair, as a program hands them over.

use std::sync::Arc;

use tokenroute_core::{Bytes, Llm, Scorer, Vocabulary};
use tokenroute_model::{ChatTemplate, Tokenizer};
use tokenroute_runtime::Calls;

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
}

/// Reads how many bytes have crossed the network so far.
pub type ByteMeter = Arc<dyn Fn() -> Bytes + Send + Sync>;
