//! Labels that a cap on rollouts thins: of each question's differences some are judged and
//! weigh open / judged, the others weigh nothing. Over many draws, loss, shares and Platt
//! scaling are those of the full table.

mod common;

use common::{rows, table};
use tokenroute_core::{LabelRow, Relation, Score, Tally, unit_hash};
use tokenroute_train::{
    FeatureSet, TrainConfig, TrainingData, fit_platt, rank_metrics, weighted_cross_entropy,
};

/// Judged differences of a question, at most.
const CAP: usize = 2;
const SEEDS: u64 = 1000;

/// Questions of which the long ones have more and worse differences, so that a cap thins the
/// worst questions most.
fn full() -> Vec<LabelRow> {
    let mut table = rows("validation", 60, 5);
    for (i, row) in table.iter_mut().enumerate() {
        let (question, place) = (i / 12, i % 12);
        let differs = place < 2 + question % 8;
        let draw = unit_hash(9, &row.question, place);
        row.relation = match differs {
            false => Relation::Identical,
            true if draw < 0.1 + 0.08 * (question % 8) as f64 => Relation::Divergent,
            true => Relation::Neutral,
        };
        row.target = f32::from(u8::from(row.relation != Relation::Divergent));
    }
    table
}

/// The rule of labelling.
fn thinned(full: &[LabelRow], seed: u64) -> Vec<LabelRow> {
    let mut rows = full.to_vec();
    for question in rows.chunk_by_mut(|a, b| a.question == b.question) {
        let mut open: Vec<usize> =
            (0..question.len()).filter(|&i| question[i].relation != Relation::Identical).collect();
        let hash = |i: usize| unit_hash(seed, &question[0].question, i);
        open.sort_by(|&a, &b| hash(a).total_cmp(&hash(b)));
        let judged = open.len().min(CAP);
        let weight = open.len() as f32 / judged.max(1) as f32;
        for (rank, &i) in open.iter().enumerate() {
            question[i].weight = if rank < judged { weight } else { 0.0 };
            if rank >= judged {
                (question[i].relation, question[i].target) = (Relation::Unjudged, 0.5);
            }
        }
    }
    rows
}

/// Logits of some fixed router, which knows a little.
fn logit(row: &LabelRow) -> f32 {
    2.0 * row.hidden[0] + 1.0 + if row.position < 4 { -0.7 } else { 0.9 }
}

/// Cross-entropy, share of divergence, Platt bias and scale, AUROC and AUPRC.
fn figures(rows: &[LabelRow]) -> [f64; 6] {
    let judged: Vec<&LabelRow> = rows.iter().filter(|r| r.weight > 0.0).collect();
    let logits: Vec<f32> = judged.iter().map(|r| logit(r)).collect();
    let targets: Vec<f32> = judged.iter().map(|r| r.target).collect();
    let weights: Vec<f32> = judged.iter().map(|r| r.weight).collect();
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.add(row));
    let platt = fit_platt(&logits, &targets, &weights).expect("both classes");
    let scores: Vec<Score> =
        logits.iter().map(|&f| Score::from_logit(f64::from(f)).expect("a number")).collect();
    let ranks = rank_metrics(&scores, &targets, &weights).expect("both classes");
    let wide: Vec<f64> = logits.iter().map(|&f| f64::from(f)).collect();
    [
        weighted_cross_entropy(&wide, &targets, &weights),
        tally.weighted().shares().divergent,
        f64::from(platt.bias),
        f64::from(platt.scale),
        ranks.auroc,
        ranks.auprc,
    ]
}

#[test]
fn the_mean_over_hash_seeds_meets_the_full_table() {
    let full = full();
    let expected = figures(&full);
    let unweighted = {
        let mut rows = thinned(&full, 0);
        rows.iter_mut().for_each(|row| row.weight = row.weight.min(1.0));
        figures(&rows)
    };
    let mut sums = [0.0; 6];
    for seed in 0..SEEDS {
        let found = figures(&thinned(&full, seed));
        sums.iter_mut().zip(found).for_each(|(sum, value)| *sum += value / SEEDS as f64);
    }
    let names = ["loss", "share", "Platt bias", "Platt scale", "AUROC", "AUPRC"];
    // The area under a precision-recall curve is biased upwards in small samples, whatever
    // their weights.
    let most = [0.01, 0.01, 0.02, 0.02, 0.01, 0.06];
    for i in 0..names.len() {
        let (mean, full) = (sums[i], expected[i]);
        let gap = (mean - full).abs() / full.abs();
        assert!(gap < most[i], "{}: {mean} thinned, {full} full", names[i]);
    }
    // Rows that weigh the same would not.
    for i in [0, 1, 2] {
        let gap = (unweighted[i] - expected[i]).abs() / expected[i].abs();
        assert!(gap > 0.1, "{}: {} against {}", names[i], unweighted[i], expected[i]);
    }
}

#[test]
fn training_normalises_and_validates_by_weight() {
    // A row of weight 3 is three rows.
    let mut weighted = table();
    let mut repeated = Vec::new();
    for (i, row) in weighted.iter_mut().enumerate() {
        row.weight = (i % 4) as f32;
        for _ in 0..i % 4 {
            repeated.push(LabelRow { weight: 1.0, ..row.clone() });
        }
    }
    let config =
        TrainConfig { top_k: 3, features: Some(FeatureSet::Both), ..TrainConfig::default() };
    let of =
        |rows: &[LabelRow]| TrainingData::new(&config, rows).expect("both classes").normalisation;
    let (one, many) = (of(&weighted), of(&repeated));
    let pairs = one.mean.iter().zip(&many.mean).chain(one.scale.iter().zip(&many.scale));
    pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
}
