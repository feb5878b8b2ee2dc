//! The most probable of some tokens, for a caller that allows no others.

use tokenroute_core::{Detail, Feed, LanguageModel, LlmError, Reply, TokenId};

use super::asks::check;
use crate::roots::Roots;

/// Most contexts in one call. Each has logits over the whole vocabulary.
const AT_ONCE: usize = 64;

/// A context, and the tokens that are allowed after it.
pub(crate) struct Choice<'a> {
    pub(crate) context: &'a [TokenId],
    pub(crate) among: &'a [TokenId],
}

/// The most probable token of each choice, in order; ties take the lowest id. Cached states
/// are read, and nothing is cached.
pub(super) fn choose<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    choices: &[Choice<'_>],
) -> Vec<Result<Reply, LlmError>> {
    choices.chunks(AT_ONCE).flat_map(|some| choose_some(model, roots, some)).collect()
}

fn choose_some<M: LanguageModel>(
    model: &M,
    roots: &mut Roots<M::State>,
    choices: &[Choice<'_>],
) -> Vec<Result<Reply, LlmError>> {
    let checks: Vec<_> = choices.iter().map(|c| check(model, c.context, c.context.len())).collect();
    let good: Vec<&Choice<'_>> =
        choices.iter().zip(&checks).filter(|(_, ok)| ok.is_ok()).map(|(c, _)| c).collect();
    roots.open(good.iter().map(|c| (c.context, c.context.len())));
    let mut begun: Vec<(M::State, usize)> = good
        .iter()
        .map(|choice| {
            let root = roots.key(choice.context, choice.context.len());
            let before = &choice.context[..choice.context.len() - 1];
            let Some(prefixes) = roots.get(&root) else { return (model.start(), 0) };
            let held = prefixes.nearest(before);
            let mut state = prefixes.state(held).cloned().unwrap_or_else(|| model.start());
            model.truncate(&mut state, held.positions);
            (state, held.positions)
        })
        .collect();
    let mut feeds: Vec<_> = begun
        .iter_mut()
        .zip(&good)
        .map(|((state, held), choice)| {
            let tokens = &choice.context[*held..];
            Feed { state, tokens, from: tokens.len() - 1 }
        })
        .collect();
    let mut made = match feeds.is_empty() {
        true => Vec::new(),
        false => model.advance_each(&mut feeds, Detail::Logits),
    }
    .into_iter();
    let mut held = begun.iter().map(|(_, held)| *held);
    let mut best = |choice: &Choice<'_>| {
        let none = || LlmError::BadReply("no token is allowed after a text".to_owned());
        let positions = (choice.context.len() - held.next().unwrap_or(0)) as u64;
        let steps = made.next().unwrap_or_else(|| Ok(Vec::new()))?;
        let logits = steps.first().and_then(|step| step.logits.as_ref()).ok_or_else(none)?;
        let known = choice.among.iter().filter_map(|&t| Some((t, *logits.get(t as usize)?)));
        let token = known.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let tokens = vec![token.ok_or_else(none)?.0];
        Ok(Reply { tokens, positions, ..Reply::default() })
    };
    choices
        .iter()
        .zip(checks)
        .map(|(choice, ok)| match ok {
            Ok(()) => best(choice),
            Err(error) => Err(error.into()),
        })
        .collect()
}
