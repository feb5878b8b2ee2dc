//! Answers a batch of asks in the fewest calls of the model.

use std::collections::BTreeMap;

use tokenroute_core::{
    Ask, Detail, Feed, LanguageModel, LlmError, ModelError, ModelInfo, Reply, Sampling, Side, Step,
    TokenId, TopTokens,
};

use crate::prefixes::{Held, shared, split};
use crate::roots::{Key, Roots};

/// Most positions in one call of a model in process.
pub const POSITIONS_PER_CALL: usize = 8192;

/// Work for one ask without a cached answer.
struct Job<'a> {
    ask: usize,
    root: Key,
    /// The context up to the last unanswered position.
    tokens: &'a [TokenId],
    /// Length of the first unanswered prefix.
    from: usize,
    sampling: Option<Sampling>,
    /// As [`Ask::top`].
    top: usize,
    /// The cached part.
    held: Held,
    /// Whether the cached state is taken out instead of forked.
    grows: bool,
}

impl Job<'_> {
    fn positions(&self) -> usize {
        self.tokens.len() - self.held.positions
    }
}

/// Answers every ask, in order.
///
/// One wave is one call of the model. An ask that shares new positions with another waits for
/// the next wave and finds them cached.
pub(super) fn answer<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    asks: &[Ask<'_>],
) -> Vec<Result<Reply, LlmError>> {
    let mut replies: Vec<Result<Reply, LlmError>> = asks
        .iter()
        .map(|ask| {
            check(model, ask.context, ask.from)?;
            check_top(model, ask.top)?;
            Ok(Reply::default())
        })
        .collect();
    roots.open(asks.iter().map(|ask| (ask.context, ask.from)));
    let mut waiting: Vec<(usize, Key)> = (0..asks.len())
        .filter(|&i| replies[i].is_ok())
        .map(|i| (i, roots.key(asks[i].context, asks[i].from)))
        .collect();
    while !waiting.is_empty() {
        let mut wave: Vec<Job<'_>> = Vec::new();
        let mut of_root: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        let mut positions = 0;
        let mut later = Vec::new();
        for (i, root) in waiting {
            if positions >= POSITIONS_PER_CALL {
                later.push((i, root));
                continue;
            }
            let Some(mut job) = job(roots, i, &root, &asks[i]) else {
                if let Ok(reply) = &mut replies[i] {
                    (reply.tokens, reply.top) = known(roots, &root, &asks[i]);
                }
                continue;
            };
            let others = of_root.entry(Key::clone(&root)).or_default();
            let repeats = |&o: &usize| shared(wave[o].tokens, job.tokens) > job.held.positions;
            if others.iter().any(repeats) {
                later.push((i, root));
                continue;
            }
            // A state that several asks extend is forked by all of them.
            for &o in others.iter() {
                if wave[o].held.state == job.held.state {
                    (wave[o].grows, job.grows) = (false, false);
                }
            }
            others.push(wave.len());
            positions += job.positions();
            wave.push(job);
        }
        waiting = later;
        if wave.is_empty() {
            continue;
        }
        let made = process(model, roots, &wave);
        for (job, made) in wave.into_iter().zip(made) {
            let reply = &mut replies[job.ask];
            match (made, reply) {
                (Ok(()), Ok(reply)) => {
                    reply.positions += job.positions() as u64;
                    (reply.tokens, reply.top) = known(roots, &job.root, &asks[job.ask]);
                }
                (Err(error), reply) => *reply = Err(error.into()),
                (Ok(()), Err(_)) => {}
            }
        }
    }
    replies
}

/// Refuses single asks that would make the whole batch fail.
pub(super) fn check<M: LanguageModel>(
    model: &M,
    context: &[TokenId],
    from: usize,
) -> Result<(), ModelError> {
    let info = model.info();
    let tokens = context.len();
    if from == 0 || from > tokens {
        return Err(ModelError::BadFeed { tokens, from });
    }
    if tokens > info.context {
        let (context, model) = (info.context, info.name.clone());
        return Err(ModelError::ContextOverrun { positions: tokens, context, model });
    }
    match context.iter().find(|&&t| t as usize >= info.vocabulary) {
        Some(&token) => {
            let (vocabulary, model) = (info.vocabulary, info.name.clone());
            Err(ModelError::TokenOutOfRange { token, vocabulary, model })
        }
        None => Ok(()),
    }
}

