//! Turns label rows into normalised features, targets and weights, split by question.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use tokenroute_core::{FeatureReader, FeatureSpec, LabelRow, Normalisation, Relation, unit_hash};

use crate::along::{Along, bad_row};
use crate::layer::is_recurrent;
use crate::rule::{LabelRule, Target, keeps};
use crate::{FeatureSet, Steps, TrainConfig, TrainError};

/// Least standard deviation to divide a feature by, so that a constant feature does no
/// harm.
const STD_FLOOR: f64 = 1e-4;

/// The position in the hash by which training questions are ordered for `train.share`. Position
/// 0 chooses validation questions.
const SHARE: usize = 1;

/// The rows of a part: training, validation or calibration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Normalised features `[len, width]`, row-major.
    pub features: Vec<f32>,
    /// Preference for keep `[len]`, in [0, 1].
    pub targets: Vec<f32>,
    /// Weights `[len]`, above 0.
    pub weights: Vec<f32>,
    /// What keeping gains over offloading `[len]`, as the label rule has it.
    pub gains: Vec<f32>,
    /// The SLM's and the LLM's probability of the LLM's token `[len]`. The SLM's is 0 where the token
    /// is not among the listed ones; the LLM's is 0 where the table lacks it.
    pub probabilities: Vec<[f32; 2]>,
    /// Number of the answer that a row belongs to `[len]`. Rows of one answer follow each other.
    pub answers: Vec<u32>,
    /// The SLM's greatest probability and its entropy in nats `[len]`, as they were.
    pub uncertainty: Vec<[f32; 2]>,
    /// All steps of the rows' answers, if the head is recurrent.
    pub steps: Option<Steps>,
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

    fn new(recurrent: bool) -> Self {
        Rows { steps: recurrent.then(Steps::default), ..Rows::default() }
    }

    /// Takes in a row. One that does not count is a step alone.
    fn push(
        &mut self,
        features: &[f32],
        row: &LabelRow,
        (counts, target): (bool, Target),
        answer: u32,
    ) {
        if let Some(steps) = &mut self.steps {
            steps.push(features, answer, counts);
        }
        if !counts {
            return;
        }
        self.answers.push(answer);
        self.features.extend_from_slice(features);
        self.targets.push(target.keep);
        self.weights.push(target.weight);
        self.gains.push(target.gain);
        let of_slm = row.top.iter().find(|top| top.0 == row.llm_token).map_or(0.0, |top| top.1);
        self.probabilities.push([of_slm, row.llm_probability.unwrap_or(0.0)]);
        self.uncertainty.push([row.top.first().map_or(f32::NAN, |t| t.1), row.entropy]);
    }

    /// Checks that both classes occur.
    fn check(&self, part: &'static str) -> Result<(), TrainError> {
        let divergent = self.targets.iter().filter(|&&y| !keeps(y)).count();
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

/// Where the rows of a question go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Validation,
    Calibration,
}

/// The part of a row's question. `hashed` says that training questions validate, `calibrated`
/// that the table has a calibration split.
fn part(config: &TrainConfig, row: &LabelRow, hashed: bool, calibrated: bool) -> Option<Part> {
    if calibrated && row.split == config.calibration_split {
        return Some(Part::Calibration);
    }
    if row.split == config.train_split {
        // Chosen by the question's hash, the same for every seed.
        let validates = hashed && unit_hash(0, &row.question, 0) < config.validation_share;
        return Some(if validates { Part::Validation } else { Part::Train });
    }
    (!hashed && row.split == config.validation_split).then_some(Part::Validation)
}

/// The training questions of `train.share`; `None` if it takes all.
fn taken<'r>(
    config: &TrainConfig,
    rows: &'r [LabelRow],
    hashed: bool,
    calibrated: bool,
) -> Option<BTreeSet<&'r str>> {
    if config.share >= 1.0 {
        return None;
    }
    let trained = |row: &&LabelRow| part(config, row, hashed, calibrated) == Some(Part::Train);
    let all: BTreeSet<&str> = rows.iter().filter(trained).map(|r| r.question.as_str()).collect();
    let mut order: Vec<(f64, &str)> =
        all.into_iter().map(|question| (unit_hash(0, question, SHARE), question)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    // A product such as 0.1 · 400 may lie above the whole number that it stands for.
    let count = (config.share * order.len() as f64 - 1e-9).ceil() as usize;
    Some(order.into_iter().take(count.max(1)).map(|(_, question)| question).collect())
}

/// The factor on the weight of a row. A neutral row has one of its own where the label rule keeps
/// it. A rule that offloads it sees no harmless difference in it.
fn factor(config: &TrainConfig, relation: Relation, target: Target) -> f32 {
    match relation {
        Relation::Neutral | Relation::BothWrong if target.keeps() => config.neutral_weight as f32,
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

fn check_row(spec: &FeatureSpec, row: &LabelRow, target: Target) -> Result<(), TrainError> {
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
    let found = row.top.len();
    if found < spec.top_k {
        let what = format!(
            "it has {found} top probabilities; expected at least train.top_k = {}; lower it or label again",
            spec.top_k
        );
        return Err(bad_row(row, what));
    }
    if found < spec.top() {
        let what = format!(
            "it has {found} top probabilities; expected at least {}, which train.features reads; label again",
            spec.top()
        );
        return Err(bad_row(row, what));
    }
    let Target { keep, weight, gain } = target;
    if !(0.0..=1.0).contains(&keep) {
        return Err(bad_row(row, format!("the target is {keep}; expected 0 to 1")));
    }
    if !(weight.is_finite() && weight >= 0.0) {
        return Err(bad_row(row, format!("the weight is {weight}; expected 0 or more")));
    }
    if !gain.is_finite() {
        return Err(bad_row(row, format!("the gain is {gain}; expected a finite number")));
    }
    Ok(())
}

/// Weighted mean and 1 / standard deviation of each feature.
fn normalisation(rows: &Rows, width: usize) -> Normalisation {
    let total: f64 = rows.weights.iter().map(|&w| f64::from(w)).sum();
    let weighed =
        || rows.features.chunks_exact(width).zip(rows.weights.iter().map(|&w| f64::from(w)));
    let mut mean = vec![0f64; width];
    for (row, weight) in weighed() {
        for (m, &x) in mean.iter_mut().zip(row) {
            *m += weight * f64::from(x) / total;
        }
    }
    let mut variance = vec![0f64; width];
    for (row, weight) in weighed() {
        for ((v, &x), m) in variance.iter_mut().zip(row).zip(&mean) {
            *v += weight * (f64::from(x) - m).powi(2) / total;
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
