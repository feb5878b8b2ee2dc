//! How often a τ chosen for an offload target keeps to it on other questions.

use tokenroute_core::QuestionCurve;

use super::Resampling;
use super::resampled::Resamples;
use super::steps::{ChosenTaus, Steps};

/// The share of resamples in which offload on `test` is at most `rho`. Both sets of questions
/// are resampled independently, and τ(ρ) is chosen anew on each resample of `calibration`.
/// `None` if a set is empty or there are no resamples.
#[must_use]
pub fn offload_met(
    calibration: &[QuestionCurve],
    test: &[QuestionCurve],
    rho: f64,
    resampling: Resampling,
) -> Option<f64> {
    if calibration.is_empty() || test.is_empty() || resampling.resamples == 0 {
        return None;
    }
    let resamples = Resamples::draw(calibration.len(), test.len(), resampling);
    let (calibration, test) = (Steps::new(calibration), Steps::new(test));
    let chosen = ChosenTaus::new(&calibration, &test);
    let met = resamples.map(|_, chosen_on, measured_on| {
        let [at] = chosen.pieces(chosen_on, &[rho]);
        let mut offload = 0.0;
        test.read(measured_on, |piece, sum| {
            offload = sum.offload();
            piece < at
        });
        offload <= rho
    });
    Some(met.iter().filter(|met| **met).count() as f64 / met.len() as f64)
}
