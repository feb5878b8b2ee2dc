//! Tokens from earlier replies of the LLM, beyond the requested ones. They answer requests
//! without a call.

use std::collections::BTreeMap;

use tokenroute_core::TokenId;

use crate::Path;

/// The LLM's tokens, by the answer before them.
#[derive(Debug, Default)]
pub(crate) struct Lookahead(BTreeMap<Vec<TokenId>, TokenId>);

impl Lookahead {
    /// Keeps the tokens of a reply after its first, which follows the path.
    pub(crate) fn learn(&mut self, path: &Path<'_>, run: &[TokenId]) {
        let mut answer = path.answer().to_vec();
        let length = path.ends_within(run).unwrap_or(run.len());
        for pair in run[..length].windows(2) {
            answer.push(path.canonical(pair[0]));
            self.0.insert(answer.clone(), pair[1]);
        }
    }

    /// The LLM's token after this answer, if an earlier reply contains it.
    pub(crate) fn after(&self, answer: &[TokenId]) -> Option<TokenId> {
        self.0.get(answer).copied()
    }
}
