//! One branch of a sweep: an interval of τ and the trajectory that all of it shares
//! so far. The rules by which a branch runs, is checked, splits and ends.

use std::ops::RangeInclusive;

use tokenroute_core::{
    LanguageModel, LlmStep, Piece, ScoreError, Scorer, Step, TokenId, TopTokens,
};
use tokenroute_runtime::Path;

/// A score that is not a number, and its token.
pub(super) struct BadScore {
    pub index: usize,
    pub source: ScoreError,
}

/// An unfinished trajectory.
pub(super) struct SweepBranch<'v, S> {
    /// Index of the question.
    pub question: usize,
    /// The interval (above, upto] of τ. Never empty.
    pub above: f64,
    pub upto: f64,
    /// Prompt and tokens. Those from `run` on are the SLM's own, which the LLM has
    /// not checked yet.
    pub path: Path<'v>,
    /// Index of the first token of the unchecked run.
    pub run: usize,
    /// One score for each token of the path; those of the run may be missing.
    pub scores: Vec<f64>,
    /// The SLM's steps along the run, for scorers that need the LLM's token.
    pub steps: Vec<Step>,
    /// The SLM after everything but `pending`.
    pub state: S,
    /// Tokens the SLM has not processed yet.
    pub pending: Vec<TokenId>,
}

impl<'v, S: Clone> SweepBranch<'v, S> {
    /// The branch that owns all of [0, 1].
    pub fn root(question: usize, path: Path<'v>, state: S) -> Self {
        let pending = path.tokens().to_vec();
        SweepBranch {
            question,
            above: 0.0,
            upto: 1.0,
            path,
            run: 0,
            scores: Vec::new(),
            steps: Vec::new(),
            state,
            pending,
        }
    }

    /// Extends the run with the SLM's token of this step. Returns whether the run
    /// must stop: the answer is closed, or no τ of the branch keeps the token.
    pub fn extend(
        &mut self,
        step: Step,
        id: &str,
        scorer: &dyn Scorer,
        max_tokens: usize,
    ) -> Result<bool, BadScore> {
        let waits = scorer.needs_llm();
        let scored = if waits {
            None
        } else {
            let position = self.path.position(id, &step, None);
            let scored = scorer
                .scored(&position)
                .map_err(|source| BadScore { index: position.index, source })?;
            self.scores.push(scored.score.get());
            Some(scored)
        };
        let token = self.path.commit(step.token, &step, scored.as_ref());
        self.pending.clear();
        self.pending.push(token);
        if waits {
            self.steps.push(step);
        }
        let certain = self.scores.get(self.path.index() - 1).is_some_and(|&s| s <= self.above);
        Ok(certain || self.path.closed(max_tokens))
    }

    /// The indices to ask the LLM about: from the first to the last token of the run
    /// that some τ of the branch offloads.
    pub fn to_ask(&self, needs_llm: bool) -> Option<RangeInclusive<usize>> {
        let run = self.run..self.path.index();
        if needs_llm {
            return (!run.is_empty()).then(|| run.start..=run.end - 1);
        }
        let asked = |i: &usize| self.scores[*i] < self.upto;
        Some(run.clone().find(asked)?..=run.rev().find(asked)?)
    }

    /// Scores the run, given the LLM's tokens for it, and its most probable tokens if the
    /// scorer needs them.
    pub fn score_run(
        &mut self,
        id: &str,
        scorer: &dyn Scorer,
        llm: &[TokenId],
        top: &[TopTokens],
    ) -> Result<(), BadScore> {
        for (i, (step, &token)) in self.steps.iter().zip(llm).enumerate() {
            let index = self.run + i;
            let llm = LlmStep { token, top: top.get(i) };
            let position = self.path.position_at(index, id, step, Some(llm));
            let score = scorer.score(&position).map_err(|source| BadScore { index, source })?;
            self.scores.push(score.get());
        }
        self.steps.clear();
        Ok(())
    }

    /// Walks the run with the LLM's tokens; `llm[i]` is the one at index `first + i`.
    /// Where a token differs and its score is below `upto`, a branch with the LLM's
    /// token goes to `out`. The rest of this branch follows them, unless no τ keeps
    /// the whole run.
    pub fn check<M: LanguageModel<State = S>>(
        mut self,
        slm: &M,
        first: usize,
        llm: &[TokenId],
        out: &mut Vec<Self>,
    ) {
        for index in self.run..self.path.index() {
            let score = self.scores[index];
            if score >= self.upto {
                continue;
            }
            let token = llm[index - first];
            if token == self.path.answer()[index] {
                continue;
            }
            let path = self.path.fork(index, token);
            let held = path.prompt_len() + index;
            let keep_is_empty = score <= self.above;
            let mut offload = SweepBranch {
                question: self.question,
                above: self.above.max(score),
                upto: self.upto,
                path,
                run: index + 1,
                scores: self.scores[..=index].to_vec(),
                steps: Vec::new(),
                state: self.state.clone(),
                pending: vec![token],
            };
            if keep_is_empty {
                // Dropped first, so that the clone is the only owner of the KV state.
                drop(self);
                slm.truncate(&mut offload.state, held);
                out.push(offload);
                return;
            }
            slm.truncate(&mut offload.state, held);
            out.push(offload);
            self.upto = score;
        }
        self.run = self.path.index();
        out.push(self);
    }

    /// The pieces of the step function on this branch's interval.
    pub fn pieces(&self, correct: bool, cut: bool) -> Vec<Piece> {
        let generated = self.scores.len() as u32;
        let mut inside: Vec<f64> =
            self.scores.iter().copied().filter(|&s| s > self.above && s < self.upto).collect();
        inside.sort_unstable_by(f64::total_cmp);
        let mut offloaded = self.scores.iter().filter(|&&s| s <= self.above).count() as u32;
        let mut pieces = Vec::new();
        let mut below = self.above;
        for same in inside.chunk_by(|a, b| a == b) {
            let llm_positions = self.read_by_llm(below);
            let end = same[0];
            pieces.push(Piece { end, correct, cut, offloaded, generated, llm_positions });
            offloaded += same.len() as u32;
            below = same[0];
        }
        let llm_positions = self.read_by_llm(below);
        let end = self.upto;
        pieces.push(Piece { end, correct, cut, offloaded, generated, llm_positions });
        pieces
    }

    /// Positions the LLM reads for the tokens with scores up to this one.
    fn read_by_llm(&self, score: f64) -> u32 {
        let last = self.scores.iter().rposition(|&s| s <= score);
        last.map_or(0, |last| (self.path.prompt_len() + last) as u32)
    }
}
