//! Synthetic label rows.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{LabelRow, Relation};

/// Width of the synthetic hidden states.
pub const HIDDEN: usize = 6;

/// Twelve rows for each of `questions` questions of one split. About one row in eight is
/// divergent: those with two high hidden values. A linear head cannot distinguish them from
/// rows with one very high value.
pub fn rows(split: &str, questions: usize, seed: u64) -> Vec<LabelRow> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for question in 0..questions {
        for position in 0..12 {
            let hidden: Vec<f32> = (0..HIDDEN).map(|_| rng.random_range(-1.0..1.0)).collect();
            let divergent = hidden[0] > 0.3 && hidden[1] > 0.3;
            let p = rng.random_range(0.2..0.8f32);
            rows.push(LabelRow {
                question: format!("{split}-{question}"),
                split: split.to_owned(),
                round: 0,
                position,
                prefix_hash: 0,
                previous: 1,
                slm_token: 2,
                llm_token: if divergent { 3 } else { 2 },
                llm_probability: None,
                top: vec![(2, p), (3, 0.7 * (1.0 - p)), (4, 0.3 * (1.0 - p))],
                entropy: rng.random_range(0.1..1.0),
                sentence_entropy: 0.5,
                hidden,
                relation: if divergent { Relation::Divergent } else { Relation::Identical },
                keep_grade: f32::from(!divergent),
                offload_grade: 1.0,
                target: f32::from(!divergent),
                weight: 1.0,
                rollouts: 0,
            });
        }
    }
    rows
}

/// Training and validation rows.
pub fn table() -> Vec<LabelRow> {
    let mut all = rows("router-train", 120, 1);
    all.extend(rows("validation", 50, 2));
    all
}
