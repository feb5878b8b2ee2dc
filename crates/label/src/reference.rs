//! Round 0: along the reference answer, rollouts go on with the LLM. Does this
//! one token lose the answer?

use tokenroute_core::{Detail, LabelRow, LanguageModel, TokenId};
use tokenroute_runtime::{Start, extend, forced, greedy};

use crate::batch::Context;
use crate::tracks::{Judged, Track};
use crate::{Item, LabelError, Reference};

/// Labels the reference answers of a batch.
pub(crate) fn label<S: LanguageModel, L: LanguageModel>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<LabelRow>, LabelError> {
    let (vocabulary, config) = (context.labeller.vocabulary, &context.labeller.config);
    let (slm, llm) = (&context.slm, &context.llm);
    let gold = config.reference == Reference::Gold;
    let answers = if gold {
        items.iter().map(|item| rationale(context, item)).collect::<Result<_, _>>()?
    } else {
        let prompts: Vec<&[TokenId]> = items.iter().map(|i| i.prompt.as_slice()).collect();
        greedy(llm, vocabulary, &prompts, config.max_tokens)?
    };

    let pairs: Vec<(&[TokenId], &[TokenId])> =
        items.iter().zip(&answers).map(|(i, a)| (i.prompt.as_slice(), a.as_slice())).collect();
    let small = forced(slm, vocabulary, &pairs, Detail::Full)?;
    // The LLM's own answer tells its tokens; this pass also gives its states.
    let large = forced(llm, vocabulary, &pairs, Detail::Token)?;
    let mut tracks = Vec::with_capacity(items.len());
    let mut states = Vec::with_capacity(items.len());
    for (((item, answer), small), large) in items.iter().zip(answers).zip(small).zip(large) {
        let said = large.steps.iter().map(|s| s.token).collect();
        states.push(large.state);
        tracks.push(Track {
            grade: context.grade(item, &answer),
            steps: small.steps,
            llm: if gold { said } else { answer.clone() },
            answer,
        });
    }

    let (mut judged, rollouts) = Judged::plan(config, items, &tracks, gold);
    let starts = rollouts.iter().map(|r| {
        let mut state = states[r.track].clone();
        llm.truncate(&mut state, items[r.track].prompt.len() + r.position);
        let left = config.max_tokens.saturating_sub(r.position + 1);
        let max_tokens = if vocabulary.is_end(r.token) { 0 } else { left };
        Start { state, tokens: vec![r.token], max_tokens }
    });
    let ways = extend(llm, vocabulary, starts)?;
    for (rollout, way) in rollouts.iter().zip(ways) {
        let before = &tracks[rollout.track].answer[..rollout.position];
        let answer = [before, &[rollout.token], &way].concat();
        judged.grade(&tracks, rollout, context.grade(&items[rollout.track], &answer));
    }
    Ok(judged.rows(vocabulary, items, 0, tracks))
}

/// The gold rationale: canonical, up to its end token, at most `max_tokens`.
fn rationale<S, L>(
    context: &Context<'_, '_, S, L>,
    item: &Item<'_>,
) -> Result<Vec<TokenId>, LabelError> {
    let vocabulary = context.labeller.vocabulary;
    let Some(gold) = item.gold.as_ref().filter(|g| !g.is_empty()) else {
        return Err(LabelError::NoGold { question: item.question.id.clone() });
    };
    let mut answer: Vec<TokenId> = gold.iter().map(|&t| vocabulary.canonical(t)).collect();
    if let Some(end) = answer.iter().position(|&t| vocabulary.is_end(t)) {
        answer.truncate(end + 1);
    }
    answer.truncate(context.labeller.config.max_tokens);
    Ok(answer)
}
