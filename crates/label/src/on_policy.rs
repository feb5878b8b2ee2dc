//! Round 1 onwards: labels along the states that routed decoding visits. At every difference both
//! tokens are continued with one policy, by default the router's. The path itself is then one of
//! the two.

use std::mem;

use tokenroute_core::{LabelRow, LanguageModel, Llm, Scorer, Tau, TokenId};
use tokenroute_runtime::{Committed, Engine, Pair, Path, Policy};

use crate::judgement::{Judged, Track};
use crate::labeller::Context;
use crate::rollouts::{Rollouts, decode};
use crate::{ContinuationPolicy, Item, LabelError};

/// Labels the routed answers of a batch.
pub(crate) fn label<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
    round: u32,
    scorer: &dyn Scorer,
    tau: Tau,
) -> Result<Vec<LabelRow>, LabelError> {
    let labeller = context.labeller;
    let (vocabulary, config) = (labeller.vocabulary, &labeller.config);
    let pair = Pair::new(labeller.slm, labeller.llm, vocabulary);
    // A degraded token would not be the policy's.
    let policy = Policy { strict: true, ..Policy::new(tau) };

    let starts = items.iter().map(|item| Committed {
        question: item.question.id.clone(),
        path: Path::new(vocabulary, &item.prompt),
        state: labeller.slm.start(),
        steps: Vec::new(),
    });
    let mut walked: Vec<Option<Committed<'_, S::State>>> = items.iter().map(|_| None).collect();
    let engine = Engine::inline(pair, scorer).recording();
    let starts = starts.map(|start| (start, policy));
    decode(context, engine, starts, |i, _, committed| walked[i] = committed)?;
    // Every walk ends, so no grade is missing.
    let mut walked: Vec<_> = walked.into_iter().flatten().collect();

    let answers: Vec<&[TokenId]> = walked.iter().map(|w| w.path.answer()).collect();
    let large = context.tokens_along(items, &answers)?;
    let tracks: Vec<Track> = items
        .iter()
        .zip(&mut walked)
        .zip(large)
        .map(|((item, walked), llm)| Track {
            answer: walked.path.answer().to_vec(),
            steps: mem::take(&mut walked.steps),
            llm,
            grade: context.grade(item, walked.path.answer()),
        })
        .collect();

    let (mut judged, rollouts) = Judged::plan(config, items, &tracks, false);
    let batch = Rollouts { items, tracks: &tracks, rollouts: &rollouts };
    match config.continuation {
        None | Some(ContinuationPolicy::Routed) => {
            batch.by_router(context, scorer, policy, &walked, &mut judged)?;
        }
        Some(ContinuationPolicy::Llm) => batch.by_llm(context, &mut judged)?,
        Some(ContinuationPolicy::Slm) => batch.by_slm(context, &walked, &mut judged)?,
    }
    Ok(judged.rows(vocabulary, items, round, tracks))
}