/// Refuses an ask for more probabilities than the model's steps list.
fn check_top<M: LanguageModel>(model: &M, top: usize) -> Result<(), LlmError> {
    let ModelInfo { name, top_k, vocabulary, .. } = model.info();
    if top.min(*vocabulary) > *top_k {
        return Err(LlmError::Refused(format!(
            "{top} probabilities are wanted at each position; {name} lists {top_k}; load it with a `top_k` of at least {top}"
        )));
    }
    Ok(())
}

/// The cached answers to an ask. All of them must be there.
fn known<S>(roots: &Roots<S>, root: &Key, ask: &Ask<'_>) -> (Vec<TokenId>, Vec<TopTokens>) {
    let prefixes = roots.get(root);
    let answers = prefixes.map(|p| p.answers(ask.context, ask.from, ask.sampling, ask.top));
    split(answers.into_iter().flatten().flatten())
}

/// The remaining work for an ask. `None` if all answers are cached.
fn job<'a, S>(roots: &Roots<S>, i: usize, root: &Key, ask: &Ask<'a>) -> Option<Job<'a>> {
    let prefixes = roots.get(root)?;
    let Ask { sampling, top, .. } = *ask;
    let known = prefixes.answers(ask.context, ask.from, sampling, top);
    let from = ask.from + known.iter().position(Option::is_none)?;
    let to = ask.from + known.iter().rposition(Option::is_none)?;
    let tokens = &ask.context[..to];
    // The step after a prefix comes from its last token, so that token is processed again.
    let held = prefixes.nearest(&tokens[..from - 1]);
    let grows = prefixes.ends(held);
    Some(Job { ask: i, root: Key::clone(root), tokens, from, sampling, top, held, grows })
}

/// Runs a wave in one call of the model and caches the results. One result for each job.
fn process<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    wave: &[Job<'_>],
) -> Vec<Result<(), ModelError>> {
    let mut states: Vec<M::State> = wave
        .iter()
        .map(|job| match roots.get_mut(&job.root) {
            // Extending a state in place copies no memory that the cached state shares.
            Some(prefixes) if job.grows => prefixes.take(job.held),
            Some(prefixes) => prefixes.state(job.held).cloned(),
            None => None,
        })
        .map(|state| state.unwrap_or_else(|| model.start()))
        .collect();
    let mut feeds: Vec<_> = states
        .iter_mut()
        .zip(wave)
        .map(|(state, job)| {
            model.truncate(state, job.held.positions);
            let (held, from) = (job.held.positions, job.from);
            Feed { state, tokens: &job.tokens[held..], from: from - 1 - held }
        })
        .collect();
    let draws = wave.iter().any(|job| job.sampling.is_some());
    let lists = wave.iter().any(|job| job.top > 0);
    let detail = match (draws, lists) {
        (true, _) => Detail::Logits,
        (false, true) => Detail::Full,
        (false, false) => Detail::Token,
    };
    let made = model.advance_each(&mut feeds, detail);
    let mut done = Vec::with_capacity(wave.len());
    for ((job, state), made) in wave.iter().zip(states).zip(made) {
        let steps = match made {
            Ok(steps) => steps,
            Err(error) => {
                done.push(Err(error));
                continue;
            }
        };
        let said: Vec<TokenId> = (job.from..)
            .zip(&steps)
            .map(|(position, step)| step.said(job.sampling, Side::Llm, position))
            .collect();
        if let Some(prefixes) = roots.get_mut(&job.root) {
            let grown = job.grows.then_some(job.held);
            prefixes.insert(job.tokens, state, grown, job.from, job.sampling, &said);
            if job.top > 0 {
                let best = |step: &Step| step.top[..job.top.min(step.top.len())].into();
                let top: Vec<TopTokens> = steps.iter().map(best).collect();
                prefixes.keep_top(job.tokens, job.from, job.top, &top);
            }
        }
        done.push(Ok(()));
    }
    done
}
