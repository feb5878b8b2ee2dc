//! A model that counts the positions it processes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::{
    Detail, Feed, LanguageModel, ModelError, ModelInfo, Run, Runs, Step, Vocabulary,
};

/// Another model, counted.
pub(crate) struct Counted<'m, M> {
    model: &'m M,
    positions: AtomicU64,
}

impl<'m, M> Counted<'m, M> {
    pub(crate) fn new(model: &'m M) -> Self {
        Counted { model, positions: AtomicU64::new(0) }
    }

    /// Positions processed so far.
    pub(crate) fn positions(&self) -> u64 {
        self.positions.load(Ordering::Relaxed)
    }
}

impl<M: LanguageModel> LanguageModel for Counted<'_, M> {
    type State = M::State;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> M::State {
        self.model.start()
    }

    fn positions(&self, state: &M::State) -> usize {
        self.model.positions(state)
    }

    fn truncate(&self, state: &mut M::State, len: usize) {
        self.model.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, M::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let positions: usize = feeds.iter().map(|f| f.tokens.len()).sum();
        self.positions.fetch_add(positions as u64, Ordering::Relaxed);
        self.model.advance(feeds, detail)
    }

    fn run(&self, runs: &mut [Run<'_, M::State>], vocabulary: &Vocabulary) -> Option<Runs> {
        let fed: usize = runs.iter().map(|run| run.tokens.len()).sum();
        let said = self.model.run(runs, vocabulary)?;
        let made = said.iter().flatten().map(|run| run.len().saturating_sub(1)).sum::<usize>();
        self.positions.fetch_add((fed + made) as u64, Ordering::Relaxed);
        Some(said)
    }
}
