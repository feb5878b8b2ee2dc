//! An LLM whose failed calls are repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::{Ask, Cause, Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};

use crate::together::together;

/// Pause before a failed call is repeated.
const PAUSE: Duration = Duration::from_millis(250);

/// An LLM for work that needs its tokens and not the SLM's. A call is repeated while the LLM is
/// unreachable or late. Continuations are complete.
#[derive(Debug)]
pub struct Patient<L> {
    llm: L,
    patience: Duration,
    /// Most continuations requested at once.
    at_once: usize,
    positions: AtomicU64,
}

impl<L: Llm> Patient<L> {
    /// `patience` is the longest time to repeat a failed call. At most `at_once` continuations
    /// are requested at a time.
    pub fn new(llm: L, patience: Duration, at_once: usize) -> Self {
        Patient { llm, patience, at_once, positions: AtomicU64::new(0) }
    }

    /// Positions processed, as the LLM reports them.
    pub fn processed(&self) -> u64 {
        self.positions.load(Ordering::Relaxed)
    }

    /// The LLM itself.
    pub fn llm(&self) -> &L {
        &self.llm
    }

    fn count(&self, reply: &Reply) {
        self.positions.fetch_add(reply.positions, Ordering::Relaxed);
    }

    /// One continuation. A long one is requested in several calls.
    fn continuation(
        &self,
        wanted: Continuation<'_>,
        vocabulary: &Vocabulary,
    ) -> Result<Reply, LlmError> {
        let mut context = wanted.context.to_vec();
        let mut whole = Reply::default();
        let mut most = usize::MAX;
        let mut until = Instant::now() + self.patience;
        loop {
            let left = wanted.tokens.max(1) - whole.tokens.len();
            let tokens = left.min(most);
            let part = [Continuation { context: &context, tokens, ..wanted }];
            match self.llm.continuations(&part, vocabulary).pop() {
                Some(Ok(said)) => {
                    let found = said.tokens.len();
                    if found == 0 || found > tokens {
                        let what = format!("{found} tokens; expected 1 to {tokens}");
                        return Err(LlmError::BadReply(what));
                    }
                    self.count(&said);
                    whole.positions += said.positions;
                    whole.bytes += said.bytes;
                    context.extend(&said.tokens);
                    whole.tokens.extend(said.tokens);
                    if vocabulary.closes(&context) || found == left {
                        return Ok(whole);
                    }
                    until = Instant::now() + self.patience;
                }
                Some(Err(error)) => {
                    if !away(&error) || Instant::now() >= until {
                        return Err(error);
                    }
                    if error.cause() == Cause::Late {
                        most = tokens.div_ceil(2);
                    }
                    thread::sleep(PAUSE);
                }
                None => return Err(LlmError::BadReply("no reply to a continuation".to_owned())),
            }
        }
    }
}

/// Whether a repeated call may help.
fn away(error: &LlmError) -> bool {
    matches!(error.cause(), Cause::Unavailable | Cause::Late)
}

impl<L: Llm> Llm for Patient<L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let until = Instant::now() + self.patience;
        let mut replies: Vec<Option<Result<Reply, LlmError>>> = vec![None; asks.len()];
        loop {
            let retried = |reply: &Option<Result<Reply, LlmError>>| match reply {
                None => true,
                Some(reply) => reply.as_ref().is_err_and(away),
            };
            let open: Vec<usize> = (0..asks.len()).filter(|&i| retried(&replies[i])).collect();
            let again: Vec<Ask<'_>> = open.iter().map(|&i| asks[i]).collect();
            let mut failed = false;
            let mut said = if again.is_empty() { Vec::new() } else { self.llm.ask(&again) };
            said.resize(again.len(), Err(LlmError::BadReply("no reply to this ask".to_owned())));
            for (&i, said) in open.iter().zip(said) {
                failed |= said.as_ref().is_err_and(away);
                if let Ok(reply) = &said {
                    self.count(reply);
                }
                replies[i] = Some(said);
            }
            if !failed || Instant::now() >= until {
                return replies.into_iter().flatten().collect();
            }
            thread::sleep(PAUSE);
        }
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let one = |i: usize| self.continuation(wanted[i], vocabulary);
        let lost = || Err(LlmError::Unavailable("its worker was lost".to_owned()));
        let replies = together(self.at_once, wanted.len(), one);
        replies.into_iter().map(|reply| reply.unwrap_or_else(lost)).collect()
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.llm.forget(prompt);
    }
}
