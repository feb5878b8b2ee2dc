//! The LLM as everybody calls it: the tokens after prefixes of a text, or whole
//! continuations, in batches. Each part of a batch may fail on its own.

use std::iter::Sum;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Sampling, TokenId, Vocabulary};

/// One sequence put to the LLM, which answers with a token for each of its last positions.
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
    /// How many of the most probable tokens are wanted at each position, with their
    /// probabilities. 0 wants none and costs nothing.
    pub top: usize,
}

impl<'a> Ask<'a> {
    /// Asks for greedy tokens.
    #[must_use]
    pub fn greedy(context: &'a [TokenId], from: usize) -> Self {
        Ask { context, from, sampling: None, top: 0 }
    }

    /// Asks for the next token alone.
    #[must_use]
    pub fn next(context: &'a [TokenId], sampling: Option<Sampling>) -> Self {
        Ask { context, from: context.len(), sampling, top: 0 }
    }

    /// Asks for the `top` most probable tokens too.
    #[must_use]
    pub fn with_top(self, top: usize) -> Self {
        Ask { top, ..self }
    }
}

/// The most probable tokens at a position with their probabilities at temperature 1, best
/// first. Their sum is below 1: the other tokens have the rest.
pub type TopTokens = Arc<[(TokenId, f32)]>;

/// One continuation asked of the LLM: its next tokens, each after the ones before.
#[derive(Debug, Clone, Copy)]
pub struct Continuation<'a> {
    /// Prompt and committed tokens; at least one.
    pub context: &'a [TokenId],
    /// Most tokens wanted, at least 1.
    pub tokens: usize,
    /// As [`Ask::sampling`].
    pub sampling: Option<Sampling>,
    /// Whether later asks go on from its end. If not, an LLM in process frees the
    /// state that it made for this continuation.
    pub resumed: bool,
}

/// The LLM's answer to one [`Ask`] or [`Continuation`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// To an ask: one token for each `i` in `from..=context.len()`. To a
    /// continuation: the tokens that follow its context.
    pub tokens: Vec<TokenId>,
    /// One list for each of `tokens`, as long as [`Ask::top`] or the vocabulary; empty if none
    /// was wanted.
    pub top: Vec<TopTokens>,
    /// Positions the LLM processed for it, prefill included.
    pub positions: u64,
    /// What crossed a network for it; nothing for an LLM in process.
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

    /// The LLM's continuations, in order: of each at least one token, at most
    /// [`Continuation::tokens`], and none after an end token. They are the tokens of one
    /// [`Llm::ask`] after the other, and that is how the provided method gets them. A
    /// continuation may break off after a token in which the vocabulary's separator ends: the
    /// caller, which knows where its answer began, asks for the rest if that is not its end.
    ///
    /// A failure leaves the other continuations whole. One that comes after the first
    /// token may be left out: the tokens until then are the answer.
    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let mut contexts: Vec<Vec<TokenId>> = wanted.iter().map(|w| w.context.to_vec()).collect();
        let mut replies: Vec<Result<Reply, LlmError>> =
            wanted.iter().map(|_| Ok(Reply::default())).collect();
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        while !open.is_empty() {
            let asks: Vec<Ask<'_>> =
                open.iter().map(|&i| Ask::next(&contexts[i], wanted[i].sampling)).collect();
            let mut said = self.ask(&asks).into_iter();
            open.retain(|&i| {
                let Ok(whole) = &mut replies[i] else { return false };
                let none = || LlmError::BadReply("no token in reply to an ask".to_owned());
                let token = said.next().unwrap_or_else(|| Err(none())).and_then(|reply| {
                    whole.positions += reply.positions;
                    whole.bytes += reply.bytes;
                    reply.tokens.last().copied().ok_or_else(none)
                });
                match token {
                    Ok(token) => {
                        contexts[i].push(token);
                        whole.tokens.push(token);
                        whole.tokens.len() < wanted[i].tokens && !vocabulary.closes(&contexts[i])
                    }
                    Err(error) => {
                        if whole.tokens.is_empty() {
                            replies[i] = Err(error);
                        }
                        false
                    }
                }
            });
        }
        replies
    }

    /// One continuation alone, from whose end later asks go on.
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
        let wanted = [Continuation { context, tokens, sampling, resumed: true }];
        let none = || Err(LlmError::BadReply("no reply to a continuation".to_owned()));
        self.continuations(&wanted, vocabulary).pop().unwrap_or_else(none)
    }

    /// No further ask will begin with these tokens, a prompt or more: the LLM may free
    /// what it keeps for them.
    fn forget(&self, prompt: &[TokenId]);
}

impl<L: Llm + ?Sized> Llm for &L {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        (**self).ask(asks)
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        (**self).continuations(wanted, vocabulary)
    }

    fn forget(&self, prompt: &[TokenId]) {
        (**self).forget(prompt);
    }
}

impl<L: Llm + ?Sized> Llm for Box<L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        (**self).ask(asks)
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        (**self).continuations(wanted, vocabulary)
    }

    fn forget(&self, prompt: &[TokenId]) {
        (**self).forget(prompt);
    }
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
