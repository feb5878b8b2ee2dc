//! Rollouts: continue an answer after a token with a policy, and grade it.

use tokenroute_core::{LanguageModel, Llm, Scorer, Tau, TokenId, Trace};
use tokenroute_runtime::{Absent, Committed, DEFAULT_BATCH, Engine, Event, KeepAll, Pair, Policy};

use crate::asked::Opening;
use crate::judgement::{Judged, Rollout, Track};
use crate::labeller::Context;
use crate::{Item, LabelError};

/// The rollouts of a batch.
pub(crate) struct Rollouts<'b> {
    pub items: &'b [Item<'b>],
    pub tracks: &'b [Track],
    pub rollouts: &'b [Rollout],
}

impl Rollouts<'_> {
    /// Continues with the LLM.
    pub(crate) fn by_llm<S, L: Llm + ?Sized>(
        &self,
        context: &Context<'_, '_, S, L>,
        judged: &mut Judged,
    ) -> Result<(), LabelError> {
        let config = &context.labeller.config;
        let opening = |rollout: &Rollout| {
            let (item, before) = (&self.items[rollout.track], rollout.before(self.tracks));
            Ok(Opening {
                item,
                tokens: [&item.prompt, before, &[rollout.token]].concat(),
                most: config.max_tokens.saturating_sub(rollout.position + 1),
                resumed: false,
                sampling: rollout.sampling(config, self.items, self.tracks)?,
            })
        };
        let openings = self.rollouts.iter().map(opening).collect::<Result<Vec<_>, LabelError>>()?;
        let ways = context.continued(&openings)?;
        for (rollout, way) in self.rollouts.iter().zip(ways) {
            self.grade(context, judged, rollout, &way);
        }
        Ok(())
    }

    /// Continues with the SLM alone. `paths` are the tracks with the SLM's state.
    pub(crate) fn by_slm<S: LanguageModel, L: ?Sized>(
        &self,
        context: &Context<'_, '_, S, L>,
        paths: &[Committed<'_, S::State>],
        judged: &mut Judged,
    ) -> Result<(), LabelError> {
        let labeller = context.labeller;
        let alone = Pair::new(labeller.slm, &Absent, labeller.vocabulary);
        let engine = Engine::inline(alone, &KeepAll);
        self.by_engine(context, engine, Policy::new(Tau::SLM_ONLY), paths, judged)
    }

    /// Continues with routed decoding.
    pub(crate) fn by_router<S: LanguageModel, L: Llm + ?Sized>(
        &self,
        context: &Context<'_, '_, S, L>,
        scorer: &dyn Scorer,
        policy: Policy,
        paths: &[Committed<'_, S::State>],
        judged: &mut Judged,
    ) -> Result<(), LabelError> {
        let labeller = context.labeller;
        let pair = Pair::new(labeller.slm, labeller.llm, labeller.vocabulary);
        self.by_engine(context, Engine::inline(pair, scorer), policy, paths, judged)
    }

    fn by_engine<'a, S: LanguageModel, L: ?Sized, M: Llm + ?Sized>(
        &self,
        context: &Context<'_, '_, S, L>,
        engine: Engine<'a, S, M>,
        policy: Policy,
        paths: &[Committed<'a, S::State>],
        judged: &mut Judged,
    ) -> Result<(), LabelError> {
        let config = &context.labeller.config;
        let policies = self
            .rollouts
            .iter()
            .map(|r| {
                Ok(Policy { sampling: r.sampling(config, self.items, self.tracks)?, ..policy })
            })
            .collect::<Result<Vec<_>, LabelError>>()?;
        let fork = |r: &Rollout| paths[r.track].fork(context.labeller.slm, r.position, r.token);
        let starts = self.rollouts.iter().map(fork).zip(policies);
        decode(context, engine, starts, |i, trace, _| {
            let way: Vec<TokenId> = trace.ids().collect();
            self.grade(context, judged, &self.rollouts[i], &way);
        })
    }

    fn grade<S, L: ?Sized>(
        &self,
        context: &Context<'_, '_, S, L>,
        judged: &mut Judged,
        rollout: &Rollout,
        way: &[TokenId],
    ) {
        let answer = [rollout.before(self.tracks), &[rollout.token], way].concat();
        let grade = context.grade(&self.items[rollout.track], &answer);
        judged.grade(self.tracks, rollout, grade);
    }
}

/// Decodes from every start to the end. `done` gets the index of the start, its trace, and the
/// committed tokens if the engine records them. Starts are taken from the iterator one by one, so
/// a lazy iterator needs little memory.
pub(crate) fn decode<'a, S: LanguageModel, L: ?Sized, M: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    mut engine: Engine<'a, S, M>,
    starts: impl IntoIterator<Item = (Committed<'a, S::State>, Policy)>,
    mut done: impl FnMut(usize, Trace, Option<Committed<'a, S::State>>),
) -> Result<(), LabelError> {
    let max_tokens = context.labeller.config.max_tokens;
    let mut starts = starts.into_iter();
    let mut begin = |engine: &mut Engine<'a, S, M>, _| {
        starts.next().map(|(start, policy)| engine.resume(start, max_tokens, policy))
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
