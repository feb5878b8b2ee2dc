//! A scripted LLM: a function of the context gives answers and failures. Demos and tests of
//! failures need no network with it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::{Ask, Llm, LlmError, Reply, TokenId};

/// An LLM that follows a script. It has no cache: every ask costs all of its context.
#[derive(Debug)]
pub struct Scripted<F> {
    script: F,
    failing: BTreeSet<u64>,
    asked: AtomicU64,
}

impl<F> Scripted<F>
where
    F: Fn(&[TokenId]) -> Result<TokenId, LlmError> + Sync,
{
    /// The script maps a context to its token, drawn or not, or to a failure.
    pub fn new(script: F) -> Self {
        Scripted { script, failing: BTreeSet::new(), asked: AtomicU64::new(0) }
    }

    /// Makes these asks fail too, by their number from 0 in order of arrival.
    #[must_use]
    pub fn failing(mut self, asks: impl IntoIterator<Item = u64>) -> Self {
        self.failing.extend(asks);
        self
    }

    /// Number of asks so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A script from a table of contexts. Contexts that it does not list get `otherwise`.
pub fn table(
    answers: HashMap<Vec<TokenId>, TokenId>,
    otherwise: TokenId,
) -> impl Fn(&[TokenId]) -> Result<TokenId, LlmError> {
    move |context| Ok(answers.get(context).copied().unwrap_or(otherwise))
}

impl<F> Llm for Scripted<F>
where
    F: Fn(&[TokenId]) -> Result<TokenId, LlmError> + Sync,
{
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        asks.iter()
            .map(|ask| {
                let number = self.asked.fetch_add(1, Ordering::Relaxed);
                if self.failing.contains(&number) {
                    return Err(LlmError::Unavailable(format!("ask {number} fails by script")));
                }
                let tokens = (ask.from..=ask.context.len())
                    .map(|i| (self.script)(&ask.context[..i]))
                    .collect::<Result<_, _>>()?;
                let positions = ask.context.len() as u64;
                Ok(Reply { tokens, positions, ..Reply::default() })
            })
            .collect()
    }

    fn forget(&self, _: &[TokenId]) {}
}
