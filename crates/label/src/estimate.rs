//! Estimates the cost of a labelling run from a labelled sample.

use std::time::{Duration, Instant};

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
    /// Questions that were labelled for the estimate.
    pub sample: usize,
}

impl Estimate {
    /// The same sample's estimate for another number of questions.
    #[must_use]
    pub fn scaled(self, questions: usize) -> Self {
        let factor = questions as f64 / self.questions.max(1) as f64;
        let scaled = |positions: u64| (positions as f64 * factor).round() as u64;
        Estimate {
            questions,
            llm_positions: scaled(self.llm_positions),
            slm_positions: scaled(self.slm_positions),
            seconds: self.seconds * factor,
            sample: self.sample,
        }
    }
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Labels questions spread over the items, drops the rows, and scales positions and
    /// seconds to all items. Two questions come first, then as many again as there were. It
    /// ends after `sample` questions, or earlier once `enough` time has passed.
    ///
    /// # Errors
    /// As [`Labeller::label`].
    pub fn estimate(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
        sample: usize,
        enough: Duration,
    ) -> Result<Estimate, LabelError> {
        self.check(items, round.number())?;
        let order = spread(items.len(), sample.clamp(1, items.len().max(1)));
        let mut done =
            Estimate { questions: 0, llm_positions: 0, slm_positions: 0, seconds: 0.0, sample: 0 };
        let begun = Instant::now();
        while done.sample < order.len() && (done.sample == 0 || begun.elapsed() < enough) {
            let end = order.len().min((2 * done.sample).max(2));
            let picked: Vec<Item<'_>> =
                order[done.sample..end].iter().map(|&i| items[i].clone()).collect();
            let batch = self.batch(&picked, round)?;
            done.llm_positions += batch.llm_positions;
            done.slm_positions += batch.slm_positions;
            done.sample = end;
        }
        done.seconds = begun.elapsed().as_secs_f64();
        done.questions = done.sample;
        Ok(done.scaled(items.len()))
    }
}

/// `taken` of `count` indices, such that the first of them are spread too: in the order of
/// their reversed bits.
fn spread(count: usize, taken: usize) -> Vec<usize> {
    let bits = taken.next_power_of_two().trailing_zeros();
    let reversed = (0..1usize << bits)
        .map(|i| (0..bits).fold(0, |out, bit| out | (i >> bit & 1) << (bits - 1 - bit)));
    reversed.filter(|&i| i < taken.min(count)).map(|i| i * count / taken).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn every_index_comes_once_and_the_first_are_far_apart() {
        assert_eq!(spread(80, 8), [0, 40, 20, 60, 10, 50, 30, 70]);
        assert_eq!(spread(5, 5), [0, 4, 2, 1, 3]);
        assert_eq!(spread(1, 1), [0]);
        assert!(spread(0, 1).is_empty());
    }
}
