//! Routed greedy decoding at one τ: the SLM steps, the policy scores, τ decides,
//! the LLM is asked for what is offloaded, and the token is committed.

use tokenroute_core::{
    Ask, Cause, Detail, Feed, LanguageModel, Llm, LlmError, Origin, Score, Scorer, Step, Tau,
    TokenId, Trace, TraceToken,
};

use crate::{Pair, Path, RuntimeError, advance_canonical};

/// How many requests run in lockstep unless told otherwise.
pub const DEFAULT_BATCH: usize = 256;

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
/// be asked, the SLM's token is kept and marked [`Origin::Degraded`].
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
    run(pair, scorer, tau, requests, batch, &mut |_| {})
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
    let traces = run(pair, scorer, tau, &[request], 1, on_token)?;
    Ok(traces.into_iter().next().unwrap_or_default())
}

/// One request on its way.
struct Live<'v, S> {
    request: usize,
    path: Path<'v>,
    state: S,
    /// Committed (or prompt) tokens the SLM has not processed yet.
    pending: Vec<TokenId>,
}

/// The router's verdict at one position.
enum Verdict {
    /// The SLM's token stays.
    Keep(Score),
    /// The LLM is to be asked, or was asked and said this or failed.
    Offload(Score, Option<Said>),
    /// The LLM should have spoken before the score was made, and could not.
    Degraded(Score, Cause),
}

/// The LLM's token, or why there is none.
type Said = Result<TokenId, Cause>;

fn run<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    tau: Tau,
    requests: &[Request<'_>],
    batch: usize,
    on_token: &mut dyn FnMut(&TraceToken),
) -> Result<Vec<Trace>, RuntimeError> {
    let mut traces = vec![Trace::default(); requests.len()];
    let mut queue = requests.iter().enumerate();
    let mut live: Vec<Live<'_, S::State>> = Vec::new();
    loop {
        while live.len() < batch.max(1)
            && let Some((i, request)) = queue.next()
        {
            if request.prompt.is_empty() {
                return Err(RuntimeError::EmptyPrompt { question: request.question.to_owned() });
            }
            if request.max_tokens > 0 {
                live.push(Live {
                    request: i,
                    path: Path::new(pair.vocabulary, request.prompt),
                    state: pair.slm.start(),
                    pending: request.prompt.to_vec(),
                });
            }
        }
        if live.is_empty() {
            return Ok(traces);
        }
        let steps = slm_steps(pair, &mut live, &mut traces)?;
        let mut verdicts = judge(pair, scorer, tau, requests, &live, &steps, &mut traces)?;
        ask_offloaded(pair, &live, &mut verdicts, &mut traces);

        let mut outcomes = steps.iter().zip(verdicts);
        live.retain_mut(|l| {
            let Some((step, verdict)) = outcomes.next() else { return false };
            let (token, origin, score, cause) = match verdict {
                Verdict::Offload(score, Some(Ok(token))) => (token, Origin::Llm, score, None),
                Verdict::Keep(score) => (step.token, Origin::Slm, score, None),
                Verdict::Offload(score, Some(Err(cause))) | Verdict::Degraded(score, cause) => {
                    (step.token, Origin::Degraded, score, Some(cause))
                }
                Verdict::Offload(score, None) => {
                    (step.token, Origin::Degraded, score, Some(Cause::BadReply))
                }
            };
            let token = l.path.commit(token, step);
            let (slm_token, score) = (step.token, score.get());
            let made = TraceToken { token, origin, slm_token, score, cause };
            on_token(&made);
            let trace = &mut traces[l.request];
            trace.tokens.push(made);
            trace.ended = l.path.ended();
            l.pending = vec![token];
            let request = &requests[l.request];
            let closed = l.path.closed(request.max_tokens);
            if closed {
                pair.llm.forget(request.prompt);
            }
            !closed
        });
    }
}

/// One SLM step for every live request.
fn slm_steps<S: LanguageModel, L: ?Sized>(
    pair: Pair<'_, S, L>,
    live: &mut [Live<'_, S::State>],
    traces: &mut [Trace],
) -> Result<Vec<Step>, RuntimeError> {
    let mut feeds: Vec<_> = live
        .iter_mut()
        .map(|l| {
            traces[l.request].slm_positions += l.pending.len() as u64;
            Feed { state: &mut l.state, tokens: &l.pending, from: l.pending.len() - 1 }
        })
        .collect();
    let steps = advance_canonical(pair.slm, pair.vocabulary, &mut feeds, Detail::Full)?;
    Ok(steps.into_iter().flatten().collect())
}

/// Scores every live position; scorers that need the LLM's token get it first.
fn judge<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    tau: Tau,
    requests: &[Request<'_>],
    live: &[Live<'_, S::State>],
    steps: &[Step],
    traces: &mut [Trace],
) -> Result<Vec<Verdict>, RuntimeError> {
    let known: Option<Vec<Said>> =
        scorer.needs_llm().then(|| ask(pair, &live.iter().collect::<Vec<_>>(), traces));
    let mut verdicts = Vec::with_capacity(live.len());
    for (i, (l, step)) in live.iter().zip(steps).enumerate() {
        let question = requests[l.request].question;
        let llm_token = known.as_ref().map(|k| k[i]);
        let position = l.path.position(question, step, llm_token.and_then(Result::ok));
        let score = scorer.score(&position).map_err(|source| RuntimeError::Score {
            question: question.to_owned(),
            index: position.index,
            source,
        })?;
        verdicts.push(match llm_token {
            Some(Err(cause)) => Verdict::Degraded(score, cause),
            _ if !tau.offloads(score) => Verdict::Keep(score),
            known => Verdict::Offload(score, known),
        });
    }
    Ok(verdicts)
}

/// Fills in the LLM's token wherever it is wanted and not known yet.
fn ask_offloaded<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    live: &[Live<'_, S::State>],
    verdicts: &mut [Verdict],
    traces: &mut [Trace],
) {
    let (wanting, asking): (Vec<_>, Vec<_>) = verdicts
        .iter_mut()
        .zip(live)
        .filter_map(|(v, l)| match v {
            Verdict::Offload(_, token @ None) => Some((token, l)),
            _ => None,
        })
        .unzip();
    if asking.is_empty() {
        return;
    }
    for (token, said) in wanting.into_iter().zip(ask(pair, &asking, traces)) {
        *token = Some(said);
    }
}

/// The LLM's next token for each of `live`, or why it could not be had.
fn ask<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    live: &[&Live<'_, S::State>],
    traces: &mut [Trace],
) -> Vec<Said> {
    let asks: Vec<Ask<'_>> = live
        .iter()
        .map(|l| Ask { context: l.path.tokens(), from: l.path.tokens().len() })
        .collect();
    let mut replies = pair.llm.ask(&asks).into_iter();
    live.iter()
        .map(|l| {
            let none = || Err(LlmError::BadReply("no reply to this ask".to_owned()));
            let reply = replies.next().unwrap_or_else(none).map_err(|e| e.cause())?;
            traces[l.request].llm_positions += reply.positions;
            let token = reply.tokens.first().ok_or(Cause::BadReply)?;
            Ok(pair.vocabulary.canonical(*token))
        })
        .collect()
}
