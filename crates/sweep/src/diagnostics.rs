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
    /// The split of the rows behind reliability, histogram and ranking.
    pub split: String,
    /// The record in the router file.
    pub training: TrainingRecord,
    /// Calibration before Platt scaling; may be empty.
    pub reliability_before: Vec<ReliabilityBin>,
    /// Calibration after it; may be empty.
    pub reliability_after: Vec<ReliabilityBin>,
    /// Scores of both classes; may be empty. Bins divide [0, 1] evenly.
    pub histogram: Vec<HistogramBin>,
    /// How policies rank the rows, the router first; may be empty.
    #[serde(default)]
    pub ranking: Vec<PolicyRanking>,
}

/// A policy as a detector of divergent positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRanking {
    /// Its name.
    pub policy: String,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision.
    pub auprc: f64,
    /// Least share of positions offloaded that catches 95% of the divergent ones.
    pub positive_rate_at_recall_95: f64,
    /// Expected calibration error of the score, read as the probability that the token may be
    /// kept.
    pub calibration_error: f64,
}

/// A judged row beside its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredRow {
    /// P(keep) by the router.
    pub score: Score,
    /// P(keep) by the label.
    pub target: f32,
    /// Positions that the row stands for, above 0.
    pub weight: f32,
}

/// Positions with like scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Mean score, P(keep).
    pub predicted: f64,
    /// Mean target: the share that may be kept.
    pub observed: f64,
    /// Rows in the bin.
    pub count: u64,
}

/// Weights of the rows whose score falls into one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HistogramBin {
    /// Positions where keeping loses nothing.
    pub keep: f64,
    /// Divergent positions.
    pub divergent: f64,
}

/// Mean score and mean target of rows with like scores, by weight, in bins of equal weight.
#[must_use]
pub fn reliability(rows: &[ScoredRow]) -> Vec<ReliabilityBin> {
    let mut rows: Vec<[f64; 3]> = rows
        .iter()
        .map(|row| [row.score.get(), f64::from(row.target), f64::from(row.weight)])
        .collect();
    rows.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let all: f64 = rows.iter().map(|row| row[2]).sum();
    let mut bins = Vec::new();
    let (mut from, mut taken) = (0, 0.0);
    for (i, row) in rows.iter().enumerate() {
        taken += row[2];
        let full = taken * BINS as f64 >= all * (bins.len() + 1) as f64 * (1.0 - 1e-12);
        if full || i + 1 == rows.len() {
            bins.push(bin(&rows[from..=i]));
            from = i + 1;
        }
    }
    bins
}

fn bin(rows: &[[f64; 3]]) -> ReliabilityBin {
    let all: f64 = rows.iter().map(|row| row[2]).sum();
    let mean = |of: usize| rows.iter().map(|row| row[of] * row[2]).sum::<f64>() / all;
    ReliabilityBin { predicted: mean(0), observed: mean(1), count: rows.len() as u64 }
}

/// Weights of each class by score. A target below one half is divergent.
#[must_use]
pub fn histogram(rows: &[ScoredRow]) -> Vec<HistogramBin> {
    let mut bars = vec![HistogramBin::default(); BARS];
    for row in rows {
        let bar = ((row.score.get() * BARS as f64) as usize).min(BARS - 1);
        let class = if row.target < 0.5 { &mut bars[bar].divergent } else { &mut bars[bar].keep };
        *class += f64::from(row.weight);
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(weight: impl Fn(u16) -> f32) -> Vec<ScoredRow> {
        let row = |i: u16| ScoredRow {
            score: Score::new(f64::from(i) / 300.0).expect("a number"),
            target: f32::from(u8::from(i >= 100)),
            weight: weight(i),
        };
        (0..300).map(row).collect()
    }

    #[test]
    fn every_row_is_counted_once_in_its_class_and_bin() {
        let rows = rows(|_| 1.0);
        let bins = reliability(&rows);
        assert!(bins.iter().all(|b| b.count == 20) && bins.len() == BINS, "{bins:?}");
        assert!(bins.windows(2).all(|w| w[0].predicted < w[1].predicted));
        assert_eq!((bins[0].observed, bins[14].observed), (0.0, 1.0));
        let bars = histogram(&rows);
        assert_eq!(bars.iter().map(|b| b.divergent).sum::<f64>(), 100.0);
        assert_eq!(bars.iter().map(|b| b.keep).sum::<f64>(), 200.0);
        assert_eq!(bars[0].keep, 0.0);
    }

    #[test]
    fn weights_count_as_rows() {
        // Divergent rows count twice: half of all weight.
        let rows = rows(|i| if i < 100 { 2.0 } else { 1.0 });
        let bins = reliability(&rows);
        assert_eq!(bins.len(), BINS);
        assert!(bins[0].count < bins[14].count, "{bins:?}");
        let bars = histogram(&rows);
        assert_eq!(bars.iter().map(|b| b.divergent).sum::<f64>(), 200.0);
    }
}
