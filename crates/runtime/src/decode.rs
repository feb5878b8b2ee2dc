//! Routed decoding of a list of requests.

use std::num::NonZeroUsize;
use std::thread::{self, Scope};

use tokenroute_core::{LanguageModel, Llm, Scorer, Tau, TokenId, Trace, TraceToken};

use crate::{Calls, Engine, Event, Pair, Policy, RuntimeError, Session};

/// Default number of concurrent requests.
pub const DEFAULT_BATCH: usize = 256;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Id of the question, for policies that hash it.
    pub question: &'a str,
    /// The prompt; at least one token.
    pub prompt: &'a [TokenId],
    /// Most tokens to generate.
    pub max_tokens: usize,
}

/// The settings of routed decoding.
pub struct RoutedDecoding<'a, S, L: ?Sized> {
    /// The models.
    pub pair: Pair<'a, S, L>,
    /// The router.
    pub scorer: &'a dyn Scorer,
    /// τ, the mode of waiting for the LLM, and limits.
    pub policy: Policy,
    /// How the LLM is called on threads of its own. With `None` the decoding thread calls it.
    /// The SLM then waits during a call, and a deadline has no effect.
    pub calls: Option<Calls>,
    /// Most concurrent requests. The tokens do not depend on it.
    pub batch: usize,
    /// Most prompt positions that the SLM prefills in one step. See [`Engine::reading`].
    pub prefill: NonZeroUsize,
    /// Positions of ended sessions to keep in the KV cache. See [`Engine::keeping`].
    pub kept_positions: usize,
}

impl<S, L: ?Sized> Clone for RoutedDecoding<'_, S, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, L: ?Sized> Copy for RoutedDecoding<'_, S, L> {}

impl<'a, S: LanguageModel, L: Llm + ?Sized> RoutedDecoding<'a, S, L> {
    /// Decodes on one thread, [`DEFAULT_BATCH`] requests at a time. Prompts are prefilled
    /// whole, and no positions are kept.
    pub fn new(pair: Pair<'a, S, L>, scorer: &'a dyn Scorer, policy: Policy) -> Self {
        RoutedDecoding {
            pair,
            scorer,
            policy,
            calls: None,
            batch: DEFAULT_BATCH,
            prefill: NonZeroUsize::MAX,
            kept_positions: 0,
        }
    }

    /// An engine without sessions. If calls have threads, they are threads of `scope`.
    pub fn engine(&self, scope: &'a Scope<'a, '_>) -> Engine<'a, S, L> {
        let engine = match self.calls {
            Some(calls) => Engine::new(scope, self.pair, self.scorer, calls),
            None => Engine::inline(self.pair, self.scorer),
        };
        engine.reading(self.prefill).keeping(self.kept_positions)
    }

    /// Decodes every request and returns the traces in order. Where the LLM fails, the SLM's
    /// token is kept and marked [`tokenroute_core::Origin::Degraded`], unless the policy is
    /// strict. Returns after the last call has ended, so that the traces are complete.
    ///
    /// # Errors
    /// An empty prompt, a failure of the SLM, or a score that is not a number.
    pub fn run(&self, requests: &[Request<'_>]) -> Result<Vec<Trace>, RuntimeError> {
        self.run_with(requests, &mut |_, _| {})
    }

    /// As [`RoutedDecoding::run`], and passes every token to `on_token` as it is committed,
    /// with the index of its request.
    ///
    /// # Errors
    /// As [`RoutedDecoding::run`].
    pub fn run_with(
        &self,
        requests: &[Request<'_>],
        on_token: &mut dyn FnMut(usize, &TraceToken),
    ) -> Result<Vec<Trace>, RuntimeError> {
        let mut traces = vec![Trace::default(); requests.len()];
        self.drive(requests, &mut |number, event| {
            match event {
                Event::Token { token, .. } => on_token(number, &token),
                Event::Ended { trace, .. } => traces[number] = trace,
                Event::Billed { positions, bytes, .. } => traces[number].bill(positions, bytes),
                Event::Failed { error, .. } => return Err(error),
            }
            Ok(())
        })?;
        Ok(traces)
    }

    /// As [`RoutedDecoding::run_with`], with a result for each request: a failure of one leaves
    /// the others whole.
    ///
    /// # Errors
    /// An empty prompt.
    pub fn run_each(
        &self,
        requests: &[Request<'_>],
        on_token: &mut dyn FnMut(usize, &TraceToken),
    ) -> Result<Vec<Result<Trace, RuntimeError>>, RuntimeError> {
        let mut results: Vec<_> = requests.iter().map(|_| Ok(Trace::default())).collect();
        self.drive(requests, &mut |number, event| {
            match event {
                Event::Token { token, .. } => on_token(number, &token),
                Event::Ended { trace, .. } => results[number] = Ok(trace),
                Event::Failed { error, .. } => results[number] = Err(error),
                Event::Billed { positions, bytes, .. } => {
                    if let Ok(trace) = &mut results[number] {
                        trace.bill(positions, bytes);
                    }
                }
            }
            Ok(())
        })?;
        Ok(results)
    }

    /// Decodes every request; `heard` gets each event with the number of its request.
    fn drive(
        &self,
        requests: &[Request<'_>],
        heard: &mut dyn FnMut(usize, Event) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let mut begin = |engine: &mut Engine<'_, S, L>, number: usize| {
            let request = requests.get(number)?;
            Some(engine.add(Session {
                question: request.question.to_owned(),
                prompt: request.prompt.to_vec(),
                max_tokens: request.max_tokens,
                policy: self.policy,
            }))
        };
        let mut heard =
            |_: &mut Engine<'_, S, L>, number: usize, event: Event| heard(number, event);
        thread::scope(|scope| {
            let engine: &mut Engine<'_, S, L> = &mut self.engine(scope);
            engine.drive_each(self.batch, &mut begin, &mut heard)
        })
    }
}

/// Blocking greedy decoding of every request at τ, at most `batch` at a time: the short form of
/// [`RoutedDecoding::run`].
///
/// # Errors
/// As [`RoutedDecoding::run`].
pub fn decode<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    tau: Tau,
    requests: &[Request<'_>],
    batch: usize,
) -> Result<Vec<Trace>, RuntimeError> {
    RoutedDecoding { batch, ..RoutedDecoding::new(pair, scorer, Policy::new(tau)) }.run(requests)
}
