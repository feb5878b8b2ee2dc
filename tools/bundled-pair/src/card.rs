//! The model card: the training run and its results. The Markdown is generated from the JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The content of a card. Written by `bundled-pair train`, checked by `bundled-pair verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name of the model's folder.
    pub name: String,
    /// Number of weights. The tied LM head counts once.
    pub parameters: u64,
    /// Seed of weights, data and order.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens processed in training, prompts included.
    pub tokens_seen: u64,
    /// Wall-clock seconds of training.
    pub seconds: f64,
    /// Processor, threads and Burn backend.
    pub hardware: String,
    /// (step, mean loss per answer token in nats) during training.
    pub loss: Vec<(u64, f64)>,
    /// Relative fall of the mean loss from the second last tenth to the last tenth of the steps.
    pub last_tenth_fall: f64,
    /// Greedy accuracy per split.
    pub accuracy: Vec<Accuracy>,
    /// SHA-256 of model.safetensors.
    pub weights_sha256: String,
    /// SHA-256 of tokenizer.json.
    pub tokenizer_sha256: String,
}

/// Greedy accuracy on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The split.
    pub split: String,
    /// Number of questions.
    pub questions: u64,
    /// Number of right answers.
    pub correct: u64,
}

impl Accuracy {
    /// Share of right answers.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.correct as f64 / self.questions.max(1) as f64
    }
}

impl Card {
    /// The card as Markdown with Hugging Face's front matter.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "---\nlicense: mit\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n\
             # {}\n\n\
             Made by `bundled-pair train experiments/word-problems-pair/experiment.toml`; \
             `bundled-pair verify` grades it again. Do not edit: generated from `card.json`.\n\n\
             A Qwen2-style decoder trained from scratch on generated word problems, one half of \
             the pair that tokenroute is shown and tested with. It knows nothing else.\n\n\
             | | |\n| --- | --- |\n",
            self.name
        );
        let mut row = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {name} | {value} |");
        };
        row("parameters", self.parameters.to_string());
        row("seed", self.seed.to_string());
        row("steps", self.steps.to_string());
        row("tokens seen", self.tokens_seen.to_string());
        row("training time", format!("{:.0} s", self.seconds));
        row("hardware", self.hardware.clone());
        row("loss fell over the last tenth by", format!("{:.2}%", 100.0 * self.last_tenth_fall));
        for part in &self.accuracy {
            row(
                &format!("greedy accuracy, {}", part.split),
                format!("{:.1}% ({} of {})", 100.0 * part.share(), part.correct, part.questions),
            );
        }
        row("weights, SHA-256", format!("`{}`", self.weights_sha256));
        row("tokenizer, SHA-256", format!("`{}`", self.tokenizer_sha256));
        text.push_str("\n## Loss\n\n| step | nats per answer token |\n| --- | --- |\n");
        for (step, loss) in &self.loss {
            let _ = writeln!(text, "| {step} | {loss:.4} |");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_states_what_it_holds() {
        let card = Card {
            name: "toy".into(),
            parameters: 10,
            seed: 1,
            steps: 2,
            tokens_seen: 30,
            seconds: 4.0,
            hardware: "one core".into(),
            loss: vec![(1, 2.5), (2, 1.25)],
            last_tenth_fall: 0.0041,
            accuracy: vec![Accuracy { split: "test".into(), questions: 8, correct: 3 }],
            weights_sha256: "ab".into(),
            tokenizer_sha256: "cd".into(),
        };
        let text = card.markdown();
        for part in ["| greedy accuracy, test | 37.5% (3 of 8) |", "| 2 | 1.2500 |", "0.41%"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
