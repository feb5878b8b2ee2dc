//! What a session has committed, for others to branch off from.

use tokenroute_core::{LanguageModel, Step, TokenId};

use crate::Path;

/// A trajectory: its tokens, and what the SLM knows of it.
#[derive(Debug, Clone)]
pub struct Committed<'v, S> {
    /// Id of the question, for policies that hash it.
    pub question: String,
    /// Prompt and committed tokens.
    pub path: Path<'v>,
    /// The SLM's state, which holds all of them but the last.
    pub state: S,
    /// What the SLM said at each position of the answer; empty for a fork.
    pub steps: Vec<Step>,
}

impl<S: Clone> Committed<'_, S> {
    /// The trajectory that leaves this one at answer position `index`, which it has, by
    /// `token`. The SLM's state is shared as far as both go.
    #[must_use]
    pub fn fork<M: LanguageModel<State = S>>(&self, slm: &M, index: usize, token: TokenId) -> Self {
        let mut state = self.state.clone();
        slm.truncate(&mut state, self.path.prompt_len() + index);
        let path = self.path.fork(index, token);
        Committed { question: self.question.clone(), path, state, steps: Vec::new() }
    }
}
