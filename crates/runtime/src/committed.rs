//! The committed part of a session, from which others can branch off.

use tokenroute_core::{LanguageModel, Step, TokenId};

use crate::Path;

/// A trajectory: its tokens and the SLM's state.
#[derive(Debug, Clone)]
pub struct Committed<'v, S> {
    /// Id of the question, for policies that hash it.
    pub question: String,
    /// Prompt and committed tokens.
    pub path: Path<'v>,
    /// The SLM's state, over all tokens but the last.
    pub state: S,
    /// The SLM's step at each position of the answer. Empty for a fork.
    pub steps: Vec<Step>,
}

impl<S: Clone> Committed<'_, S> {
    /// The trajectory that leaves this one with `token` at answer position `index`, which must
    /// exist. Both share the SLM's state up to there.
    #[must_use]
    pub fn fork<M: LanguageModel<State = S>>(&self, slm: &M, index: usize, token: TokenId) -> Self {
        let mut state = self.state.clone();
        slm.truncate(&mut state, self.path.prompt_len() + index);
        let path = self.path.fork(index, token);
        Committed { question: self.question.clone(), path, state, steps: Vec::new() }
    }
}
