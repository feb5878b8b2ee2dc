//! Decoding with a clock: one question at a time, with the time at which every token
//! is committed.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tokenroute_core::{
    Ask, Continuation, LanguageModel, Llm, LlmError, Origin, Reply, TokenId, Trace, Vocabulary,
};
use tokenroute_runtime::{Engine, Event, Policy, Request, RoutedDecoding, RuntimeError, Session};

/// Longest wait of one turn. The engine always has a call to wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The cost of one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimedAnswer {
    /// Seconds from the start to each token, in order.
    pub at: Vec<f64>,
    /// The model that made each token.
    pub origins: Vec<Origin>,
    /// Serial waits: round trips that do not overlap.
    pub waits: u64,
    /// Calls to the LLM.
    pub calls: u64,
    /// Calls without a committed token.
    pub wasted_calls: u64,
    /// Positions the LLM processed, prefill included.
    pub llm_positions: u64,
    /// Bytes to the LLM and back.
    pub bytes: [u64; 2],
    /// Whether the answer is right.
    pub correct: bool,
}

/// Samples and their answers.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// One for each question.
    pub samples: Vec<TimedAnswer>,
    /// The answers' tokens.
    pub answers: Vec<Vec<TokenId>>,
}

impl Measured {
    /// Adds one answer.
    pub fn push(&mut self, sample: TimedAnswer, answer: Vec<TokenId>) {
        self.samples.push(sample);
        self.answers.push(answer);
    }
}

/// Decodes one question at a time in one way, with a clock.
pub struct Meter<'a, S: LanguageModel, L: Llm + ?Sized> {
    engine: Engine<'a, S, L>,
    policy: Policy,
    carried: &'a (dyn Fn() -> [u64; 2] + 'a),
}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Meter<'a, S, L> {
    /// A meter with its calls on threads of `scope`. `carried` returns the bytes up and
    /// down so far.
    pub fn new(
        scope: &'a Scope<'a, '_>,
        decoding: RoutedDecoding<'a, S, L>,
        carried: &'a (dyn Fn() -> [u64; 2] + 'a),
    ) -> Self {
        Meter { engine: decoding.engine(scope), policy: decoding.policy, carried }
    }

    /// Decodes a request. `judge` returns whether an answer is right. Calls that are
    /// still open when the answer is complete are awaited and counted, but not timed.
    ///
    /// # Errors
    /// As [`tokenroute_runtime::decode`].
    pub fn answer(
        &mut self,
        request: &Request<'_>,
        judge: &dyn Fn(&[TokenId]) -> bool,
    ) -> Result<(TimedAnswer, Vec<TokenId>), RuntimeError> {
        let before = (self.carried)();
        let (trace, at) = self.decode(request)?;
        let after = (self.carried)();
        let ids: Vec<TokenId> = trace.ids().collect();
        let sample = TimedAnswer {
            at,
            origins: trace.tokens.iter().map(|t| t.origin).collect(),
            waits: trace.waits,
            calls: trace.llm_calls,
            wasted_calls: trace.wasted_calls,
            llm_positions: trace.llm_positions,
            bytes: [after[0] - before[0], after[1] - before[1]],
            correct: judge(&ids),
        };
        Ok((sample, ids))
    }

    /// The answer and the time of each of its tokens.
    fn decode(&mut self, request: &Request<'_>) -> Result<(Trace, Vec<f64>), RuntimeError> {
        let mut at = Vec::with_capacity(request.max_tokens);
        let (mut whole, mut late) = (None, Vec::new());
        let begun = Instant::now();
        self.engine.add(Session {
            question: request.question.to_owned(),
            prompt: request.prompt.to_vec(),
            max_tokens: request.max_tokens,
            policy: self.policy,
        })?;
        while whole.is_none() || self.engine.calls() > 0 {
            for event in self.engine.turn(PATIENCE) {
                match event {
                    Event::Token { .. } => at.push(begun.elapsed().as_secs_f64()),
                    Event::Ended { trace, .. } => whole = Some(trace),
                    Event::Failed { error, .. } => return Err(error),
                    Event::Billed { positions, bytes, .. } => late.push((positions, bytes)),
                }
            }
        }
        let mut trace: Trace = whole.unwrap_or_default();
        late.into_iter().for_each(|(positions, bytes)| trace.bill(positions, bytes));
        Ok((trace, at))
    }
}

/// An LLM that times every call.
#[derive(Debug)]
pub struct Timed<'a, L: ?Sized> {
    llm: &'a L,
    seconds: Mutex<Vec<f64>>,
}

impl<'a, L: Llm + ?Sized> Timed<'a, L> {
    /// The same LLM, timed.
    pub fn new(llm: &'a L) -> Self {
        Timed { llm, seconds: Mutex::default() }
    }

    /// Takes the seconds of each call since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<f64> {
        mem::take(&mut self.seconds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let reply = call();
        let took = begun.elapsed().as_secs_f64();
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        reply
    }
}

impl<L: Llm + ?Sized> Llm for Timed<'_, L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.time(|| self.llm.ask(asks))
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        self.time(|| self.llm.continuations(wanted, vocabulary))
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.llm.forget(prompt);
    }
}
