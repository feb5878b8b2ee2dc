//! Continues many contexts in parallel: one call of the model per token of all of them.

use std::collections::VecDeque;

use tokenroute_core::{
    Continuation, Detail, Feed, LanguageModel, LlmError, ModelError, Reply, Side, TokenId,
    Vocabulary,
};

use super::asks::{POSITIONS_PER_CALL, check};
use crate::prefixes::{Held, shared};
use crate::roots::{Key, Roots};

/// Most parallel continuations.
const AT_ONCE: usize = 256;

/// A continuation in progress.
struct Growing<S> {
    /// Its index.
    index: usize,
    root: Key,
    /// The context and its continuation so far.
    tokens: Vec<TokenId>,
    /// Number of known tokens at the start.
    known: usize,
    held: Held,
    /// Holds all positions but the last.
    state: S,
    positions: u64,
}

/// Makes every continuation, in order.
pub(super) fn make<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    wanted: &[Continuation<'_>],
    vocabulary: &Vocabulary,
) -> Vec<Result<Reply, LlmError>> {
    let mut replies: Vec<_> = wanted.iter().map(|_| Ok(Reply::default())).collect();
    roots.open(wanted.iter().map(|w| (w.context, w.context.len())));
    let mut queue: VecDeque<usize> = (0..wanted.len()).collect();
    let mut growing: Vec<Growing<M::State>> = Vec::new();
    let draws = wanted.iter().any(|w| w.sampling.is_some());
    let detail = if draws { Detail::Logits } else { Detail::Token };
    loop {
        admit(model, roots, wanted, vocabulary, &mut queue, &mut growing, &mut replies);
        if growing.is_empty() {
            return replies;
        }
        // The step after a sequence comes from its last token.
        let mut feeds: Vec<_> = growing
            .iter_mut()
            .map(|g| {
                let held = model.positions(&g.state);
                let tokens = &g.tokens[held..];
                g.positions += tokens.len() as u64;
                Feed { state: &mut g.state, from: tokens.len() - 1, tokens }
            })
            .collect();
        let made = model.advance_each(&mut feeds, detail);
        let all = std::mem::take(&mut growing);
        for (mut g, made) in all.into_iter().zip(made) {
            let steps = match made {
                Ok(steps) => steps,
                Err(error) => {
                    replies[g.index] = Err(error.into());
                    continue;
                }
            };
            let Continuation { context, tokens, sampling, .. } = wanted[g.index];
            let said = steps.first().map(|s| s.said(sampling, Side::Llm, g.tokens.len()));
            g.tokens.extend(said);
            let ended = said.is_none() || vocabulary.closes(&g.tokens);
            let whole = ended || g.tokens.len() - context.len() >= tokens;
            let error = check(model, &g.tokens, g.tokens.len()).err();
            if whole || error.is_some() {
                replies[g.index] = g.reply(wanted, error);
                g.keep(roots, wanted);
            } else {
                growing.push(g);
            }
        }
    }
}

/// Begins continuations until one call is full.
fn admit<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    wanted: &[Continuation<'_>],
    vocabulary: &Vocabulary,
    queue: &mut VecDeque<usize>,
    growing: &mut Vec<Growing<M::State>>,
    replies: &mut [Result<Reply, LlmError>],
) {
    let mut positions = growing.len();
    let mut later = VecDeque::new();
    while growing.len() < AT_ONCE
        && positions < POSITIONS_PER_CALL
        && let Some(index) = queue.pop_front()
    {
        let Continuation { context, tokens: most, sampling, .. } = wanted[index];
        let most = most.max(1);
        if let Err(error) = check(model, context, context.len()) {
            replies[index] = Err(error.into());
            continue;
        }
        let root = roots.key(context, context.len());
        let Some(prefixes) = roots.get(&root) else { continue };
        let known = prefixes.continuation(context, most, sampling, vocabulary);
        let tokens = [context, &known].concat();
        let ended = !known.is_empty() && vocabulary.closes(&tokens);
        if ended || known.len() == most || check(model, &tokens, tokens.len()).is_err() {
            replies[index] = Ok(Reply { tokens: known, ..Reply::default() });
            continue;
        }
        let held = prefixes.nearest(&tokens[..tokens.len() - 1]);
        // A continuation that shares new positions with another waits until they are cached.
        let repeats =
            |g: &Growing<M::State>| g.root == root && shared(&g.tokens, &tokens) > held.positions;
        if growing.iter().any(repeats) {
            later.push_back(index);
            continue;
        }
        let mut state = prefixes.state(held).cloned().unwrap_or_else(|| model.start());
        model.truncate(&mut state, held.positions);
        positions += tokens.len() - held.positions;
        let known = tokens.len();
        growing.push(Growing { index, root, tokens, known, held, state, positions: 0 });
    }
    later.append(queue);
    *queue = later;
}

impl<S> Growing<S> {
    /// Its result so far.
    fn reply(
        &self,
        wanted: &[Continuation<'_>],
        error: Option<ModelError>,
    ) -> Result<Reply, LlmError> {
        let tokens = self.tokens[wanted[self.index].context.len()..].to_vec();
        match error {
            Some(error) if tokens.is_empty() => Err(error.into()),
            _ => Ok(Reply { tokens, positions: self.positions, ..Reply::default() }),
        }
    }

    /// Caches its answers, and its state if it is resumed.
    fn keep(self, roots: &mut Roots<S>, wanted: &[Continuation<'_>]) {
        let Growing { index, root, tokens, known, held, state, .. } = self;
        if let (true, Some(prefixes)) = (wanted[index].resumed, roots.get_mut(&root)) {
            let grown = prefixes.ends(held).then_some(held);
            let (read, said) = (&tokens[..tokens.len() - 1], &tokens[known..]);
            prefixes.insert(read, state, grown, known, wanted[index].sampling, said);
        }
    }
}
