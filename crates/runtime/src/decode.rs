//! Routed greedy decoding of a list of requests, with the engine.

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::Duration;

use tokenroute_core::{LanguageModel, Llm, Scorer, Tau, TokenId, Trace, TraceToken};

use crate::{Calls, Engine, Event, Pair, Policy, RuntimeError, Session, SessionId};

/// How many requests run at a time unless told otherwise.
pub const DEFAULT_BATCH: usize = 256;

/// Longest wait of one turn; there is always something to wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Id of the question, for policies that hash it.
    pub question: &'a str,
    /// The prompt; at least one token.
    pub prompt: &'a [TokenId],
    /// Most tokens to generate.
    pub max_tokens: usize,
}

/// Decodes every request at τ, at most `batch` in lockstep, and returns their
/// traces in order. The tokens do not depend on `batch`. Where the LLM cannot
/// be asked, the SLM's token is kept and marked
/// [`tokenroute_core::Origin::Degraded`].
///
/// # Errors
/// An empty prompt, a failure of the SLM, or a score that is not a number.
pub fn decode<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    tau: Tau,
    requests: &[Request<'_>],
    batch: usize,
) -> Result<Vec<Trace>, RuntimeError> {
    let policy = Policy::new(tau);
    drive(Engine::inline(pair, scorer), policy, requests, batch, &mut |_, _| {})
}

/// Decodes one request and hands every token to `on_token` as it is committed.
///
/// # Errors
/// As [`decode`].
pub fn stream<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    tau: Tau,
    request: Request<'_>,
    on_token: &mut dyn FnMut(&TraceToken),
) -> Result<Trace, RuntimeError> {
    let policy = Policy::new(tau);
    let mut hear = |_, token: &TraceToken| on_token(token);
    let traces = drive(Engine::inline(pair, scorer), policy, &[request], 1, &mut hear)?;
    Ok(traces.into_iter().next().unwrap_or_default())
}

/// Decodes every request by a policy, at most `batch` at a time. The LLM is
/// called on other threads, or, without `calls`, on this one, which then can
/// neither go on in the meantime nor keep a deadline. `on_token` gets every token as it is committed,
/// with the number of its request. Returns once the last call has come back, so
/// that the traces are complete.
///
/// # Errors
/// As [`decode`].
pub fn decode_with<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    policy: Policy,
    calls: Option<Calls>,
    requests: &[Request<'_>],
    batch: usize,
    on_token: &mut dyn FnMut(usize, &TraceToken),
) -> Result<Vec<Trace>, RuntimeError> {
    thread::scope(|scope| {
        let engine = match calls {
            Some(calls) => Engine::new(scope, pair, scorer, calls),
            None => Engine::inline(pair, scorer),
        };
        drive(engine, policy, requests, batch, on_token)
    })
}

fn drive<S: LanguageModel, L: Llm + ?Sized>(
    mut engine: Engine<'_, S, L>,
    policy: Policy,
    requests: &[Request<'_>],
    batch: usize,
    on_token: &mut dyn FnMut(usize, &TraceToken),
) -> Result<Vec<Trace>, RuntimeError> {
    let mut traces = vec![Trace::default(); requests.len()];
    let mut queue: VecDeque<_> = requests.iter().enumerate().collect();
    let mut numbers: BTreeMap<SessionId, usize> = BTreeMap::new();
    loop {
        while engine.sessions() < batch.max(1)
            && let Some((i, request)) = queue.pop_front()
        {
            let id = engine.add(Session {
                question: request.question.to_owned(),
                prompt: request.prompt.to_vec(),
                max_tokens: request.max_tokens,
                policy,
            })?;
            numbers.insert(id, i);
        }
        if engine.sessions() == 0 && engine.calls() == 0 {
            return Ok(traces);
        }
        for event in engine.turn(PATIENCE) {
            match event {
                Event::Token { session, token } => on_token(numbers[&session], &token),
                Event::Ended { session, trace } => traces[numbers[&session]] = trace,
                Event::Failed { error, .. } => return Err(error),
                Event::Billed { session, positions, bytes } => {
                    traces[numbers[&session]].bill(positions, bytes);
                }
            }
        }
    }
}
