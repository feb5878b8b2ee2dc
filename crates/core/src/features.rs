//! Features: the numbers that a router reads of a step. [`Features::of`] is their one
//! definition: labelling, training, sweeping and decoding all call it.

use serde::{Deserialize, Serialize};

use crate::Step;

/// Which features a router reads. Stored in the router file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Width of the hidden state. All of it is read, as in CITER (arXiv 2502.01976). 0
    /// leaves it out.
    pub hidden: usize,
    /// Number of top log-probabilities that follow the hidden state. 0 leaves out these,
    /// the margin and the entropy.
    pub top_k: usize,
    /// Whether the id of the SLM's token follows, as a number. A head looks up its embedding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub token: bool,
    /// Number of the greatest logits that follow, as in R2R (arXiv 2505.21600). Label tables do
    /// not hold them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub top_logits: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl FeatureSpec {
    /// Number of features ([`FeatureSpec::layout`]).
    #[must_use]
    pub fn width(&self) -> usize {
        // Saturating, because a damaged file may hold any number.
        self.parts().iter().fold(0, |sum: usize, (_, width)| sum.saturating_add(*width))
    }

    /// What the features are, in their order, and how many numbers each is.
    #[must_use]
    pub fn layout(&self) -> Vec<(&'static str, usize)> {
        self.parts().into_iter().filter(|(_, width)| *width > 0).collect()
    }

    /// [`FeatureSpec::layout`] in words, with places, as in "0..8: hidden state after the final norm".
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let mut from = 0;
        let place = |(what, width): (&str, usize)| {
            let to = from + width;
            format!("{}..{to}: {what}", std::mem::replace(&mut from, to))
        };
        self.layout().into_iter().map(place).collect()
    }

    /// [`FeatureSpec::layout`], with the parts that are left out.
    fn parts(&self) -> [(&'static str, usize); 6] {
        let single = |there| usize::from(there);
        [
            ("hidden state after the final norm", self.hidden),
            ("ln max(p, 1e-7) of the most probable tokens, greatest first", self.top_k),
            ("margin: the greatest probability less the second", single(self.top_k > 0)),
            ("entropy in nats", single(self.top_k > 0)),
            ("id of the SLM's token", single(self.token)),
            ("greatest logits, greatest first", self.top_logits),
        ]
    }

    /// How many of its most probable tokens a step must hold.
    #[must_use]
    pub fn top(&self) -> usize {
        self.top_k.max(self.top_logits)
    }
}

/// The features of one step, `[spec.width()]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(pub Vec<f32>);

impl Features {
    /// The features of a decoding step. A logit that the step does not hold is NaN.
    #[must_use]
    pub fn of(spec: &FeatureSpec, step: &Step) -> Self {
        let mut features = Self::from_parts(spec, &step.hidden, &step.top, step.entropy);
        // Ids up to 2^24 are exact in f32.
        features.0.extend(spec.token.then_some(step.token as f32));
        let logit = |i: usize| step.top_logits.get(i).copied().unwrap_or(f32::NAN);
        features.0.extend((0..spec.top_logits).map(logit));
        features
    }

    /// The features from the columns of a label table: `hidden` `[spec.hidden]`, which is not
    /// read where that is 0, `top` with probabilities, best first, and `entropy` in nats. Token
    /// and logits are left out.
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
