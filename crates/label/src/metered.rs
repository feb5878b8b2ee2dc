//! Costs of a batch.

use std::cell::Cell;

/// Positions processed so far.
#[derive(Debug, Default)]
pub(crate) struct PositionMeter {
    slm: Cell<u64>,
    llm: Cell<u64>,
}

impl PositionMeter {
    /// Adds positions of the SLM.
    pub(crate) fn slm(&self, positions: u64) {
        self.slm.set(self.slm.get() + positions);
    }

    /// Adds positions of the LLM.
    pub(crate) fn llm(&self, positions: u64) {
        self.llm.set(self.llm.get() + positions);
    }

    /// Positions of the SLM and of the LLM.
    pub(crate) fn positions(&self) -> [u64; 2] {
        [self.slm.get(), self.llm.get()]
    }
}
