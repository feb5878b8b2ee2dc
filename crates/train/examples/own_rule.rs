//! A label rule of one's own: the same table, trained with it and with the rule that is there.
//!
//! `cargo run -p tokenroute-train --example own_rule`
#![allow(clippy::print_stdout)]

use tokenroute_core::{LabelRow, Relation, Silent, soft_target, unit_hash};
use tokenroute_train::{
    FeatureSet, LabelRule, Provenance, SoftPreference, Target, TrainConfig, Trained, device, gain,
    train_rule,
};

/// The preference, without the differences where both answers are wrong: they say nothing about
/// the two tokens.
#[derive(Debug)]
struct DecidedAlone;

impl LabelRule for DecidedAlone {
    fn target(&self, row: &LabelRow) -> Target {
        let weight = if row.relation == Relation::BothWrong { 0.0 } else { row.weight };
        Target { keep: row.target, weight, gain: gain(row) }
    }
}

/// Made-up labels: a difference loses the answer where a number of the hidden state is high.
/// Every fifth question is too hard for both models.
fn labels(split: &str, questions: usize) -> Vec<LabelRow> {
    let row = |number: usize, position: u32| {
        let question = format!("{split}-{number}");
        let at = |i: u32| unit_hash(7, &question, (position * 3 + i) as usize) as f32;
        let (hidden, differs) = (vec![at(0), at(1)], at(2) > 0.5);
        let right = !number.is_multiple_of(5);
        let [keep_grade, offload_grade] = match right {
            true => [f32::from(!differs || hidden[0] < 0.6), 1.0],
            false => [0.0, 0.0],
        };
        LabelRow {
            split: split.to_owned(),
            round: 0,
            position,
            prefix_hash: 0,
            previous: 1,
            slm_token: 2,
            llm_token: if differs { 3 } else { 2 },
            llm_probability: None,
            top: vec![(2, 0.6), (3, 0.3)],
            entropy: 0.5,
            sentence_entropy: 0.5,
            hidden,
            relation: match differs {
                true => Relation::from_grades(keep_grade, offload_grade),
                false => Relation::Identical,
            },
            keep_grade,
            offload_grade,
            target: soft_target(keep_grade, offload_grade),
            weight: 1.0,
            rollouts: u32::from(differs),
            question,
        }
    };
    (0..questions).flat_map(|number| (0..10).map(move |i| row(number, i))).collect()
}

/// Trains a router by each rule.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = TrainConfig {
        features: Some(FeatureSet::Hidden),
        top_k: 0,
        l2: Some(0.1),
        dropout: Some(0.1),
        ..TrainConfig::default()
    };
    let rows = [labels("router-train", 200), labels("validation", 60)].concat();
    let (device, provenance) = (device("flex")?, Provenance::default());
    let mut counts = Vec::new();
    for rule in [&DecidedAlone as &dyn LabelRule, &SoftPreference {}] {
        let Trained { file, .. } = train_rule(&config, rule, &rows, &provenance, &device, &Silent)?;
        let record = file.header.training;
        println!("{rule:?}: {} rows, AUROC {:.3}", record.rows[0], record.auroc);
        counts.push(record.rows[0]);
    }
    assert!(counts[0] < counts[1]);
    Ok(())
}
