//! Features: the numbers that a router reads of a step. [`Features::of`] is their one
//! definition: labelling, training, sweeping and decoding all call it.

use serde::{Deserialize, Serialize};

use crate::Step;

/// Which features a router reads. Stored in the router file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Width of the hidden state. All of it is read, as in CITER (arXiv 2502.01976). 0
    /// leaves it out.
    pub hidden: usize,
    /// Number of top log-probabilities that follow the hidden state. 0 leaves out these,
    /// the margin and the entropy.
    pub top_k: usize,
}

impl FeatureSpec {
    /// Number of features: the hidden state, then with `top_k > 0` the top
    /// log-probabilities, the margin and the entropy.
    #[must_use]
    pub fn width(&self) -> usize {
        // Saturating, because a damaged file may hold any number.
        self.hidden.saturating_add(if self.top_k > 0 { self.top_k.saturating_add(2) } else { 0 })
    }
}

/// The features of one step, `[spec.width()]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(pub Vec<f32>);

impl Features {
    /// The features of a decoding step.
    #[must_use]
    pub fn of(spec: &FeatureSpec, step: &Step) -> Self {
        Self::from_parts(spec, &step.hidden, &step.top, step.entropy)
    }

    /// The features from the columns of a label table: `hidden` `[spec.hidden]`, which is not
    /// read where that is 0, `top` with probabilities, best first, and `entropy` in nats.
    #[must_use]
    pub fn from_parts(
        spec: &FeatureSpec,
        hidden: &[f32],
        top: &[(crate::TokenId, f32)],
        entropy: f32,
    ) -> Self {
        let mut values = Vec::with_capacity(spec.width());
        if spec.hidden > 0 {
            values.extend_from_slice(hidden);
        }
        if spec.top_k > 0 {
            let p = |i: usize| top.get(i).map_or(0.0, |t: &(u32, f32)| t.1);
            for i in 0..spec.top_k {
                // The floor avoids ln 0. 1e-7 is below f32's resolution at 1.
                values.push(p(i).max(1e-7).ln());
            }
            values.push(p(0) - p(1));
            values.push(entropy);
        }
        Features(values)
    }
}
