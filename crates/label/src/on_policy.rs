//! Round 1 onwards: the states that routed decoding visits. At every difference both tokens are
//! continued with the same policy; one of the two is the path itself.

use std::mem;

use tokenroute_core::{LabelRow, LanguageModel, Llm, Scorer, Tau, TokenId, Trace};
use tokenroute_runtime::{Committed, DEFAULT_BATCH, Engine, Event, Pair, Path, Policy};

use crate::judgement::{Judged, Track};
use crate::labeller::Context;
use crate::{Item, LabelError};

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
    walk(context, engine, policy, starts, |i, _, committed| walked[i] = committed)?;
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
    let forks = rollouts.iter().map(|r| walked[r.track].fork(labeller.slm, r.position, r.token));
    let engine = Engine::inline(pair, scorer);
    walk(context, engine, policy, forks, |i, trace, _| {
        let rollout = &rollouts[i];
        let way: Vec<TokenId> = trace.ids().collect();
        let answer = [rollout.before(&tracks), &[rollout.token], &way].concat();
        judged.grade(&tracks, rollout, context.grade(&items[rollout.track], &answer));
    })?;
    Ok(judged.rows(vocabulary, items, round, tracks))
}

/// Decodes from every start to the end. `done` gets each trace by the index of its start, and
/// the committed tokens if the engine records them. A start is taken from the iterator when its
/// turn comes, so a lazy iterator needs little memory.
fn walk<'a, S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    mut engine: Engine<'a, S, L>,
    policy: Policy,
    starts: impl IntoIterator<Item = Committed<'a, S::State>>,
    mut done: impl FnMut(usize, Trace, Option<Committed<'a, S::State>>),
) -> Result<(), LabelError> {
    let max_tokens = context.labeller.config.max_tokens;
    let mut starts = starts.into_iter();
    let mut begin = |engine: &mut Engine<'a, S, L>, _| {
        starts.next().map(|start| engine.resume(start, max_tokens, policy))
    };
    engine.drive(DEFAULT_BATCH, &mut begin, &mut |engine, number, event| {
        if let Event::Ended { session, trace } = event {
            context.metered.slm(trace.slm_positions);
            context.metered.llm(trace.llm_positions);
            done(number, trace, engine.committed(session));
        }
    })?;
    Ok(())
}
