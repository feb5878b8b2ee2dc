//! Measures how well scores find divergent positions. Positive means divergent (target
//! below ½) and should have a low score. Equal scores are always counted together. A row
//! counts as its weight.

use tokenroute_core::{Ranks, Score, ScoreError};

use crate::Rows;
use crate::platt::cross_entropy;

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

/// A row of a metric.
#[derive(Clone, Copy)]
struct Scored {
    score: f64,
    target: f64,
    weight: f64,
}

/// Rows of weight above 0, lowest score first.
fn ascending(scores: &[Score], targets: &[f32], weights: &[f32]) -> Vec<Scored> {
    let mut rows: Vec<Scored> = scores
        .iter()
        .zip(targets.iter().zip(weights))
        .filter(|(_, (_, weight))| **weight > 0.0)
        .map(|(score, (&target, &weight))| Scored {
            score: score.get(),
            target: f64::from(target),
            weight: f64::from(weight),
        })
        .collect();
    rows.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    rows
}

fn weight(rows: &[Scored], of: impl Fn(&Scored) -> bool) -> f64 {
    rows.iter().filter(|row| of(row)).map(|row| row.weight).sum()
}

/// Ranking metrics of scores against targets. `None` unless both classes occur.
#[must_use]
pub fn rank_metrics(scores: &[Score], targets: &[f32], weights: &[f32]) -> Option<RankMetrics> {
    let rows = ascending(scores, targets, weights);
    let divergent = |row: &Scored| row.target < 0.5;
    let positives = weight(&rows, divergent);
    let negatives = weight(&rows, |row| !divergent(row));
    if positives <= 0.0 || negatives <= 0.0 {
        return None;
    }
    let all = positives + negatives;
    let (mut found, mut taken) = (0.0, 0.0); // divergent rows and all rows so far
    let (mut pairs, mut precision) = (0.0, 0.0);
    let mut at_95 = None;
    for tie in rows.chunk_by(|a, b| a.score == b.score) {
        let here = weight(tie, divergent);
        let others = weight(tie, |row| !divergent(row));
        // Divergent rows below these others, plus half of those with the same score.
        pairs += others * (found + here / 2.0);
        found += here;
        taken += here + others;
        precision += here * found / taken;
        if at_95.is_none() && found >= 0.95 * positives {
            at_95 = Some(taken / all);
        }
    }
    Some(RankMetrics {
        auroc: pairs / (positives * negatives),
        auprc: precision / positives,
        positive_rate_at_recall_95: at_95.unwrap_or(1.0),
    })
}

/// Ranks of a certainty, any number that is high where the SLM is sure. `None` if a value is
/// NaN, or unless both classes occur.
pub(crate) fn ranks(certainty: impl Iterator<Item = f32>, rows: &Rows) -> Option<Ranks> {
    let scores: Result<Vec<Score>, ScoreError> =
        certainty.map(|value| Score::from_logit(f64::from(value))).collect();
    let RankMetrics { auroc, auprc, .. } =
        rank_metrics(&scores.ok()?, &rows.targets, &rows.weights)?;
    Some(Ranks { auroc, auprc })
}

/// Expected calibration error (Naeini et al. 2015): the mean over rows of |mean score −
/// mean target| of their bin. There are 15 bins of equal weight, each widened to hold all
/// ties of its last score.
#[must_use]
pub fn expected_calibration_error(scores: &[Score], targets: &[f32], weights: &[f32]) -> f64 {
    let rows = ascending(scores, targets, weights);
    let all = weight(&rows, |_| true);
    let (mut error, mut from, mut taken) = (0.0, 0, 0.0);
    for bin in 1..=BINS {
        let end = all * bin as f64 / BINS as f64 * (1.0 + 1e-12);
        let mut to = from;
        while to < rows.len()
            && (taken + rows[to].weight <= end || to > 0 && rows[to].score == rows[to - 1].score)
        {
            taken += rows[to].weight;
            to += 1;
        }
        let gap: f64 = rows[from..to].iter().map(|r| r.weight * (r.score - r.target)).sum();
        error += gap.abs();
        from = to;
    }
    // Rounding may leave the last row.
    error += rows[from..].iter().map(|r| r.weight * (r.score - r.target)).sum::<f64>().abs();
    error / all.max(f64::MIN_POSITIVE)
}

