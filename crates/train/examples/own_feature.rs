//! A feature of one's own: read in training and by a device's scorer.
//!
//! `cargo run -p tokenroute-train --example own_feature`
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use serde::Deserialize;
use tokenroute_core::registry::Kind;
use tokenroute_core::{Feature, LabelRow, Relation, Seen, Silent, register_feature, unit_hash};
use tokenroute_model::RouterScorer;
use tokenroute_train::{Provenance, TrainConfig, device, train};

/// How much the entropy rose over some steps, in nats.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntropyRise {
    steps: usize,
}

impl Feature for EntropyRise {
    fn describe(&self) -> String {
        format!("rise of the entropy over {} steps", self.steps)
    }

    fn width(&self, _: usize) -> usize {
        1
    }

    fn values(&self, now: &Seen<'_>, before: &[Arc<[f32]>], into: &mut Vec<f32>) {
        // At the begin of an answer there are fewer steps, and at its first token none.
        let from = before.first().map_or(now.entropy, |kept| kept[0]);
        into.push(now.entropy - from);
    }

    fn earlier(&self) -> usize {
        self.steps
    }

    fn kept(&self, now: &Seen<'_>) -> Vec<f32> {
        vec![now.entropy]
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        match self.steps {
            0 => Err(("steps", "0".to_owned(), "expected at least 1".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Made-up labels: a position is divergent where the entropy has just risen.
fn labels(split: &str, questions: usize) -> Vec<LabelRow> {
    let row = |question: usize, position: u32| {
        let question = format!("{split}-{question}");
        let entropy = |position: u32| unit_hash(7, &question, position as usize) as f32;
        let rise = entropy(position) - entropy(position.saturating_sub(1));
        let divergent = rise > 0.5;
        LabelRow {
            split: split.to_owned(),
            round: 0,
            position,
            prefix_hash: 0,
            previous: 1,
            slm_token: 2,
            llm_token: if divergent { 3 } else { 2 },
            llm_probability: None,
            top: vec![(2, 0.6), (3, 0.3)],
            entropy: entropy(position),
            sentence_entropy: 0.5,
            hidden: vec![1.0, entropy(position + 99)],
            relation: if divergent { Relation::Divergent } else { Relation::Identical },
            keep_grade: f32::from(!divergent),
            offload_grade: 1.0,
            target: f32::from(!divergent),
            weight: 1.0,
            rollouts: 0,
            question,
        }
    };
    (0..questions).flat_map(|question| (0..10).map(move |i| row(question, i))).collect()
}

/// Trains a router that reads the feature, and scores an answer.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before any file is read that names it.
    let parse = |settings| Ok(Box::new(serde_json::from_value::<EntropyRise>(settings)?) as _);
    register_feature(Kind::own("entropy-rise", parse))?;

    // As `[train]` of an experiment file has it.
    let config: TrainConfig = serde_json::from_str(
        r#"{
            "architecture": { "kind": "linear", "rewards": 1 },
            "features": ["probabilities", { "kind": "entropy-rise", "steps": 1 }],
            "top_k": 2,
            "l2": 0.01
        }"#,
    )?;
    let rows = [labels("router-train", 200), labels("validation", 60)].concat();
    let file = train(&config, &rows, &Provenance::default(), &device("flex")?, &Silent)?;
    println!("AUROC {:.3}", file.header.training.auroc);
    println!("features: {}", file.header.features.places().join("; "));

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("router.safetensors");
    file.write(&path)?;
    let scorer = RouterScorer::open(&path)?;
    let answer = &labels("test", 1);
    for (row, logit) in answer.iter().zip(scorer.logits_along(answer)) {
        let keep = scorer.header().platt.score(logit)?.get();
        println!("entropy {:.2}: P(keep) {keep:.3}", row.entropy);
    }
    assert!(file.header.training.auroc > 0.95);
    Ok(())
}
