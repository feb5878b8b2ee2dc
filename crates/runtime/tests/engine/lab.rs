//! Toy pairs, LLMs with delays and failures, and the invariants of a trace.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tokenroute_core::{
    Ask, Llm, LlmError, Origin, Position, Reply, Score, ScoreError, Scored, Scorer, ScorerState,
    Step, Tau, TokenId, Trace, TraceToken, stable_hash, unit_hash,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Calls, Pair, Policy, Request, RoutedDecoding, Wait};

pub const MAX_TOKENS: usize = 24;

/// Many threads, one ask per call.
pub const APART: Calls = Calls { threads: 6, together: 1 };

/// A toy router: the score is a number of the hidden state.
pub struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0].into())
    }
}

/// Scores by the LLM's token.
pub struct Oracle;

impl Scorer for Oracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let differs = position.llm.is_some_and(|llm| llm.token != position.step.token);
        let order = 0.5 * unit_hash(1, position.question, position.index);
        Score::new(if differs { order } else { 0.5 + order })
    }

    fn needs_llm(&self) -> bool {
        true
    }
}

/// Depends on the sentence, so that every branch must track it.
pub struct Sentence;

impl Scorer for Sentence {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new((position.sentence_entropy * 7.0 + position.step.hidden[1]).fract().into())
    }
}

/// Remembers: every score depends on all steps so far, and a wrong one shows in all later scores.
pub struct Remembers;

impl Remembers {
    /// What it remembers after a step, which is also its score there.
    pub fn after(before: f64, step: &Step) -> f64 {
        (5.3 * before + f64::from(step.hidden[0])).rem_euclid(1.0)
    }
}

impl Scorer for Remembers {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let before = position.state.and_then(ScorerState::get::<f64>).copied().unwrap_or_default();
        assert_eq!(position.state.is_none(), position.index == 0, "a state after the first step");
        let now = Remembers::after(before, position.step);
        Ok(Scored { score: Score::new(now)?, state: Some(ScorerState::new(now)) })
    }
}

pub fn prompts(count: u32) -> Vec<Vec<TokenId>> {
    (0..count)
        .map(|i| (0..=i % 5).map(|j| (i + 3 * j) % 14).chain([i % 13, i / 13]).collect())
        .collect()
}

pub fn requests(prompts: &[Vec<TokenId>]) -> Vec<Request<'_>> {
    prompts.iter().map(|p| Request { question: "q", prompt: p, max_tokens: MAX_TOKENS }).collect()
}

pub fn tau(value: f64) -> Tau {
    Tau::new(value).expect("in range")
}

pub fn at_least_one(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("positive")
}

pub fn speculate(branches: usize, max_ahead: usize) -> Wait {
    Wait::Speculate { branches: at_least_one(branches), max_ahead }
}

pub fn lookahead(tokens: usize, policy: Policy) -> Policy {
    Policy { lookahead: at_least_one(tokens), ..policy }
}

pub fn policy(t: f64, wait: Wait) -> Policy {
    Policy { wait, ..Policy::new(tau(t)) }
}

/// Traces of all prompts by a policy, three sessions at a time.
pub fn run<L: Llm + ?Sized>(
    slm: &ToyModel,
    llm: &L,
    scorer: &dyn Scorer,
    policy: Policy,
    prompts: &[Vec<TokenId>],
) -> Vec<Trace> {
    let vocabulary = ToyModel::vocabulary();
    let pair = Pair::new(slm, llm, &vocabulary);
    let mut heard = vec![Vec::new(); prompts.len()];
    let mut hear = |i: usize, token: &_| heard[i].push(Clone::clone(token));
    let decoding = RoutedDecoding::new(pair, scorer, policy);
    let decoding = RoutedDecoding { calls: Some(APART), batch: 3, ..decoding };
    let traces = decoding.run_with(&requests(prompts), &mut hear).expect("no error stops decoding");
    for ((prompt, trace), heard) in prompts.iter().zip(&traces).zip(heard) {
        check(prompt, trace);
        assert_eq!(trace.tokens, heard, "what is handed out is what stands");
    }
    traces
}

