//! Turns label rows into normalised features, targets and weights, split by question.

mod normalising;
mod part;
mod rows;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use tokenroute_core::{FeatureReader, FeatureSpec, LabelRow, Normalisation};

use self::normalising::{normalisation, normalise};
use self::part::{Part, factor, part, splits, taken};
pub use self::rows::Rows;
use self::rows::check_row;
use crate::along::{Along, bad_row};
use crate::layer::is_recurrent;
use crate::rule::{LabelRule, Target};
use crate::{FeatureSet, Steps, TrainConfig, TrainError};

/// The part of a label table that training needs.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingData {
    /// Which features are read.
    pub spec: FeatureSpec,
    /// Mean and 1 / standard deviation of each feature over the training rows.
    pub normalisation: Normalisation,
    /// Judged rows to train on.
    pub train: Rows,
    /// Judged rows for early stopping and for the choice of settings.
    pub validation: Rows,
    /// Judged rows for calibration; `None` if the table has no calibration split, and the
    /// validation rows calibrate.
    pub calibration: Option<Rows>,
    /// Features `[positions, width]` of every position of the split that calibrates, unjudged
    /// ones included. τ ↔ offload is measured on them.
    pub positions: Vec<f32>,
    /// Number of positions of each answer there.
    pub lengths: Vec<usize>,
}

impl TrainingData {
    /// Reads the features of all rows of the training, validation and calibration splits, and
    /// normalises them by the training rows. No row of another split is read. The targets are
    /// those of the configuration's label rule.
    ///
    /// # Errors
    /// As [`TrainingData::ruled`], and a rule that cannot work.
    pub fn new(config: &TrainConfig, rows: &[LabelRow]) -> Result<Self, TrainError> {
        Self::ruled(config, &*config.rule()?, rows)
    }

    /// As [`TrainingData::new`], with the targets of another label rule.
    ///
    /// # Errors
    /// No rows, rows of one class, differing hidden widths, too few top
    /// probabilities, or values that are not finite numbers.
    pub fn ruled(
        config: &TrainConfig,
        rule: &dyn LabelRule,
        rows: &[LabelRow],
    ) -> Result<Self, TrainError> {
        let recurrent = config.head()?.is_some_and(|head| is_recurrent(&head.layers(1)));
        Self::of(config, rule, rows, recurrent)
    }

    /// The same, for a head that may go along the steps of an answer.
    pub(crate) fn of(
        config: &TrainConfig,
        rule: &dyn LabelRule,
        rows: &[LabelRow],
        recurrent: bool,
    ) -> Result<Self, TrainError> {
        let no_rows = |split: &str, field| TrainError::NoRows {
            split: split.to_owned(),
            rows: rows.len(),
            found: splits(rows),
            field,
        };
        let counts = |row: &LabelRow| rule.target(row).weight > 0.0;
        let of_split = |split: &str| rows.iter().any(|r| r.split == split && counts(r));
        if !of_split(&config.train_split) {
            return Err(no_rows(&config.train_split, "train_split"));
        }
        let hashed = !of_split(&config.validation_split);
        let calibrated = of_split(&config.calibration_split)
            && ![&config.train_split, &config.validation_split]
                .contains(&&config.calibration_split);
        let hidden =
            rows.iter().find(|r| r.split == config.train_split).map_or(0, |r| r.hidden.len());
        let more = config.features.as_ref().map_or(&[][..], FeatureSet::more);
        let spec = FeatureSet::Both.spec(hidden, config.top_k).with(more, hidden);
        spec.check().map_err(|expected| {
            let value = config.features.as_ref().map_or(String::new(), FeatureSet::name);
            TrainError::Config { field: "features", value, expected }
        })?;
        let reader = FeatureReader::new(&spec);

        let mut data = TrainingData {
            normalisation: Normalisation { mean: Vec::new(), scale: Vec::new() },
            train: Rows::new(recurrent),
            validation: Rows::new(recurrent),
            calibration: calibrated.then(|| Rows::new(recurrent)),
            positions: Vec::new(),
            lengths: Vec::new(),
            spec,
        };
        let taken = taken(config, rows, hashed, calibrated);
        let mut along = Along::new(&reader, recurrent);
        let mut last = None;
        for row in rows {
            let Some(part) = part(config, row, hashed, calibrated) else { continue };
            let answer = along.answer(row)?;
            let left_out = |taken: &BTreeSet<&str>| !taken.contains(row.question.as_str());
            if part == Part::Train && taken.as_ref().is_some_and(left_out) {
                continue;
            }
            let target = rule.target(row);
            check_row(&data.spec, row, target)?;
            let features = along.features(row)?;
            if let Some(i) = features.iter().position(|x| !x.is_finite()) {
                return Err(bad_row(
                    row,
                    format!(
                        "feature {i} is {}; expected a finite number; label this question again",
                        features[i]
                    ),
                ));
            }
            let calibrates = if calibrated { Part::Calibration } else { Part::Validation };
            if part == calibrates {
                data.positions.extend_from_slice(&features);
                match data.lengths.last_mut().filter(|_| last == Some(answer)) {
                    Some(length) => *length += 1,
                    None => data.lengths.push(1),
                }
                last = Some(answer);
            }
            let counts = target.weight > 0.0;
            match part {
                Part::Train => {
                    let weight = target.weight * factor(config, row.relation, target);
                    let target = Target { weight, ..target };
                    data.train.push(&features, row, (counts, target), answer);
                }
                Part::Validation => data.validation.push(&features, row, (counts, target), answer),
                Part::Calibration => {
                    let rows = data.calibration.get_or_insert_default();
                    rows.push(&features, row, (counts, target), answer);
                }
            }
        }
        if data.validation.is_empty() {
            return Err(no_rows(&config.validation_split, "validation_split"));
        }
        data.train.check("training")?;
        data.validation.check("validation")?;
        if let Some(rows) = &data.calibration {
            rows.check("calibration")?;
        }
        data.normalisation = normalisation(&data.train, data.spec.width());
        let TrainingData { normalisation: by, train, validation, calibration, positions, .. } =
            &mut data;
        normalise(by, positions);
        for rows in [train, validation].into_iter().chain(calibration) {
            normalise(by, &mut rows.features);
            if let Some(steps) = &mut rows.steps {
                normalise(by, &mut steps.features);
            }
        }
        Ok(data)
    }

