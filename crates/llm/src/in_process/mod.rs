//! A local model as the LLM. Asks that extend what the model has already read
//! pay only for what is new; what it has already answered is free.

mod asks;
mod continuations;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::{
    Ask, Continuation, LanguageModel, Llm, LlmError, Reply, TokenId, Vocabulary,
};

use crate::roots::Roots;

/// Prompts kept by default.
const PROMPTS: usize = 1024;

/// A local model behind [`Llm`]. It keeps, per prompt, the model's states and
/// answers, so that [`Reply::positions`] counts only what is processed now.
/// Prompts never share what they keep, so the cost of one question does not
/// depend on the others. Calls from several threads wait for each other.
#[derive(Debug)]
pub struct InProcess<M: LanguageModel> {
    model: M,
    roots: Mutex<Roots<M::State>>,
}

impl<M: LanguageModel> InProcess<M> {
    /// Puts a model behind [`Llm`], keeping up to 1024 prompts.
    pub fn new(model: M) -> Self {
        Self::with_prompts(model, PROMPTS)
    }

    /// The same, keeping up to `prompts` prompts; the least recently used goes
    /// first. At least one is kept.
    pub fn with_prompts(model: M, prompts: usize) -> Self {
        InProcess { model, roots: Mutex::new(Roots::new(prompts)) }
    }

    /// The model itself.
    pub fn model(&self) -> &M {
        &self.model
    }

    fn roots(&self) -> MutexGuard<'_, Roots<M::State>> {
        // A panic in the model loses the states that were taken out for it. They are made
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
