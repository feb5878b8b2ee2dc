//! The LLM's answers, kept over the sweeps of several policies.

use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::{Ask, Llm, LlmError, Reply, TokenId};
use tokenroute_llm::Metered;

/// Prompts that a policy's own count remembers: more than are swept together.
const PROMPTS: usize = 1024;

/// An LLM that keeps its answers and KV states until it is dropped.
pub(super) struct SharedAnswers<'l> {
    llm: Box<dyn Llm + 'l>,
    /// The greatest [`Ask::top`] of the policies. Every ask wants as many, so that no answer
    /// is asked for again because it came without probabilities.
    top: usize,
    processed: AtomicU64,
}

impl<'l> SharedAnswers<'l> {
    pub(super) fn new(llm: Box<dyn Llm + 'l>, top: usize) -> Self {
        SharedAnswers { llm, top, processed: AtomicU64::new(0) }
    }

    /// Positions that the LLM processed so far.
    pub(super) fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    /// The LLM for one policy, whose positions are counted as if no other had asked.
    pub(super) fn as_if_alone(&self) -> Metered<&Self> {
        Metered::new(self, PROMPTS)
    }
}

impl Llm for SharedAnswers<'_> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let widened: Vec<Ask<'_>> = asks.iter().map(|a| a.with_top(self.top.max(a.top))).collect();
        let mut replies = self.llm.ask(&widened);
        for (reply, ask) in replies.iter_mut().zip(asks) {
            let Ok(reply) = reply else { continue };
            match ask.top {
                0 => reply.top.clear(),
                top if top < self.top => {
                    reply
                        .top
                        .iter_mut()
                        .for_each(|list| *list = list[..top.min(list.len())].into());
                }
                _ => {}
            }
        }
        let positions = replies.iter().flatten().map(|reply| reply.positions).sum();
        self.processed.fetch_add(positions, Ordering::Relaxed);
        replies
    }

    /// Forgets nothing: the next policy asks about the same prompts.
    fn forget(&self, _: &[TokenId]) {}
}