    /// The rows that calibrate the score and measure the router.
    #[must_use]
    pub fn measured(&self) -> &Rows {
        self.calibration.as_ref().unwrap_or(&self.validation)
    }

    /// The same rows with a part of the features: the hidden state, the probabilities and the
    /// others, each wholly or not at all.
    #[must_use]
    pub fn reading(&self, spec: &FeatureSpec) -> Cow<'_, Self> {
        if *spec == self.spec {
            return Cow::Borrowed(self);
        }
        let width = self.spec.width();
        let hidden = self.spec.hidden;
        let probabilities =
            hidden + FeatureSet::Probabilities.spec(hidden, self.spec.top_k).width();
        let columns: Vec<Range<usize>> = [
            (spec.hidden > 0, 0..hidden),
            (spec.top_k > 0, hidden..probabilities),
            (!spec.more.is_empty(), probabilities..width),
        ]
        .into_iter()
        .filter_map(|(read, columns)| read.then_some(columns))
        .collect();
        let of_row = |row: &[f32]| -> Vec<f32> {
            columns.iter().flat_map(|columns| &row[columns.clone()]).copied().collect()
        };
        let narrow =
            |values: &[f32]| -> Vec<f32> { values.chunks_exact(width).flat_map(of_row).collect() };
        let rows = |rows: &Rows| Rows {
            features: narrow(&rows.features),
            targets: rows.targets.clone(),
            weights: rows.weights.clone(),
            gains: rows.gains.clone(),
            probabilities: rows.probabilities.clone(),
            answers: rows.answers.clone(),
            uncertainty: rows.uncertainty.clone(),
            steps: rows.steps.as_ref().map(|steps| Steps {
                features: narrow(&steps.features),
                answers: steps.answers.clone(),
                of_rows: steps.of_rows.clone(),
            }),
        };
        Cow::Owned(TrainingData {
            spec: spec.clone(),
            normalisation: Normalisation {
                mean: of_row(&self.normalisation.mean),
                scale: of_row(&self.normalisation.scale),
            },
            train: rows(&self.train),
            validation: rows(&self.validation),
            calibration: self.calibration.as_ref().map(rows),
            positions: narrow(&self.positions),
            lengths: self.lengths.clone(),
        })
    }

    /// Number of training rows and of validation rows.
    #[must_use]
    pub fn sizes(&self) -> [u64; 2] {
        [self.train.len() as u64, self.validation.len() as u64]
    }
}
