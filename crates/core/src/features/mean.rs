//! The mean of another feature over the last steps of an answer.

use std::sync::Arc;

use serde::Deserialize;

use super::entropy::Entropy;
use super::hidden::Hidden;
use super::margin::Margin;
use super::{Feature, Seen};

/// The mean of another feature over the last steps, this one included. At the beginning of an
/// answer it is over the steps that there are.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Mean {
    /// The other feature.
    of: MeanOf,
    /// Number of steps, from 2 to 256.
    steps: usize,
}

/// A feature that has a mean.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum MeanOf {
    /// The entropy in nats.
    Entropy,
    /// The greatest probability less the second.
    Margin,
    /// The hidden state.
    Hidden,
}

impl MeanOf {
    fn feature(self) -> &'static dyn Feature {
        match self {
            MeanOf::Entropy => &Entropy,
            MeanOf::Margin => &Margin,
            MeanOf::Hidden => &Hidden,
        }
    }
}

impl Feature for Mean {
    fn describe(&self) -> String {
        format!("mean over the last {} steps: {}", self.steps, self.of.feature().describe())
    }

    fn width(&self, hidden: usize) -> usize {
        self.of.feature().width(hidden)
    }

    fn values(&self, now: &Seen<'_>, before: &[Arc<[f32]>], into: &mut Vec<f32>) {
        let own = self.kept(now);
        let count = (before.len() + 1) as f64;
        for (i, &own) in own.iter().enumerate() {
            let earlier: f64 =
                before.iter().filter_map(|kept| kept.get(i)).copied().map(f64::from).sum();
            into.push(((earlier + f64::from(own)) / count) as f32);
        }
    }

    fn reads_hidden(&self) -> bool {
        self.of.feature().reads_hidden()
    }

    fn top(&self) -> usize {
        match self.of {
            MeanOf::Margin => 2,
            MeanOf::Entropy | MeanOf::Hidden => 0,
        }
    }

    fn earlier(&self) -> usize {
        self.steps.saturating_sub(1)
    }

    fn kept(&self, now: &Seen<'_>) -> Vec<f32> {
        let mut own = Vec::new();
        self.of.feature().values(now, &[], &mut own);
        own
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        if (2..=256).contains(&self.steps) {
            return Ok(());
        }
        Err(("steps", self.steps.to_string(), "expected 2 to 256".to_owned()))
    }
}
