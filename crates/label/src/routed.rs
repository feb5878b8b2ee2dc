//! Routed decoding over states that fork: the same decisions as the runtime's
//! loop, from any committed prefix, with both models in process.

use tokenroute_core::{Detail, Feed, LanguageModel, Scorer, Step, Tau, TokenId, Vocabulary};
use tokenroute_runtime::{DEFAULT_BATCH, Path, advance_canonical};

use crate::LabelError;

/// One trajectory on its way.
pub(crate) struct Walk<'w, S, L> {
    /// Id of the question.
    pub question: &'w str,
    /// What is committed.
    pub path: Path<'w>,
    /// The SLM's state, behind the path by `slm_pending`.
    pub slm: S,
    pub slm_pending: Vec<TokenId>,
    /// The LLM's state, behind the path by `llm_pending`.
    pub llm: L,
    pub llm_pending: Vec<TokenId>,
    /// What the SLM said at each position walked here, if wanted.
    pub steps: Option<Vec<Step>>,
}

/// A walk of models `S` and `L` with its index.
type Numbered<'w, S, L> =
    (usize, Walk<'w, <S as LanguageModel>::State, <L as LanguageModel>::State>);

/// The policy that walks.
pub(crate) struct Policy<'p, S, L> {
    pub slm: &'p S,
    pub llm: &'p L,
    pub vocabulary: &'p Vocabulary,
    pub scorer: &'p dyn Scorer,
    pub tau: Tau,
    pub max_tokens: usize,
}

impl<S: LanguageModel, L: LanguageModel> Policy<'_, S, L> {
    /// Walks every trajectory to its end, [`DEFAULT_BATCH`] in lockstep; `done`
    /// gets each with its index as it ends. A walk is drawn when its turn comes.
    pub(crate) fn walk<'w>(
        &self,
        walks: impl IntoIterator<Item = Walk<'w, S::State, L::State>>,
        mut done: impl FnMut(usize, Walk<'w, S::State, L::State>),
    ) -> Result<(), LabelError> {
        let mut queue = walks.into_iter().enumerate();
        let mut live: Vec<Numbered<'w, S, L>> = Vec::new();
        loop {
            while live.len() < DEFAULT_BATCH
                && let Some((i, walk)) = queue.next()
            {
                if walk.path.closed(self.max_tokens) {
                    done(i, walk);
                } else {
                    live.push((i, walk));
                }
            }
            if live.is_empty() {
                return Ok(());
            }
            self.step(&mut live)?;
            let mut still = Vec::with_capacity(live.len());
            for (i, walk) in live {
                if walk.path.closed(self.max_tokens) {
                    done(i, walk);
                } else {
                    still.push((i, walk));
                }
            }
            live = still;
        }
    }

    /// One position further for every live walk.
    fn step(&self, live: &mut [Numbered<'_, S, L>]) -> Result<(), LabelError> {
        let mut feeds: Vec<_> = live
            .iter_mut()
            .map(|(_, w)| Feed {
                from: w.slm_pending.len().saturating_sub(1),
                state: &mut w.slm,
                tokens: &w.slm_pending,
            })
            .collect();
        let steps = advance_canonical(self.slm, self.vocabulary, &mut feeds, Detail::Full)?;
        let steps: Vec<Step> = steps.into_iter().flatten().collect();

        let mut said = vec![None; live.len()];
        if self.scorer.needs_llm() {
            self.ask(live, &vec![true; steps.len()], &mut said)?;
        }
        let mut offloads = Vec::with_capacity(live.len());
        for (((_, walk), step), &llm_token) in live.iter().zip(&steps).zip(&said) {
            let position = walk.path.position(walk.question, step, llm_token);
            let score = self.scorer.score(&position).map_err(|source| LabelError::Score {
                question: walk.question.to_owned(),
                index: position.index,
                source,
            })?;
            offloads.push(self.tau.offloads(score));
        }
        if !self.scorer.needs_llm() {
            self.ask(live, &offloads, &mut said)?;
        }
        for ((((_, walk), step), offload), said) in
            live.iter_mut().zip(steps).zip(offloads).zip(said)
        {
            let token = if offload { said.unwrap_or(step.token) } else { step.token };
            let token = walk.path.commit(token, &step);
            walk.slm_pending = vec![token];
            walk.llm_pending.push(token);
            if let Some(steps) = &mut walk.steps {
                steps.push(step);
            }
        }
        Ok(())
    }

    /// The LLM's next token for the walks that want it.
    fn ask(
        &self,
        live: &mut [Numbered<'_, S, L>],
        wanted: &[bool],
        said: &mut [Option<TokenId>],
    ) -> Result<(), LabelError> {
        let (mut asking, mut answers) = (Vec::new(), Vec::new());
        for (((_, walk), &wanted), answer) in live.iter_mut().zip(wanted).zip(said) {
            if wanted {
                asking.push(walk);
                answers.push(answer);
            }
        }
        if asking.is_empty() {
            return Ok(());
        }
        let mut feeds: Vec<_> = asking
            .iter_mut()
            .map(|w| Feed {
                from: w.llm_pending.len().saturating_sub(1),
                state: &mut w.llm,
                tokens: &w.llm_pending,
            })
            .collect();
        let steps = advance_canonical(self.llm, self.vocabulary, &mut feeds, Detail::Token)?;
        for ((walk, answer), steps) in asking.into_iter().zip(answers).zip(steps) {
            walk.llm_pending.clear();
            *answer = steps.first().map(|s| s.token);
        }
        Ok(())
    }
}
