//! Round 1 onwards: the states that routed decoding visits. Both ways of every
//! difference go on with the same policy; the path taken is one of them.

use tokenroute_core::{Detail, LabelRow, LanguageModel, Scorer, Tau, TokenId};
use tokenroute_runtime::{Path, forced};

use crate::batch::Context;
use crate::routed::{Policy, Walk};
use crate::tracks::{Judged, Track};
use crate::{Item, LabelError};

/// Labels the routed answers of a batch.
pub(crate) fn label<S: LanguageModel, L: LanguageModel>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
    round: u32,
    scorer: &dyn Scorer,
    tau: Tau,
) -> Result<Vec<LabelRow>, LabelError> {
    let (vocabulary, config) = (context.labeller.vocabulary, &context.labeller.config);
    let (slm, llm) = (&context.slm, &context.llm);
    let policy = Policy { slm, llm, vocabulary, scorer, tau, max_tokens: config.max_tokens };

    let walks = items.iter().map(|item| Walk {
        question: &item.question.id,
        path: Path::new(vocabulary, &item.prompt),
        slm: slm.start(),
        slm_pending: item.prompt.clone(),
        llm: llm.start(),
        llm_pending: item.prompt.clone(),
        steps: Some(Vec::new()),
    });
    let mut walked: Vec<Option<_>> = items.iter().map(|_| None).collect();
    policy.walk(walks, |i, walk| {
        walked[i] = Some((walk.path, walk.slm, walk.steps.unwrap_or_default()));
    })?;
    // Every walk ends, so that none is missing here.
    let walked: Vec<_> = walked.into_iter().flatten().collect();

    let pairs: Vec<(&[TokenId], &[TokenId])> =
        items.iter().zip(&walked).map(|(i, (path, ..))| (&i.prompt[..], path.answer())).collect();
    let large = forced(llm, vocabulary, &pairs, Detail::Token)?;
    let (mut tracks, mut paths) = (Vec::new(), Vec::new());
    let (mut slm_states, mut llm_states) = (Vec::new(), Vec::new());
    for ((item, (path, state, steps)), large) in items.iter().zip(walked).zip(large) {
        tracks.push(Track {
            answer: path.answer().to_vec(),
            steps,
            llm: large.steps.iter().map(|s| s.token).collect(),
            grade: context.grade(item, path.answer()),
        });
        paths.push(path);
        slm_states.push(state);
        llm_states.push(large.state);
    }

    let (mut judged, rollouts) = Judged::plan(config, items, &tracks, false);
    let forks = rollouts.iter().map(|r| {
        let held = items[r.track].prompt.len() + r.position;
        let (mut small, mut large) = (slm_states[r.track].clone(), llm_states[r.track].clone());
        slm.truncate(&mut small, held);
        llm.truncate(&mut large, held);
        Walk {
            question: &items[r.track].question.id,
            path: paths[r.track].fork(r.position, r.token),
            slm: small,
            slm_pending: vec![r.token],
            llm: large,
            llm_pending: vec![r.token],
            steps: None,
        }
    });
    policy.walk(forks, |i, walk| {
        let grade = context.grade(&items[rollouts[i].track], walk.path.answer());
        judged.grade(&tracks, &rollouts[i], grade);
    })?;
    Ok(judged.rows(vocabulary, items, round, tracks))
}
