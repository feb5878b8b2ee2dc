//! What the LLM has said beyond the token it was asked for, by the tokens
//! before: answers that need no call.

use std::collections::BTreeMap;

use tokenroute_core::TokenId;

use crate::Path;

/// Tokens of the LLM by the answer so far that they follow.
#[derive(Debug, Default)]
pub(crate) struct Lookahead(BTreeMap<Vec<TokenId>, TokenId>);

impl Lookahead {
    /// Keeps what a run says beyond its first token, which follows the path.
    pub(crate) fn learn(&mut self, path: &Path<'_>, run: &[TokenId]) {
        let mut answer = path.answer().to_vec();
        for pair in run.windows(2) {
            if path.ends(pair[0]) {
                return;
            }
            answer.push(path.canonical(pair[0]));
            self.0.insert(answer.clone(), pair[1]);
        }
    }

    /// The LLM's token after an answer so far, if it has said it.
    pub(crate) fn after(&self, answer: &[TokenId]) -> Option<TokenId> {
        self.0.get(answer).copied()
    }
}
