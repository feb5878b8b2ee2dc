//! Features: the numbers a router sees of a step. Labelling, training, sweeping
//! and decoding all call [`Features::of`].

use serde::{Deserialize, Serialize};

use crate::Step;

/// Which features a router reads, stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Width of the hidden state, all of which is read (CITER's input).
    pub hidden: usize,
    /// Number of log-probabilities of the most probable tokens that follow it;
    /// 0 leaves them, the margin and the entropy out.
    pub top_k: usize,
}

impl FeatureSpec {
    /// Number of features: the hidden state, then with `top_k > 0` the top
    /// log-probabilities, the margin and the entropy.
    #[must_use]
    pub fn width(&self) -> usize {
        // Saturating: a file may say anything, and no vector is that long.
        self.hidden.saturating_add(if self.top_k > 0 { self.top_k.saturating_add(2) } else { 0 })
    }
}

/// The features of one step, `[spec.width()]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(pub Vec<f32>);

impl Features {
    /// Reads the features off a step.
    #[must_use]
    pub fn of(spec: &FeatureSpec, step: &Step) -> Self {
        Self::from_parts(spec, &step.hidden, &step.top, step.entropy)
    }

    /// The same from the columns of a label table.
    #[must_use]
    pub fn from_parts(
        spec: &FeatureSpec,
        hidden: &[f32],
        top: &[(crate::TokenId, f32)],
        entropy: f32,
    ) -> Self {
        let mut values = Vec::with_capacity(spec.width());
        values.extend_from_slice(hidden);
        if spec.top_k > 0 {
            let p = |i: usize| top.get(i).map_or(0.0, |t: &(u32, f32)| t.1);
            for i in 0..spec.top_k {
                // A probability of 0 would give −∞; 1e-7 is below f32's resolution at 1.
                values.push(p(i).max(1e-7).ln());
            }
            values.push(p(0) - p(1));
            values.push(entropy);
        }
        Features(values)
    }
}