/// Mean cross-entropy of logits against targets.
#[must_use]
pub fn weighted_cross_entropy(logits: &[f64], targets: &[f32], weights: &[f32]) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for (&logit, (&target, &weight)) in logits.iter().zip(targets.iter().zip(weights)) {
        sum += f64::from(weight) * cross_entropy(logit, f64::from(target));
        all += f64::from(weight);
    }
    sum / all.max(f64::MIN_POSITIVE)
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
        let m = rank_metrics(&s, &y, &[1.0; 8]).expect("both classes");
        // Pairs (3 × 5): kept .2: 1 + ½, .3: 2, .4 twice: 2 + ½ each, .5: 3.
        assert!((m.auroc - (1.5 + 2.0 + 5.0 + 3.0) / 15.0).abs() < 1e-12, "{m:?}");
        // Precision at the divergent thresholds: 1/1, 2/3, 3/7.
        assert!((m.auprc - (1.0 + 2.0 / 3.0 + 3.0 / 7.0) / 3.0).abs() < 1e-12, "{m:?}");
        assert_eq!(m.positive_rate_at_recall_95, 7.0 / 8.0);
    }

    #[test]
    fn the_ends_of_the_scale() {
        let y = [0.0, 0.0, 1.0, 1.0];
        let best =
            rank_metrics(&scores(&[0.1, 0.2, 0.3, 0.4]), &y, &[1.0; 4]).expect("both classes");
        assert_eq!((best.auroc, best.auprc, best.positive_rate_at_recall_95), (1.0, 1.0, 0.5));
        let worst =
            rank_metrics(&scores(&[0.4, 0.3, 0.2, 0.1]), &y, &[1.0; 4]).expect("both classes");
        assert_eq!((worst.auroc, worst.positive_rate_at_recall_95), (0.0, 1.0));
        let level = rank_metrics(&scores(&[0.5; 4]), &y, &[1.0; 4]).expect("both classes");
        assert_eq!((level.auroc, level.auprc), (0.5, 0.5));
        assert_eq!(rank_metrics(&scores(&[0.1, 0.2]), &[1.0, 1.0], &[1.0; 2]), None);
    }

    #[test]
    fn calibration_error_is_the_mean_gap_of_the_bins() {
        // 15 bins of two rows, each at its own score: gap .1 in every bin.
        let s: Vec<f32> = (0..30).map(|i| 0.05 + (i / 2) as f32 / 20.0).collect();
        let y: Vec<f32> = s.iter().map(|v| v + 0.1).collect();
        let ece = expected_calibration_error(&scores(&s), &y, &[1.0; 30]);
        assert!((ece - 0.1).abs() < 1e-6, "{ece}");
        // Equal scores form one bin, in any order of rows.
        let level = scores(&[0.5; 40]);
        let mut y = vec![0.0; 10];
        y.extend([1.0; 30]);
        assert!((expected_calibration_error(&level, &y, &[1.0; 40]) - 0.25).abs() < 1e-12);
        y.reverse();
        assert!((expected_calibration_error(&level, &y, &[1.0; 40]) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_weight_is_that_many_rows() {
        let (mut s, mut y, mut w) = (Vec::new(), Vec::new(), Vec::new());
        let mut repeated = (Vec::new(), Vec::new());
        for i in 0..60u8 {
            let score = f32::from(u16::from(i) * 37 % 60) / 60.0;
            let target = f32::from(u8::from(i % 3 > 0));
            let count = i % 4;
            s.push(score);
            y.push(target);
            w.push(f32::from(count));
            for _ in 0..count {
                repeated.0.push(score);
                repeated.1.push(target);
            }
        }
        let (one, ones) = (scores(&s), vec![1.0; repeated.0.len()]);
        let many = scores(&repeated.0);
        let weighted = rank_metrics(&one, &y, &w).expect("both classes");
        let plain = rank_metrics(&many, &repeated.1, &ones).expect("both classes");
        assert!((weighted.auroc - plain.auroc).abs() < 1e-12, "{weighted:?} {plain:?}");
        assert!((weighted.auprc - plain.auprc).abs() < 1e-12, "{weighted:?} {plain:?}");
        let (weighted, plain) = (
            expected_calibration_error(&one, &y, &w),
            expected_calibration_error(&many, &repeated.1, &ones),
        );
        assert!((weighted - plain).abs() < 1e-12, "{weighted} {plain}");
    }
}
