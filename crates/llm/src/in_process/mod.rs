//! A local model as the LLM. An ask that extends a known context costs only its new positions.
//! A known answer costs none.

mod asks;
mod best;
mod continuations;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::{
    Ask, Continuation, LanguageModel, Llm, LlmError, Reply, TokenId, Vocabulary,
};

use crate::roots::Roots;

pub use asks::POSITIONS_PER_CALL;
pub(crate) use best::Choice;

/// Default number of cached prompts.
const PROMPTS: usize = 1024;

/// A local model behind [`Llm`]. It caches states and answers for each prompt, so that
/// [`Reply::positions`] counts only new positions. Prompts never share cached states, so the
/// cost of one question does not depend on the others. Concurrent calls wait for each other.
#[derive(Debug)]
pub struct InProcess<M: LanguageModel> {
    model: M,
    roots: Mutex<Roots<M::State>>,
}

impl<M: LanguageModel> InProcess<M> {
    /// Puts a model behind [`Llm`], with a cache for 1024 prompts.
    pub fn new(model: M) -> Self {
        Self::with_prompts(model, PROMPTS)
    }

    /// As [`InProcess::new`], with a cache for `prompts` prompts, at least one. The least
    /// recently used prompt is dropped first.
    pub fn with_prompts(model: M, prompts: usize) -> Self {
        InProcess { model, roots: Mutex::new(Roots::new(prompts)) }
    }

    /// The model itself.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The most probable of some tokens after each context.
    pub(crate) fn choose(&self, choices: &[Choice<'_>]) -> Vec<Result<Reply, LlmError>> {
        let mut roots = self.roots();
        let replies = best::choose(&self.model, &mut roots, choices);
        roots.evict();
        replies
    }

    fn roots(&self) -> MutexGuard<'_, Roots<M::State>> {
        // A panic in the model loses the states that were taken out for it. They are computed
        // again.
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: LanguageModel> Llm for InProcess<M> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let mut roots = self.roots();
        let replies = asks::answer(&self.model, &mut roots, asks);
        roots.evict();
        replies
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let mut roots = self.roots();
        let replies = continuations::make(&self.model, &mut roots, wanted, vocabulary);
        roots.evict();
        replies
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.roots().forget(prompt, &|state, len| self.model.truncate(state, len));
    }
}
