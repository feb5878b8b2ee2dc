//! Measures how well scores find divergent positions. Positive means divergent (target
//! below ½) and should have a low score. Equal scores are always counted together.

use tokenroute_core::Score;

/// Number of bins of the calibration error.
const BINS: usize = 15;

/// Ranking metrics, over distinct scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankMetrics {
    /// Area under the ROC curve: P(a divergent row scores below another row). Ties count
    /// half.
    pub auroc: f64,
    /// Average precision, Σ (Rᵢ − Rᵢ₋₁) Pᵢ over distinct thresholds.
    pub auprc: f64,
    /// Least share of rows below a threshold that catches 95% of the divergent rows.
    pub positive_rate_at_recall_95: f64,
}

/// Ranking metrics of scores against targets. `None` unless both classes occur.
#[must_use]
pub fn rank_metrics(scores: &[Score], targets: &[f32]) -> Option<RankMetrics> {
    let mut rows: Vec<(f64, bool)> =
        scores.iter().zip(targets).map(|(s, &y)| (s.get(), y < 0.5)).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let positives = rows.iter().filter(|r| r.1).count() as f64;
    let negatives = rows.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut found, mut taken) = (0.0, 0.0); // divergent rows and all rows so far
    let (mut pairs, mut precision) = (0.0, 0.0);
    let mut at_95 = None;
    for tie in rows.chunk_by(|a, b| a.0 == b.0) {
        let here = tie.iter().filter(|r| r.1).count() as f64;
        let others = tie.len() as f64 - here;
        // Divergent rows below these others, plus half of those with the same score.
        pairs += others * (found + here / 2.0);
        found += here;
        taken += tie.len() as f64;
        precision += here * found / taken;
        if at_95.is_none() && found >= 0.95 * positives {
            at_95 = Some(taken / rows.len() as f64);
        }
    }
    Some(RankMetrics {
        auroc: pairs / (positives * negatives),
        auprc: precision / positives,
        positive_rate_at_recall_95: at_95.unwrap_or(1.0),
    })
}

/// Expected calibration error (Naeini et al. 2015): the mean over rows of |mean score −
/// mean target| of their bin. There are 15 bins of equal mass, each widened to hold all
/// ties of its last score.
#[must_use]
pub fn expected_calibration_error(scores: &[Score], targets: &[f32]) -> f64 {
    let mut rows: Vec<(f64, f64)> =
        scores.iter().zip(targets).map(|(s, &y)| (s.get(), f64::from(y))).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut error, mut from) = (0.0, 0);
    for bin in 1..=BINS {
        let mut to = (bin * rows.len() / BINS).max(from);
        while to > 0 && to < rows.len() && rows[to].0 == rows[to - 1].0 {
            to += 1;
        }
        let gap: f64 = rows[from..to].iter().map(|r| r.0 - r.1).sum();
        error += gap.abs();
        from = to;
    }
    error / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[f32]) -> Vec<Score> {
        values.iter().map(|&v| Score::new(f64::from(v)).expect("a number")).collect()
    }

    #[test]
    fn ranks_with_ties_match_hand_computation() {
        // Ascending: .1 D | .2 D K | .3 K | .4 D K K | .5 K
        let s = scores(&[0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5]);
        let y = [0.0, 0.25, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0];
        let m = rank_metrics(&s, &y).expect("both classes");
        // Pairs (3 × 5): kept .2: 1 + ½, .3: 2, .4 twice: 2 + ½ each, .5: 3.
        assert!((m.auroc - (1.5 + 2.0 + 5.0 + 3.0) / 15.0).abs() < 1e-12, "{m:?}");
        // Precision at the divergent thresholds: 1/1, 2/3, 3/7.
        assert!((m.auprc - (1.0 + 2.0 / 3.0 + 3.0 / 7.0) / 3.0).abs() < 1e-12, "{m:?}");
        assert_eq!(m.positive_rate_at_recall_95, 7.0 / 8.0);
    }

    #[test]
    fn the_ends_of_the_scale() {
        let y = [0.0, 0.0, 1.0, 1.0];
        let best = rank_metrics(&scores(&[0.1, 0.2, 0.3, 0.4]), &y).expect("both classes");
        assert_eq!((best.auroc, best.auprc, best.positive_rate_at_recall_95), (1.0, 1.0, 0.5));
        let worst = rank_metrics(&scores(&[0.4, 0.3, 0.2, 0.1]), &y).expect("both classes");
        assert_eq!((worst.auroc, worst.positive_rate_at_recall_95), (0.0, 1.0));
        let level = rank_metrics(&scores(&[0.5; 4]), &y).expect("both classes");
        assert_eq!((level.auroc, level.auprc), (0.5, 0.5));
        assert_eq!(rank_metrics(&scores(&[0.1, 0.2]), &[1.0, 1.0]), None);
    }

    #[test]
    fn calibration_error_is_the_mean_gap_of_the_bins() {
        // 15 bins of two rows, each at its own score: gap .1 in every bin.
        let s: Vec<f32> = (0..30).map(|i| 0.05 + (i / 2) as f32 / 20.0).collect();
        let y: Vec<f32> = s.iter().map(|v| v + 0.1).collect();
        let ece = expected_calibration_error(&scores(&s), &y);
        assert!((ece - 0.1).abs() < 1e-6, "{ece}");
        // Equal scores form one bin, in any order of rows.
        let level = scores(&[0.5; 40]);
        let mut y = vec![0.0; 10];
        y.extend([1.0; 30]);
        assert!((expected_calibration_error(&level, &y) - 0.25).abs() < 1e-12);
        y.reverse();
        assert!((expected_calibration_error(&level, &y) - 0.25).abs() < 1e-12);
    }
}
