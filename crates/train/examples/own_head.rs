//! A head and a loss of one's own: trained, written to a file, and run by a device's scorer.
//!
//! `cargo run -p tokenroute-train --example own_head`
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use tokenroute_core::{Activation, Features, LabelRow, Relation, Silent, unit_hash};
use tokenroute_model::RouterScorer;
use tokenroute_train::{
    FeatureSet, Head, Layer, Loss, LossRows, Provenance, TrainConfig, Trained, device, train_head,
};

/// A residual block between two linear layers.
#[derive(Debug)]
struct ResidualHead {
    width: usize,
}

impl Head for ResidualHead {
    fn name(&self) -> String {
        format!("residual head (width {})", self.width)
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        let linear = |inputs, outputs| Layer::Linear { inputs, outputs };
        let block = vec![
            Layer::BatchNorm { width: self.width },
            linear(self.width, self.width),
            Layer::Activation(Activation::Gelu),
            Layer::Dropout,
        ];
        vec![linear(features, self.width), Layer::Residual(block), linear(self.width, 1)]
    }
}

/// Cross-entropy against 1[Q_offload − Q_keep > cost]: offloading must gain more than it costs.
#[derive(Debug)]
struct CostAware {
    cost: f32,
}

impl Loss for CostAware {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let of = |(&logit, (&gain, &weight)): (&f64, (&f32, &f32))| {
            let keep = if -gain > self.cost { 0.0 } else { 1.0 };
            let p = 1.0 / (1.0 + (-logit).exp());
            let value = logit.max(0.0) - logit * keep + (-logit.abs()).exp().ln_1p();
            [f64::from(weight) * value, f64::from(weight) * (p - keep)]
        };
        logits.iter().zip(rows.gains.iter().zip(&rows.weights)).map(of).collect()
    }
}

/// Made-up labels: a position is divergent where two numbers of its hidden state are high.
fn labels(split: &str, questions: usize) -> Vec<LabelRow> {
    let row = |question: usize, position: u32| {
        let question = format!("{split}-{question}");
        let number = |i: u32| unit_hash(7, &question, (position * 4 + i) as usize) as f32;
        let hidden: Vec<f32> = (0..4).map(number).collect();
        let divergent = hidden[0] > 0.6 && hidden[1] > 0.6;
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
            entropy: 0.5,
            sentence_entropy: 0.5,
            hidden,
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

/// Trains the head and scores two positions.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = TrainConfig {
        features: Some(FeatureSet::Hidden),
        top_k: 0,
        dropout: Some(0.1),
        batch_rows: 64,
        learning_rate: 1e-2,
        ..TrainConfig::default()
    };
    let rows = [labels("router-train", 200), labels("validation", 60)].concat();
    let head: Arc<dyn Head> = Arc::new(ResidualHead { width: 8 });
    let loss = CostAware { cost: 0.5 };
    let (device, provenance) = (device("flex")?, Provenance::default());
    let Trained { file, .. } =
        train_head(&config, &head, &loss, &rows, &provenance, &device, &Silent)?;
    println!("AUROC {:.3}", file.header.training.auroc);

    // The file says which operators a device runs: no code there knows this head.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("router.safetensors");
    file.write(&path)?;
    let scorer = RouterScorer::open(&path)?;
    let keep = |hidden: [f32; 4]| {
        let features = Features::from_parts(&scorer.header().features, &hidden, &[], 0.0);
        scorer.score_features(&features.0)
    };
    let (divergent, same) = (keep([0.9, 0.9, 0.5, 0.5])?, keep([0.1, 0.1, 0.5, 0.5])?);
    println!("P(keep) {:.3} where the tokens differ, {:.3} where not", divergent.get(), same.get());
    assert!(divergent < same);
    Ok(())
}
