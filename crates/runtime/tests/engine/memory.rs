//! What a session holds at a time: few steps of a long run, and one state of its scorer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenroute_core::{
    Detail, Feed, Handoff, LanguageModel, ModelError, ModelInfo, Position, Score, ScoreError,
    Scored, Scorer, ScorerState, Step, TokenId,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Pair, Policy, RUN, Request, RoutedDecoding, Wait, greedy};

use crate::lab::{APART, MAX_TOKENS, at_least_one, policy, prompts, requests, speculate};

/// A toy that remembers the most steps of one feed.
struct Watched {
    toy: ToyModel,
    most: AtomicUsize,
}

impl LanguageModel for Watched {
    type State = <ToyModel as LanguageModel>::State;

    fn info(&self) -> &ModelInfo {
        self.toy.info()
    }

    fn start(&self) -> Self::State {
        self.toy.start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        self.toy.positions(state)
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        self.toy.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let most = feeds.iter().map(|feed| feed.tokens.len() - feed.from).max();
        self.most.fetch_max(most.unwrap_or_default(), Ordering::Relaxed);
        self.toy.advance(feeds, detail)
    }
}

/// Hands the answer over at once.
struct Never;

impl Scorer for Never {
    fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(0.0)
    }
}

#[test]
fn a_long_run_is_read_in_parts() {
    const LONG: usize = 4 * RUN;
    let (toy, vocabulary, prompts) = (ToyModel::new(5), ToyModel::vocabulary(), prompts(200));
    let model = ToyModel::following(77, &toy, 0.5);
    let other = greedy(&model, &vocabulary, &prompts, LONG).expect("no errors");
    assert!(other.iter().any(|answer| answer.len() > RUN + 1), "no long answer");
    let llm = InProcess::new(model);
    let scorer = Handoff::by(Box::new(Never));
    let slm = Watched { toy, most: AtomicUsize::new(0) };
    let pair = Pair::new(&slm, &llm, &vocabulary);
    for wait in [Wait::Whole, Wait::Relay { tokens: at_least_one(LONG) }] {
        for listed in [None, Some(2)] {
            let policy = Policy { listed, ..policy(1.0, wait) };
            let requests: Vec<_> = requests(&prompts)
                .into_iter()
                .map(|request| Request { max_tokens: LONG, ..request })
                .collect();
            let traces = RoutedDecoding::new(pair, &scorer, policy).run(&requests);
            for (trace, other) in traces.expect("traces").iter().zip(&other) {
                assert_eq!(trace.ids().collect::<Vec<TokenId>>(), *other);
                assert_eq!((trace.llm_calls, trace.offloaded()), (1, other.len()));
                assert_eq!(trace.relayed as usize, other.len() - 1);
            }
        }
    }
    assert_eq!(slm.most.load(Ordering::Relaxed), RUN);
}

/// Counts the states that are alive.
#[derive(Clone, Default)]
struct Counts {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct State(Counts, usize);

impl Drop for State {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Scorer for Counts {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let before = position.state.and_then(ScorerState::get::<State>).map_or(0, |state| state.1);
        assert_eq!(before, position.index, "the state of the step before");
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let state = ScorerState::new(State(self.clone(), before + 1));
        Ok(Scored { score: Score::new(position.step.hidden[0].into())?, state: Some(state) })
    }
}

#[test]
fn a_session_holds_the_last_state_of_its_scorer() {
    let (slm, vocabulary, prompts) = (ToyModel::new(5), ToyModel::vocabulary(), prompts(60));
    let llm = InProcess::new(ToyModel::following(77, &slm, 0.5));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    // The state of the last step and the one of this step, for each branch.
    for (wait, most) in [(Wait::Block, 2), (Wait::Whole, 2), (speculate(2, 3), 2 * (1 + 2 * 4))] {
        let counts = Counts::default();
        let decoding = RoutedDecoding::new(pair, &counts, policy(0.5, wait));
        let decoding = RoutedDecoding { calls: Some(APART), batch: 1, ..decoding };
        let traces = decoding.run(&requests(&prompts)).expect("traces");
        assert!(traces.iter().any(|trace| trace.tokens.len() > MAX_TOKENS / 2));
        let held = counts.most.load(Ordering::Relaxed);
        assert!(held <= most, "{wait:?}: {held} states at once");
        assert_eq!(counts.now.load(Ordering::Relaxed), 0);
    }
}
