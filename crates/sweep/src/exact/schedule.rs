//! Runs the branches of many questions in batches: the SLM advances many branches in
//! one step, the LLM checks many runs in one call. The order of work changes the
//! speed alone.

use tokenroute_core::{
    Ask, Detail, Feed, LanguageModel, Llm, Piece, Progress, QuestionCurve, Scorer, TokenId,
};
use tokenroute_runtime::{Pair, Path, Request, advance_canonical};

use super::branch::{BadScore, SweepBranch};
use super::{Leaf, SweepCost, SweepError, SweepOptions, SweptQuestion};

/// The state of one question.
#[derive(Default)]
struct Found {
    /// Branches that are not leaves yet.
    open: usize,
    /// Finished trajectories with their pieces.
    leaves: Vec<(Leaf, Vec<Piece>)>,
    cost: SweepCost,
}

/// A running sweep.
pub(super) struct Sweep<'a, S: LanguageModel, L: ?Sized> {
    pair: Pair<'a, S, L>,
    scorer: &'a dyn Scorer,
    questions: &'a [Request<'a>],
    grade: &'a dyn Fn(usize, &[TokenId]) -> bool,
    options: &'a SweepOptions,
    progress: &'a dyn Progress,
    found: Vec<Found>,
    /// The batch of the SLM.
    running: Vec<SweepBranch<'a, S::State>>,
    /// These wait for the SLM. The newest goes first, so that questions finish.
    waiting: Vec<SweepBranch<'a, S::State>>,
    /// The runs of these wait for the LLM.
    unchecked: Vec<SweepBranch<'a, S::State>>,
}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Sweep<'a, S, L> {
    pub fn new(
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        questions: &'a [Request<'a>],
        grade: &'a dyn Fn(usize, &[TokenId]) -> bool,
        options: &'a SweepOptions,
        progress: &'a dyn Progress,
    ) -> Result<Self, SweepError> {
        if let Some(q) = questions.iter().find(|q| q.prompt.is_empty()) {
            return Err(SweepError::EmptyPrompt { question: q.question.to_owned() });
        }
        Ok(Sweep {
            pair,
            scorer,
            questions,
            grade,
            options,
            progress,
            found: questions.iter().map(|_| Found::default()).collect(),
            running: Vec::new(),
            waiting: Vec::new(),
            unchecked: Vec::new(),
        })
    }

    pub fn run(mut self) -> Result<Vec<SweptQuestion>, SweepError> {
        let batch = self.options.batch.max(1);
        let mut fresh = 0..self.questions.len();
        loop {
            while self.running.len() < batch {
                if let Some(branch) = self.waiting.pop() {
                    self.running.push(branch);
                } else if let Some(q) = fresh.next() {
                    self.begin(q)?;
                } else {
                    break;
                }
            }
            if self.running.is_empty() && self.unchecked.is_empty() {
                break;
            }
            if !self.running.is_empty() {
                self.step()?;
            }
            if self.running.is_empty() || self.unchecked.len() >= batch.div_ceil(4) {
                self.check()?;
            }
        }
        let Sweep { questions, options, found, .. } = self;
        Ok(questions.iter().zip(found).map(|(q, f)| f.finish(q.question, options)).collect())
    }

    fn begin(&mut self, question: usize) -> Result<(), SweepError> {
        let request = &self.questions[question];
        // An earlier sweep's KV cache would lower this sweep's cost.
        self.pair.llm.forget(request.prompt);
        self.found[question].cost.prompt_positions = request.prompt.len() as u64 - 1;
        let path = Path::new(self.pair.vocabulary, request.prompt);
        self.found[question].open = 1;
        self.settle(question, [SweepBranch::root(question, path, self.pair.slm.start())])
    }

    /// Takes a branch without an unchecked run. A closed one is a leaf; another waits
    /// for the SLM.
    fn admit(&mut self, branch: SweepBranch<'a, S::State>) -> Result<(), SweepError> {
        let request = &self.questions[branch.question];
        let found = &mut self.found[branch.question];
        if branch.path.closed(request.max_tokens) {
            let correct = (self.grade)(branch.question, branch.path.answer());
            let pieces = branch.pieces(correct, !branch.path.ended());
            let leaf = Leaf {
                above: branch.above,
                upto: branch.upto,
                tokens: branch.path.answer().to_vec(),
                scores: branch.scores,
                correct,
            };
            found.leaves.push((leaf, pieces));
        } else {
            found.open += 1;
            self.waiting.push(branch);
        }
        if found.leaves.len() + found.open > self.options.max_leaves.max(1) {
            return Err(SweepError::LeafLimit {
                question: request.question.to_owned(),
                limit: self.options.max_leaves.max(1),
            });
        }
        Ok(())
    }

    /// Replaces an open branch by the branches that follow it.
    fn settle(
        &mut self,
        question: usize,
        branches: impl IntoIterator<Item = SweepBranch<'a, S::State>>,
    ) -> Result<(), SweepError> {
        self.found[question].open -= 1;
        for branch in branches {
            self.admit(branch)?;
        }
        if self.found[question].open == 0 {
            self.pair.llm.forget(self.questions[question].prompt);
            self.progress.advance(1);
        }
        Ok(())
    }

    fn bad_score(&self, question: usize, bad: &BadScore) -> SweepError {
        let question = self.questions[question].question.to_owned();
        SweepError::Score { question, index: bad.index, source: bad.source }
    }

    /// One SLM step for every running branch.
    fn step(&mut self) -> Result<(), SweepError> {
        let mut running = std::mem::take(&mut self.running);
        let mut feeds: Vec<_> = running
            .iter_mut()
            .map(|b| {
                self.found[b.question].cost.slm_positions += b.pending.len() as u64;
                Feed { state: &mut b.state, tokens: &b.pending, from: b.pending.len() - 1 }
            })
            .collect();
        let steps =
            advance_canonical(self.pair.slm, self.pair.vocabulary, &mut feeds, Detail::Full)?;
        for (mut branch, step) in running.into_iter().zip(steps.into_iter().flatten()) {
            let request = &self.questions[branch.question];
            let stop = branch
                .extend(step, request.question, self.scorer, request.max_tokens)
                .map_err(|bad| self.bad_score(branch.question, &bad))?;
            if !stop {
                self.running.push(branch);
            } else if branch.to_ask(self.scorer.needs_llm()).is_some() {
                self.unchecked.push(branch);
            } else {
                // No τ of the branch offloads a token of the run, so the answer is closed.
                self.settle(branch.question, [branch])?;
            }
        }
        Ok(())
    }

    /// Asks the LLM about all finished runs.
    fn check(&mut self) -> Result<(), SweepError> {
        let needs_llm = self.scorer.needs_llm();
        let unchecked = std::mem::take(&mut self.unchecked);
        let ranges: Vec<_> = unchecked.iter().filter_map(|b| b.to_ask(needs_llm)).collect();
        let asks: Vec<_> = unchecked
            .iter()
            .zip(&ranges)
            .map(|(b, range)| {
                let prompt = b.path.prompt_len();
                Ask::greedy(&b.path.tokens()[..prompt + range.end()], prompt + range.start())
                    .with_top(self.scorer.llm_top())
            })
            .collect();
        let replies = self.pair.llm.ask(&asks);
        let mut out = Vec::new();
        for ((mut branch, range), reply) in unchecked.into_iter().zip(ranges).zip(replies) {
            let question = branch.question;
            let id = self.questions[question].question;
            let reply =
                reply.map_err(|source| SweepError::Llm { question: id.to_owned(), source })?;
            self.found[question].cost.llm_positions += reply.positions;
            let expected = range.end() + 1 - range.start();
            if reply.tokens.len() != expected {
                let got = reply.tokens.len();
                return Err(SweepError::ShortReply { question: id.to_owned(), got, expected });
            }
            let llm: Vec<TokenId> =
                reply.tokens.iter().map(|&t| self.pair.vocabulary.canonical(t)).collect();
            if needs_llm {
                branch
                    .score_run(id, self.scorer, &llm, &reply.top)
                    .map_err(|bad| self.bad_score(question, &bad))?;
            }
            branch.check(self.pair.slm, *range.start(), &llm, &mut out);
            self.settle(question, out.drain(..))?;
        }
        Ok(())
    }
}

