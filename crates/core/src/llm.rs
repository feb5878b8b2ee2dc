//! The LLM as the runtime sees it: tokens, greedy or drawn, for the ends of prefixes,
//! asked in batches, each of which may fail on its own.

use std::iter::Sum;
use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::{Sampling, TokenId, Vocabulary};

/// One sequence put to the LLM.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Prompt and committed tokens.
    pub context: &'a [TokenId],
    /// The LLM's token is wanted after `context[..i]` for every `i` in
    /// `from..=context.len()`; `from = context.len()` asks for the next token
    /// alone. At least 1.
    pub from: usize,
    /// How tokens are drawn, at [`crate::Side::Llm`] and position `i`; greedy if `None`.
    pub sampling: Option<Sampling>,
}

impl<'a> Ask<'a> {
    /// Asks for greedy tokens.
    #[must_use]
    pub fn greedy(context: &'a [TokenId], from: usize) -> Self {
        Ask { context, from, sampling: None }
    }

    /// Asks for the next token alone.
    #[must_use]
    pub fn next(context: &'a [TokenId], sampling: Option<Sampling>) -> Self {
        Ask { context, from: context.len(), sampling }
    }
}

/// The LLM's answer to one [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// One token for each `i` in `from..=context.len()`.
    pub tokens: Vec<TokenId>,
    /// Positions the LLM processed for it, prefill included.
    pub positions: u64,
    /// What crossed a network for it; nothing where there is none between.
    pub bytes: Bytes,
}

/// What crossed a network to the LLM and back: bodies of requests and replies,
/// second attempts included. Headers and TLS are left out. An LLM in process has
/// no such figure: where it is reported it is then absent, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bytes {
    /// To the LLM.
    pub up: u64,
    /// From it.
    pub down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, more: Bytes) {
        self.up += more.up;
        self.down += more.down;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(all: I) -> Bytes {
        all.fold(Bytes::default(), |mut sum, bytes| {
            sum += bytes;
            sum
        })
    }
}

/// What came since `before`, of a count that only grows.
impl Sub for Bytes {
    type Output = Bytes;

    fn sub(self, before: Bytes) -> Bytes {
        Bytes { up: self.up - before.up, down: self.down - before.down }
    }
}

/// A large model, in process or behind a network.
pub trait Llm: Sync {
    /// Answers every ask, in order; one failing leaves the others whole.
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>>;

    /// The LLM's continuation of a context, at least one token and at most `tokens`,
    /// none after an end token: the tokens of one [`Llm::ask`] after the other. Unless
    /// an LLM can do better, that is how it is asked; should it fail on the way, what
    /// it has said so far is the answer.
    ///
    /// # Errors
    /// A failure before the first token.
    fn relay(
        &self,
        context: &[TokenId],
        tokens: usize,
        sampling: Option<Sampling>,
        vocabulary: &Vocabulary,
    ) -> Result<Reply, LlmError> {
        let mut context = context.to_vec();
        let mut whole = Reply::default();
        loop {
            let ask = Ask::next(&context, sampling);
            let none = || LlmError::BadReply("no token in reply to an ask".to_owned());
            let said = self.ask(&[ask]).pop().unwrap_or_else(|| Err(none())).and_then(|reply| {
                whole.positions += reply.positions;
                whole.bytes += reply.bytes;
                reply.tokens.last().copied().ok_or_else(none)
            });
            match said {
                Ok(token) => {
                    context.push(token);
                    whole.tokens.push(token);
                    if whole.tokens.len() >= tokens || vocabulary.is_end(token) {
                        return Ok(whole);
                    }
                }
                Err(error) if whole.tokens.is_empty() => return Err(error),
                Err(_) => return Ok(whole),
            }
        }
    }

    /// Tells the LLM that no further ask will begin with this prompt, so that
    /// it may free what it kept for it.
    fn forget(&self, prompt: &[TokenId]);
}

/// Why the LLM gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// The cloud cannot be reached.
    #[error("the LLM is unavailable: {0}")]
    Unavailable(String),
    /// The cloud did not answer in time.
    #[error("the LLM is late: {0}")]
    Late(String),
    /// The cloud answered that it will not: overload, a wrong key, a bad request.
    #[error("the LLM refused: {0}")]
    Refused(String),
    /// The cloud answered something that cannot be used.
    #[error("the LLM's reply cannot be used: {0}")]
    BadReply(String),
    /// The model in process failed.
    #[error(transparent)]
    Model(#[from] crate::ModelError),
}

impl LlmError {
    /// The kind of failure, without its words.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            LlmError::Unavailable(_) => Cause::Unavailable,
            LlmError::Late(_) => Cause::Late,
            LlmError::Refused(_) => Cause::Refused,
            LlmError::BadReply(_) => Cause::BadReply,
            LlmError::Model(_) => Cause::Model,
        }
    }
}

/// Why a token is degraded: one kind for each kind of [`LlmError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// [`LlmError::Unavailable`].
    Unavailable,
    /// [`LlmError::Late`].
    Late,
    /// [`LlmError::Refused`].
    Refused,
    /// [`LlmError::BadReply`].
    BadReply,
    /// [`LlmError::Model`].
    Model,
}
