//! A logistic head that decides once a question: from the SLM's hidden state before the first
//! token, the probability that the SLM's answer loses nothing (as query-level routers such as
//! Hybrid LLM, arXiv 2404.14618, do from the query).

use serde::{Deserialize, Serialize};
use tokenroute_core::Silent;

use crate::logistic::Objective;
use crate::loss::{LossRows, Preference};
use crate::{Rows, TrainError};

/// L2 penalties of which validation chooses one.
const PENALTIES: [f64; 7] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Least standard deviation to divide a feature by.
const STD_FLOOR: f64 = 1e-4;

/// A question as the head sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryExample {
    /// The SLM's hidden state `[hidden]` after the prompt.
    pub hidden: Vec<f32>,
    /// Whether the SLM's answer is graded no lower than the LLM's.
    pub keep: bool,
}

/// The head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryHead {
    /// Weights `[hidden]` of the features as they are.
    weights: Vec<f64>,
    bias: f64,
    /// The L2 penalty that validation chose.
    pub l2: f64,
}

impl QueryHead {
    /// Fits the head on some questions. Others choose the penalty, by cross-entropy.
    ///
    /// # Errors
    /// Questions that are all of one class, in either set.
    pub fn fit(train: &[QueryExample], validation: &[QueryExample]) -> Result<Self, TrainError> {
        for (part, examples) in [("training", train), ("validation", validation)] {
            let keep = examples.iter().filter(|e| e.keep).count();
            if keep == 0 || keep == examples.len() {
                let kept = if keep == 0 { "offloaded" } else { "kept" };
                return Err(TrainError::OneClass { part, rows: examples.len(), kept });
            }
        }
        let width = train[0].hidden.len();
        let scale = Scale::of(train, width);
        let rows = Rows {
            features: train.iter().flat_map(|e| scale.apply(&e.hidden)).collect(),
            targets: train.iter().map(|e| f32::from(u8::from(e.keep))).collect(),
            weights: vec![1.0; train.len()],
            ..Rows::default()
        };
        let coefficients: Vec<[f32; 2]> = rows.targets.iter().map(|&y| [y, 1.0 - y]).collect();
        let labels = LossRows { coefficients, ..LossRows::default() };
        let mut best: Option<(f64, QueryHead)> = None;
        for l2 in PENALTIES {
            let objective = Objective {
                rows: &rows,
                width,
                labels: &labels,
                loss: &Preference {},
                l2: vec![l2; width],
            };
            let fit = objective.minimise(vec![0.0; width + 1], &Silent)?;
            let head = scale.unscaled(&fit.parameters, l2);
            let loss: f64 = validation.iter().map(|e| head.loss(e)).sum();
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, head));
            }
        }
        let (_, head) = best.ok_or_else(|| TrainError::Backend("no head was fitted".to_owned()))?;
        Ok(head)
    }

    /// The probability that the SLM's answer loses nothing.
    #[must_use]
    pub fn keep(&self, hidden: &[f32]) -> f64 {
        1.0 / (1.0 + (-self.logit(hidden)).exp())
    }

    fn logit(&self, hidden: &[f32]) -> f64 {
        let products = self.weights.iter().zip(hidden).map(|(w, &x)| w * f64::from(x));
        self.bias + products.sum::<f64>()
    }

    /// Cross-entropy of an example, in nats.
    fn loss(&self, example: &QueryExample) -> f64 {
        let logit = self.logit(&example.hidden);
        let against = if example.keep { -logit } else { logit };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    }
}

/// Mean and standard deviation of each feature.
struct Scale(Vec<[f64; 2]>);

impl Scale {
    fn of(examples: &[QueryExample], width: usize) -> Self {
        let n = examples.len() as f64;
        let scale = |i: usize| {
            let values = || examples.iter().map(move |e| f64::from(e.hidden[i]));
            let mean = values().sum::<f64>() / n;
            let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            [mean, variance.sqrt().max(STD_FLOOR)]
        };
        Scale((0..width).map(scale).collect())
    }

    fn apply<'a>(&'a self, hidden: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let scaled = |(&x, [mean, std]): (&f32, &[f64; 2])| ((f64::from(x) - mean) / std) as f32;
        hidden.iter().zip(&self.0).map(scaled)
    }

    /// The head on features as they are, from one on scaled features.
    fn unscaled(&self, parameters: &[f64], l2: f64) -> QueryHead {
        let scaled = parameters.iter().zip(&self.0);
        let weights: Vec<f64> = scaled.map(|(w, [_, std])| w / std).collect();
        let shift: f64 = weights.iter().zip(&self.0).map(|(w, [mean, _])| w * mean).sum();
        QueryHead { weights, bias: parameters[self.0.len()] - shift, l2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(from: u16) -> Vec<QueryExample> {
        let one = |i: u16| {
            let wave = |rate: f32| (f32::from(i) * rate).sin();
            let (a, b) = (wave(0.7), wave(1.3));
            QueryExample { hidden: vec![100.0 + a, b, wave(2.9)], keep: a + 0.4 * wave(5.1) > -0.2 }
        };
        (from..from + 300).map(one).collect()
    }

    #[test]
    fn the_head_finds_the_questions_that_the_slm_loses() {
        let head = QueryHead::fit(&examples(0), &examples(300)).expect("both classes");
        let test = examples(600);
        let right = test.iter().filter(|e| (head.keep(&e.hidden) > 0.5) == e.keep).count();
        assert!(right > 255, "{right} of 300");
        let json = serde_json::to_string(&head).expect("numbers");
        let back: QueryHead = serde_json::from_str(&json).expect("as written");
        assert_eq!(back, head);
    }

    #[test]
    fn questions_of_one_class_are_refused() {
        let mut same = examples(0);
        same.iter_mut().for_each(|e| e.keep = true);
        let error = QueryHead::fit(&same, &examples(0)).expect_err("one class");
        assert!(error.to_string().contains("300"), "{error}");
    }
}
