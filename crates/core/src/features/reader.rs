//! Reads the features of a spec, step by step.

use std::sync::Arc;

use super::{Feature, FeatureSpec, Seen};
use crate::{Step, TokenId};

/// The features of one step, `[spec.width()]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(pub Vec<f32>);

/// What features keep of the earlier steps of an answer. The default is the answer's begin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History(Vec<Vec<Arc<[f32]>>>);

/// Reads the features of a spec.
#[derive(Debug)]
pub struct FeatureReader {
    features: Vec<Arc<dyn Feature>>,
    width: usize,
    remembers: bool,
}

impl FeatureReader {
    /// A reader of these features.
    #[must_use]
    pub fn new(spec: &FeatureSpec) -> Self {
        let features = spec.features();
        let remembers = features.iter().any(|feature| feature.earlier() > 0);
        FeatureReader { features, width: spec.width(), remembers }
    }

    /// Whether a feature reads earlier steps. If none does, the history stays empty.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// The features of a step, given the history before it.
    #[must_use]
    pub fn read(&self, now: &Seen<'_>, history: &History) -> Features {
        let mut values = Vec::with_capacity(self.width);
        for (i, feature) in self.features.iter().enumerate() {
            let before = history.0.get(i).map_or(&[][..], Vec::as_slice);
            feature.values(now, before, &mut values);
        }
        Features(values)
    }

    /// The history after a step.
    #[must_use]
    pub fn after(&self, now: &Seen<'_>, history: &History) -> History {
        if !self.remembers {
            return History::default();
        }
        let next = |(i, feature): (usize, &Arc<dyn Feature>)| {
            let most = feature.earlier();
            if most == 0 {
                return Vec::new();
            }
            let before = history.0.get(i).map_or(&[][..], Vec::as_slice);
            let oldest = (before.len() + 1).saturating_sub(most);
            let mut kept = before[oldest..].to_vec();
            kept.push(feature.kept(now).into());
            kept
        };
        History(self.features.iter().enumerate().map(next).collect())
    }
}

impl Features {
    /// The features of a decoding step that begins an answer. A logit that the step does not hold
    /// is NaN.
    #[must_use]
    pub fn of(spec: &FeatureSpec, step: &Step) -> Self {
        FeatureReader::new(spec).read(&Seen::of_step(0, step), &History::default())
    }

    /// The same of a hidden state `[hidden]`, the most probable tokens, best first, and the entropy
    /// in nats. Token and logits are NaN.
    #[must_use]
    pub fn from_parts(
        spec: &FeatureSpec,
        hidden: &[f32],
        top: &[(TokenId, f32)],
        entropy: f32,
    ) -> Self {
        let now = Seen { index: 0, token: None, hidden, top, top_logits: &[], entropy };
        FeatureReader::new(spec).read(&now, &History::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(index: usize, hidden: &[f32], entropy: f32) -> Seen<'_> {
        const TOP: &[(TokenId, f32)] = &[(3, 0.5), (1, 0.25)];
        Seen { index, token: Some(3), hidden, top: TOP, top_logits: &[2.0], entropy }
    }

    #[test]
    fn features_follow_each_other_in_the_order_of_the_spec() {
        let json = r#"{"hidden": 2, "top_k": 2, "token": true, "top_logits": 1,
            "more": [{"kind": "position"}]}"#;
        let spec: FeatureSpec = serde_json::from_str(json).expect("a spec");
        let found =
            FeatureReader::new(&spec).read(&seen(7, &[0.5, -1.0], 0.9), &History::default());
        let ln = [0.5f32.ln(), 0.25f32.ln()];
        assert_eq!(found.0, [0.5, -1.0, ln[0], ln[1], 0.25, 0.9, 3.0, 2.0, 7.0]);
        assert_eq!((spec.width(), spec.top()), (9, 2));
        assert_eq!(
            serde_json::to_value(&spec).expect("JSON"),
            serde_json::from_str::<serde_json::Value>(json).expect("JSON")
        );
    }

    #[test]
    fn a_mean_is_over_the_steps_that_there_are() {
        let json = r#"{"hidden": 0, "top_k": 0, "hidden_width": 1, "more": [
            {"kind": "mean", "of": "entropy", "steps": 3},
            {"kind": "mean", "of": "hidden", "steps": 2}]}"#;
        let reader = FeatureReader::new(&serde_json::from_str(json).expect("a spec"));
        let mut history = History::default();
        let expected = [[3.0, 1.0], [4.5, 1.5], [5.0, 2.5], [6.0, 3.5]];
        for (i, (entropy, expected)) in [3.0, 6.0, 6.0, 6.0].into_iter().zip(expected).enumerate() {
            let hidden = [1.0 + i as f32];
            let now = seen(i, &hidden, entropy);
            assert_eq!(reader.read(&now, &history).0, expected, "step {i}");
            history = reader.after(&now, &history);
        }
    }

    #[test]
    fn a_bad_feature_is_one_clear_line() {
        for (json, cause) in [
            (r#"{"kind": "place"}"#, "feature `place`: expected one of `position`, `mean`"),
            (
                r#"{"kind": "mean", "of": "entropy", "steps": 1}"#,
                "feature `mean`: steps = 1: expected 2 to 256",
            ),
            (r#"{"kind": "mean", "of": "logits", "steps": 2}"#, "unknown variant `logits`"),
            (r#"{"kind": "position", "steps": 2}"#, "unknown field `steps`"),
        ] {
            let json = format!(r#"{{"hidden": 0, "top_k": 0, "more": [{json}]}}"#);
            let error = serde_json::from_str::<FeatureSpec>(&json).expect_err(cause).to_string();
            assert!(error.contains(cause) && !error.contains('\n'), "{error}");
        }
    }
}
