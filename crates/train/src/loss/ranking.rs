//! Pairwise ranking within an answer: a divergent row should have a lower logit than every row
//! that may be kept (RankNet, Burges et al. 2005).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Loss, LossRows, log_sigmoids};

/// Of a divergent row, w · mean over the rows to keep of its answer of ln(1 + exp(f − f_keep)), with
/// the weight of the row and of its class. Other rows have no loss of their own. Soft targets are
/// rounded.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ranking {}

impl Loss for Ranking {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let mut answers: BTreeMap<u32, [Vec<usize>; 2]> = BTreeMap::new();
        for (row, (&answer, &target)) in rows.answers.iter().zip(&rows.targets).enumerate() {
            answers.entry(answer).or_default()[usize::from(target < 0.5)].push(row);
        }
        let mut found = vec![[0.0; 2]; logits.len()];
        for [keep, divergent] in answers.values().filter(|[keep, _]| !keep.is_empty()) {
            for &low in divergent {
                let [a, b] = rows.coefficients[low].map(f64::from);
                let weight = (a + b) / keep.len() as f64;
                for &high in keep {
                    let (ln_right, ln_wrong) = log_sigmoids(logits[high] - logits[low]);
                    let slope = weight * ln_wrong.exp();
                    found[low][0] -= weight * ln_right;
                    found[low][1] += slope;
                    found[high][1] -= slope;
                }
            }
        }
        found
    }

    fn compares_rows(&self) -> bool {
        true
    }
}
