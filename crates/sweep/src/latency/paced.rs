//! A model slowed to the pace of a larger one on a weaker device.

use std::hint;
use std::time::{Duration, Instant};

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step};

/// A model with a least time for each forward pass. The thread stays busy for that
/// time, as a larger model keeps it.
#[derive(Debug, Clone, Copy)]
pub struct Paced<'a, M> {
    model: &'a M,
    pass: Duration,
}

impl<'a, M: LanguageModel> Paced<'a, M> {
    /// Stretches every pass to `pass`; zero leaves the model as it is.
    pub fn new(model: &'a M, pass: Duration) -> Self {
        Paced { model, pass }
    }
}

impl<M: LanguageModel> LanguageModel for Paced<'_, M> {
    type State = M::State;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> Self::State {
        self.model.start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        self.model.positions(state)
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        self.model.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let begun = Instant::now();
        let steps = self.model.advance(feeds, detail);
        while begun.elapsed() < self.pass {
            hint::spin_loop();
        }
        steps
    }
}
