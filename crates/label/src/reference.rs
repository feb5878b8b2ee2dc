//! Round 0: labels along the reference answer. By default the LLM continues each rollout, so a
//! label shows whether this one token loses the answer.

use tokenroute_core::{Detail, LabelRow, LanguageModel, Llm, TokenId};
use tokenroute_runtime::{Committed, Path, teacher_forcing};

use crate::asked::Opening;
use crate::judgement::{Judged, Track};
use crate::labeller::Context;
use crate::rollouts::Rollouts;
use crate::{ContinuationPolicy, Item, LabelError, Reference};

/// Labels the reference answers of a batch.
pub(crate) fn label<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<LabelRow>, LabelError> {
    let (vocabulary, config) = (context.labeller.vocabulary, &context.labeller.config);
    let gold = config.reference == Reference::Gold;
    let answers = answers(context, items)?;
    let large = if gold {
        let answers: Vec<&[TokenId]> = answers.iter().map(Vec::as_slice).collect();
        context.tokens_along(items, &answers)?
    } else {
        answers.clone()
    };
    let pairs: Vec<(&[TokenId], &[TokenId])> =
        items.iter().zip(&answers).map(|(i, a)| (i.prompt.as_slice(), a.as_slice())).collect();
    let small = teacher_forcing(context.labeller.slm, vocabulary, &pairs, Detail::Full)?;
    context.metered.slm(pairs.iter().map(|(prompt, answer)| positions(prompt, answer)).sum());
    let (mut tracks, mut states) = (Vec::new(), Vec::new());
    for (((item, answer), small), llm) in items.iter().zip(answers).zip(small).zip(large) {
        let grade = context.grade(item, &answer);
        states.push(small.state);
        tracks.push(Track { grade, steps: small.steps, llm, answer });
    }

    let (mut judged, rollouts) = Judged::plan(config, items, &tracks, gold);
    let batch = Rollouts { items, tracks: &tracks, rollouts: &rollouts };
    match config.continuation {
        None | Some(ContinuationPolicy::Llm) => {
            drop(states);
            batch.by_llm(context, &mut judged)?;
        }
        Some(ContinuationPolicy::Slm) => {
            let path = |((item, track), state): ((&Item<'_>, &Track), S::State)| {
                let mut path = Path::new(vocabulary, &item.prompt);
                for (&token, step) in track.answer.iter().zip(&track.steps) {
                    path.commit(token, step, None);
                }
                Committed { question: item.question.id.clone(), path, state, steps: Vec::new() }
            };
            let paths: Vec<_> = items.iter().zip(&tracks).zip(states).map(path).collect();
            batch.by_slm(context, &paths, &mut judged)?;
        }
        // `LabelConfig::check` refuses it.
        Some(ContinuationPolicy::Routed) => config.check(0)?,
    }
    Ok(judged.rows(vocabulary, items, 0, tracks))
}

/// The reference answers, canonical: rationales, or the LLM's own.
pub(crate) fn answers<S, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<Vec<TokenId>>, LabelError> {
    let config = &context.labeller.config;
    if config.reference == Reference::Gold {
        return items.iter().map(|item| rationale(context, item)).collect();
    }
    let opening = |item| Opening::greedy(item, item.prompt.clone(), config.max_tokens, true);
    context.continued(&items.iter().map(opening).collect::<Vec<_>>())
}

/// Positions of a teacher-forced answer. Its last token is not processed.
pub(crate) fn positions(prompt: &[TokenId], answer: &[TokenId]) -> u64 {
    (prompt.len() + answer.len().saturating_sub(1)) as u64
}

/// The gold rationale: canonical, up to its end, at most `max_tokens`.
fn rationale<S, L: ?Sized>(
    context: &Context<'_, '_, S, L>,
    item: &Item<'_>,
) -> Result<Vec<TokenId>, LabelError> {
    let vocabulary = context.labeller.vocabulary;
    let Some(gold) = item.gold.as_ref().filter(|g| !g.is_empty()) else {
        return Err(LabelError::NoGold { question: item.question.id.clone() });
    };
    let mut answer: Vec<TokenId> = gold.iter().map(|&t| vocabulary.canonical(t)).collect();
    if let Some(end) = vocabulary.closed_at(&[], &answer) {
        answer.truncate(end + 1);
    }
    answer.truncate(context.labeller.config.max_tokens);
    Ok(answer)
}
