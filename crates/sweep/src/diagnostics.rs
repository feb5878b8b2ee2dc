//! A router's scores beside the labels: reliability, and a histogram of each class.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Score, TrainingRecord};

/// Bins of equal mass in a reliability diagram.
const BINS: usize = 15;
/// Bins of equal width in a histogram of scores.
const BARS: usize = 20;

/// The router as a detector of divergent positions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// The record in the router file.
    pub training: TrainingRecord,
    /// Calibration before Platt scaling; may be empty.
    pub reliability_before: Vec<ReliabilityBin>,
    /// Calibration after it; may be empty.
    pub reliability_after: Vec<ReliabilityBin>,
    /// Scores of both classes; may be empty. Bins divide [0, 1] evenly.
    pub histogram: Vec<HistogramBin>,
}

/// Positions with like scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Mean score, P(keep).
    pub predicted: f64,
    /// Mean target: the share that may be kept.
    pub observed: f64,
    /// Positions in the bin.
    pub count: u64,
}

/// Positions whose score falls into one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramBin {
    /// Positions where keeping loses nothing.
    pub keep: u64,
    /// Divergent positions.
    pub divergent: u64,
}

/// Mean score and mean target of rows with like scores, in bins of equal mass.
/// Targets are the labels' P(keep).
#[must_use]
pub fn reliability(rows: &[(Score, f32)]) -> Vec<ReliabilityBin> {
    let mut rows: Vec<(f64, f64)> = rows.iter().map(|&(s, y)| (s.get(), f64::from(y))).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let size = rows.len().div_ceil(BINS).max(1);
    rows.chunks(size)
        .map(|bin| {
            let mean =
                |of: fn(&(f64, f64)) -> f64| bin.iter().map(of).sum::<f64>() / bin.len() as f64;
            ReliabilityBin {
                predicted: mean(|r| r.0),
                observed: mean(|r| r.1),
                count: bin.len() as u64,
            }
        })
        .collect()
}

/// Counts the rows of each class by score. A target below one half is divergent.
#[must_use]
pub fn histogram(rows: &[(Score, f32)]) -> Vec<HistogramBin> {
    let mut bars = vec![HistogramBin::default(); BARS];
    for &(score, target) in rows {
        let bar = ((score.get() * BARS as f64) as usize).min(BARS - 1);
        if target < 0.5 {
            bars[bar].divergent += 1;
        } else {
            bars[bar].keep += 1;
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_counted_once_in_its_class_and_bin() {
        let rows: Vec<(Score, f32)> = (0..300u16)
            .map(|i| {
                let score = Score::new(f64::from(i) / 300.0).expect("a number");
                (score, f32::from(u8::from(i >= 100)))
            })
            .collect();
        let bins = reliability(&rows);
        assert_eq!(bins.iter().map(|b| b.count).sum::<u64>(), 300);
        assert!(bins.windows(2).all(|w| w[0].predicted < w[1].predicted));
        assert_eq!((bins[0].observed, bins[14].observed), (0.0, 1.0));
        let bars = histogram(&rows);
        assert_eq!(bars.iter().map(|b| b.divergent).sum::<u64>(), 100);
        assert_eq!(bars.iter().map(|b| b.keep).sum::<u64>(), 200);
        assert_eq!(bars[0].keep, 0);
    }
}
