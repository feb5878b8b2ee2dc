//! A sequence for the batch, and the events that it sends back.

use tokenroute_core::{Sampling, TokenId};
use tokio::sync::mpsc::UnboundedSender;

use crate::completions::score::Scored;
use crate::net::memory::Reservation;

/// A sequence to generate.
#[derive(Debug)]
pub(crate) struct NewSequence {
    /// At least one token, all in the vocabulary.
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    /// How many of the most probable tokens come with each generated one.
    pub(crate) top: Option<usize>,
    /// The same for prompt tokens from the given position on, which is at least 1.
    pub(crate) prompt_top: Option<(usize, usize)>,
    pub(crate) events: UnboundedSender<SequenceEvent>,
    /// Memory of its KV cache and logits.
    pub(crate) memory: Reservation,
}

impl NewSequence {
    /// Whether the step after the last token must come with all logits.
    pub(crate) fn wants_logits(&self) -> bool {
        self.top.is_some() || self.sampling.is_some()
    }
}

/// Events of a sequence, in order.
#[derive(Debug)]
pub(crate) enum SequenceEvent {
    /// Prefill begins; `cached` positions of the prompt are in the KV cache.
    Started { cached: usize },
    /// The next prompt token, scored.
    Prompt(Scored),
    /// The next generated token.
    Token(Scored),
    /// The last token was an end token, or the limit is reached.
    Done { ended: bool },
    /// The model failed.
    Failed(String),
}