/// The tokens of a trace, without the fields that depend on time.
pub fn decided(trace: &Trace) -> Vec<TraceToken> {
    let decided = |token: &TraceToken| TraceToken { speculated: false, ..*token };
    trace.tokens.iter().map(decided).collect()
}

/// The invariants of a finished trace.
pub fn check(prompt: &[TokenId], trace: &Trace) {
    assert!(trace.ended || trace.tokens.len() == MAX_TOKENS, "a truncated answer");
    for token in &trace.tokens {
        assert_eq!(token.cause.is_some(), token.origin == Origin::Degraded);
        assert!(token.origin == Origin::Llm || token.token == token.slm_token);
    }
    let needed = (prompt.len() + trace.tokens.len() - 1) as u64;
    let dropped = trace.rolled_back + trace.discarded;
    assert_eq!(trace.slm_positions - dropped, needed, "what was kept was needed");
    assert!(trace.rolled_back <= trace.speculated);
    // A token decided ahead follows a waiting position whose branch was kept.
    assert!(trace.speculated_tokens() as u64 <= trace.speculated - trace.rolled_back);
    assert!(trace.wasted_calls <= trace.llm_calls);
    assert!(trace.wasted_positions <= trace.llm_positions);
}

/// A toy LLM behind a network. Every call takes its own time, by hash, so that replies overtake
/// one another.
pub struct Distant {
    pub llm: InProcess<ToyModel>,
    pub salt: u64,
    /// Share of contexts that always fail.
    pub failing: f32,
    /// Share of calls that fail, whatever their context.
    pub flaky: f32,
    pub calls: AtomicU64,
}

impl Distant {
    pub fn new(llm: ToyModel, salt: u64) -> Self {
        let (failing, flaky, calls) = (0.0, 0.0, AtomicU64::new(0));
        Distant { llm: InProcess::new(llm), salt, failing, flaky, calls }
    }
}

fn unit(salt: u64, number: u64, tokens: &[TokenId]) -> f32 {
    let words = [salt, number].into_iter().chain(tokens.iter().map(|&t| u64::from(t)));
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    (stable_hash(&bytes) >> 40) as f32 / (1u32 << 24) as f32
}

impl Llm for Distant {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        asks.iter()
            .map(|ask| {
                let number = self.calls.fetch_add(1, Ordering::Relaxed);
                let late = unit(self.salt, number, ask.context);
                // Some replies come at once, some much later.
                thread::sleep(Duration::from_micros((late * late * 250.0) as u64));
                if unit(7, 0, ask.context) < self.failing {
                    return Err(LlmError::Refused("not this one".to_owned()));
                }
                if unit(self.salt + 1, number, &[]) < self.flaky {
                    return Err(LlmError::Unavailable("not now".to_owned()));
                }
                self.llm.ask(&[*ask]).remove(0)
            })
            .collect()
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.llm.forget(prompt);
    }
}

/// An LLM that does not answer prompts with a given first token until its gate is opened.
pub struct Gated {
    pub llm: InProcess<ToyModel>,
    pub first: TokenId,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gated {
    pub fn new(llm: ToyModel, first: TokenId) -> Self {
        let (open, opened) = (Mutex::new(false), Condvar::new());
        Gated { llm: InProcess::new(llm), first, open, opened }
    }

    pub fn open(&self) {
        *self.open.lock().expect("no panic") = true;
        self.opened.notify_all();
    }
}

impl Llm for Gated {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        if asks.iter().any(|ask| ask.context[0] == self.first) {
            let open = self.open.lock().expect("no panic");
            drop(self.opened.wait_while(open, |open| !*open).expect("no panic"));
        }
        self.llm.ask(asks)
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.llm.forget(prompt);
    }
}
