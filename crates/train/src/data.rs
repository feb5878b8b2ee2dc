//! Turns label rows into normalised features, targets and weights, split by question.

use std::collections::BTreeSet;

use tokenroute_core::{FeatureSpec, Features, LabelRow, Normalisation, Relation, unit_hash};

use crate::{TrainConfig, TrainError};

/// Least standard deviation to divide a feature by, so that a constant feature does no
/// harm.
const STD_FLOOR: f64 = 1e-4;

/// The training or the validation rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Normalised features `[len, width]`, row-major.
    pub features: Vec<f32>,
    /// Preference for keep `[len]`, in [0, 1].
    pub targets: Vec<f32>,
    /// Weights `[len]`, above 0.
    pub weights: Vec<f32>,
}

impl Rows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    fn push(&mut self, features: &[f32], row: &LabelRow, weight: f32) {
        self.features.extend_from_slice(features);
        self.targets.push(row.target);
        self.weights.push(weight);
    }

    /// Checks that both classes occur.
    fn check(&self, part: &'static str) -> Result<(), TrainError> {
        let divergent = self.targets.iter().filter(|&&y| y < 0.5).count();
        match divergent {
            0 => Err(TrainError::OneClass { part, rows: self.len(), kept: "kept" }),
            n if n == self.len() => {
                Err(TrainError::OneClass { part, rows: self.len(), kept: "offloaded" })
            }
            _ => Ok(()),
        }
    }
}

/// The part of a label table that training needs.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingData {
    /// Which features are read.
    pub spec: FeatureSpec,
    /// Mean and 1 / standard deviation of each feature over the training rows.
    pub normalisation: Normalisation,
    /// Judged rows to train on.
    pub train: Rows,
    /// Judged rows for early stopping and calibration.
    pub validation: Rows,
    /// Features `[positions, width]` of every validation position, unjudged ones included.
    /// τ ↔ offload is measured on them.
    pub positions: Vec<f32>,
}

impl TrainingData {
    /// Reads the features of all rows of the training and validation splits, and normalises
    /// them by the training rows.
    ///
    /// # Errors
    /// No rows, rows of one class, differing hidden widths, too few top
    /// probabilities, or values that are not finite numbers.
    pub fn new(config: &TrainConfig, rows: &[LabelRow]) -> Result<Self, TrainError> {
        let no_rows = |split: &str, field| TrainError::NoRows {
            split: split.to_owned(),
            rows: rows.len(),
            found: splits(rows),
            field,
        };
        let of_split = |split: &str| rows.iter().any(|r| r.split == split && r.weight > 0.0);
        if !of_split(&config.train_split) {
            return Err(no_rows(&config.train_split, "train_split"));
        }
        let hashed = !of_split(&config.validation_split);
        let hidden =
            rows.iter().find(|r| r.split == config.train_split).map_or(0, |r| r.hidden.len());
        let spec = FeatureSpec { hidden, top_k: config.top_k };

        let (mut train, mut validation) = (Rows::default(), Rows::default());
        let mut positions = Vec::new();
        for row in rows {
            let in_train = row.split == config.train_split;
            if !in_train && (hashed || row.split != config.validation_split) {
                continue;
            }
            check_row(&spec, row)?;
            let features = Features::from_parts(&spec, &row.hidden, &row.top, row.entropy).0;
            if let Some(i) = features.iter().position(|x| !x.is_finite()) {
                return Err(bad_row(
                    row,
                    format!(
                        "feature {i} is {}; expected a finite number; label this question again",
                        features[i]
                    ),
                ));
            }
            // Chosen by the question's hash, the same for every seed.
            let validates = if hashed {
                unit_hash(0, &row.question, 0) < config.validation_share
            } else {
                !in_train
            };
            if validates {
                positions.extend_from_slice(&features);
                if row.weight > 0.0 {
                    validation.push(&features, row, row.weight);
                }
            } else if row.weight > 0.0 {
                train.push(&features, row, row.weight * factor(config, row.relation));
            }
        }
        if validation.is_empty() {
            return Err(no_rows(&config.validation_split, "validation_split"));
        }
        train.check("training")?;
        validation.check("validation")?;

        let normalisation = normalisation(&train.features, spec.width());
        for features in [&mut train.features, &mut validation.features, &mut positions] {
            normalise(&normalisation, features);
        }
        Ok(TrainingData { spec, normalisation, train, validation, positions })
    }

    /// Number of training rows and of validation rows.
    #[must_use]
    pub fn sizes(&self) -> [u64; 2] {
        [self.train.len() as u64, self.validation.len() as u64]
    }
}

fn factor(config: &TrainConfig, relation: Relation) -> f32 {
    match relation {
        Relation::Neutral | Relation::BothWrong => config.neutral_weight as f32,
        _ => 1.0,
    }
}

fn splits(rows: &[LabelRow]) -> String {
    let names: BTreeSet<&str> = rows.iter().map(|r| r.split.as_str()).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn bad_row(row: &LabelRow, what: String) -> TrainError {
    TrainError::Row { question: row.question.clone(), position: row.position, what }
}

fn check_row(spec: &FeatureSpec, row: &LabelRow) -> Result<(), TrainError> {
    if row.hidden.len() != spec.hidden || row.hidden.is_empty() {
        return Err(bad_row(
            row,
            format!(
                "the hidden state has {} values, but the first row has {}; a table must hold the labels of one SLM: label again",
                row.hidden.len(),
                spec.hidden
            ),
        ));
    }
    if row.top.len() < spec.top_k {
        return Err(bad_row(
            row,
            format!(
                "it has {} top probabilities; expected at least train.top_k = {}; lower it or label again",
                row.top.len(),
                spec.top_k
            ),
        ));
    }
    if !(0.0..=1.0).contains(&row.target) {
        return Err(bad_row(row, format!("the target is {}; expected 0 to 1", row.target)));
    }
    if !(row.weight.is_finite() && row.weight >= 0.0) {
        return Err(bad_row(row, format!("the weight is {}; expected 0 or more", row.weight)));
    }
    Ok(())
}

/// Mean and 1 / standard deviation per column of `[rows, width]`.
fn normalisation(features: &[f32], width: usize) -> Normalisation {
    let n = (features.len() / width).max(1) as f64;
    let mut mean = vec![0f64; width];
    for row in features.chunks_exact(width) {
        for (m, &x) in mean.iter_mut().zip(row) {
            *m += f64::from(x) / n;
        }
    }
    let mut variance = vec![0f64; width];
    for row in features.chunks_exact(width) {
        for ((v, &x), m) in variance.iter_mut().zip(row).zip(&mean) {
            *v += (f64::from(x) - m).powi(2) / n;
        }
    }
    Normalisation {
        mean: mean.iter().map(|&m| m as f32).collect(),
        scale: variance.iter().map(|v| (1.0 / v.sqrt().max(STD_FLOOR)) as f32).collect(),
    }
}

fn normalise(by: &Normalisation, features: &mut [f32]) {
    for row in features.chunks_exact_mut(by.mean.len()) {
        for ((x, m), s) in row.iter_mut().zip(&by.mean).zip(&by.scale) {
            *x = (*x - m) * s;
        }
    }
}
