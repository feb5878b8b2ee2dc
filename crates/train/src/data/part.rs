//! Which rows train, validate and calibrate, and how much they weigh.

use std::collections::BTreeSet;

use tokenroute_core::{LabelRow, Relation, unit_hash};

use crate::TrainConfig;
use crate::rule::Target;

/// The position in the hash by which training questions are ordered for `train.share`. Position
/// 0 chooses validation questions.
const SHARE: usize = 1;

/// Where the rows of a question go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Validation,
    Calibration,
}

/// The part of a row's question. `hashed` says that training questions validate, `calibrated`
/// that the table has a calibration split.
pub(super) fn part(
    config: &TrainConfig,
    row: &LabelRow,
    hashed: bool,
    calibrated: bool,
) -> Option<Part> {
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
pub(super) fn taken<'r>(
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
pub(super) fn factor(config: &TrainConfig, relation: Relation, target: Target) -> f32 {
    match relation {
        Relation::Neutral | Relation::BothWrong if target.keeps() => config.neutral_weight as f32,
        _ => 1.0,
    }
}

/// The splits of a table, for errors.
pub(super) fn splits(rows: &[LabelRow]) -> String {
    let names: BTreeSet<&str> = rows.iter().map(|r| r.split.as_str()).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(", ")
}