impl Found {
    fn finish(mut self, question: &str, options: &SweepOptions) -> SweptQuestion {
        self.leaves.sort_by(|a, b| a.0.above.total_cmp(&b.0.above));
        debug_assert!(self.leaves.windows(2).all(|w| w[0].0.upto == w[1].0.above));
        let tokens =
            |leaf: Option<&(Leaf, Vec<Piece>)>| leaf.map_or(0, |(l, _)| l.tokens.len() as u64);
        self.cost.slm_only_tokens = tokens(self.leaves.first());
        self.cost.llm_only_tokens = tokens(self.leaves.last());
        (self.cost.new_slm_positions, self.cost.new_llm_positions) =
            (self.cost.slm_positions, self.cost.llm_positions);
        let leaf_count = self.leaves.len();
        let mut pieces: Vec<Piece> = Vec::new();
        for &piece in self.leaves.iter().flat_map(|(_, pieces)| pieces) {
            match pieces.last_mut() {
                Some(last) if (Piece { end: piece.end, ..*last }) == piece => last.end = piece.end,
                _ => pieces.push(piece),
            }
        }
        let leaves = if options.keep_leaves {
            self.leaves.into_iter().map(|(leaf, _)| leaf).collect()
        } else {
            Vec::new()
        };
        SweptQuestion {
            curve: QuestionCurve { question: question.to_owned(), pieces },
            leaf_count,
            leaves,
            cost: self.cost,
        }
    }
}
