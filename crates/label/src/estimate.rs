//! Estimates the cost of a labelling run from a labelled sample.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokenroute_core::{LanguageModel, Llm};

use crate::{Item, LabelError, Labeller, Round};

/// The expected cost of a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Questions of the whole run.
    pub questions: usize,
    /// Positions that the LLM will process: its answers, the forced pass, rollouts.
    pub llm_positions: u64,
    /// Positions that the SLM will process.
    pub slm_positions: u64,
    /// Wall-clock seconds on this machine. An upper estimate: a sample fills batches less than
    /// a run, and is slower per question.
    pub seconds: f64,
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Labels `sample` questions, spread evenly over the items, and drops the rows. Scales
    /// positions and seconds to all questions. Eight are enough.
    ///
    /// # Errors
    /// As [`Labeller::label`].
    pub fn estimate(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
        sample: usize,
    ) -> Result<Estimate, LabelError> {
        self.check(items, round.number())?;
        let taken = sample.clamp(1, items.len().max(1));
        let picked: Vec<Item<'_>> =
            (0..taken).filter_map(|i| items.get(i * items.len() / taken).cloned()).collect();
        let begun = Instant::now();
        let batch = self.batch(&picked, round)?;
        let seconds = begun.elapsed().as_secs_f64();
        let factor = items.len() as f64 / picked.len().max(1) as f64;
        Ok(Estimate {
            questions: items.len(),
            llm_positions: (batch.llm_positions as f64 * factor).round() as u64,
            slm_positions: (batch.slm_positions as f64 * factor).round() as u64,
            seconds: seconds * factor,
        })
    }
}
