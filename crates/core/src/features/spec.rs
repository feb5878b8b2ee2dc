//! Which features a router reads, as its file lists them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entropy::Entropy;
use super::hidden::Hidden;
use super::log_probabilities::LogProbabilities;
use super::margin::Margin;
use super::token::Token;
use super::top_logits::TopLogits;
use super::{Feature, FeatureConfig};

/// Most bytes that features keep of the earlier steps of one answer: the mean of a hidden state of
/// 4096 numbers over 64 steps fits.
const HISTORY: usize = 1 << 20;

/// Bytes of the kept numbers of a step, beside the numbers.
const KEPT: usize = size_of::<Arc<[f32]>>() + 2 * size_of::<usize>();

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
    /// Features that follow these, by their kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<FeatureConfig>,
    /// Width of the SLM's hidden state, where one of `more` reads it. Else 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hidden_width: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl FeatureSpec {
    /// These features and `more`, of an SLM whose hidden state has `hidden` numbers.
    #[must_use]
    pub fn with(mut self, more: &[FeatureConfig], hidden: usize) -> Self {
        let reads_hidden = more.iter().any(|config| config.feature().reads_hidden());
        self.more = more.to_vec();
        self.hidden_width = if reads_hidden { hidden } else { 0 };
        self
    }

    /// The features, in their order.
    #[must_use]
    pub fn features(&self) -> Vec<Arc<dyn Feature>> {
        let mut all: Vec<Arc<dyn Feature>> = Vec::new();
        if self.hidden > 0 {
            all.push(Arc::new(Hidden));
        }
        if self.top_k > 0 {
            all.push(Arc::new(LogProbabilities { count: self.top_k }));
            all.push(Arc::new(Margin));
            all.push(Arc::new(Entropy));
        }
        if self.token {
            all.push(Arc::new(Token));
        }
        if self.top_logits > 0 {
            all.push(Arc::new(TopLogits { count: self.top_logits }));
        }
        all.extend(self.more.iter().map(|config| Arc::clone(config.feature())));
        all
    }

    /// Checks what features of any program or file ask for.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self) -> Result<(), String> {
        let Self { hidden, hidden_width, .. } = *self;
        let reads = |config: &&FeatureConfig| config.feature().reads_hidden();
        if let Some(config) = self.more.iter().find(reads) {
            let what = config.feature().describe();
            if hidden_width == 0 {
                return Err(format!(
                    "features.hidden_width is 0, and a feature reads the hidden state ({what}); expected its width"
                ));
            }
            if hidden != 0 && hidden != hidden_width {
                return Err(format!(
                    "features.hidden_width is {hidden_width} and features.hidden {hidden}; expected one width"
                ));
            }
        }
        let bytes = self.history_bytes();
        if bytes > HISTORY {
            return Err(format!(
                "features keep {bytes} bytes of earlier steps for each answer; expected at most {HISTORY}, so take means over fewer steps"
            ));
        }
        Ok(())
    }

    /// Most bytes that the features keep of the earlier steps of one answer.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        let hidden = self.reads_hidden();
        let bytes = |feature: Arc<dyn Feature>| {
            let numbers = feature.kept_width(hidden).saturating_mul(size_of::<f32>());
            feature.earlier().saturating_mul(numbers.saturating_add(KEPT))
        };
        self.features().into_iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// Width of the SLM's hidden state. 0 if no feature reads it.
    #[must_use]
    pub fn reads_hidden(&self) -> usize {
        self.hidden.max(self.hidden_width)
    }

    /// Number of features ([`FeatureSpec::layout`]).
    #[must_use]
    pub fn width(&self) -> usize {
        // Saturating, because a damaged file may hold any number.
        self.layout().iter().fold(0, |sum: usize, (_, width)| sum.saturating_add(*width))
    }

    /// What the features are, in their order, and how many numbers each is.
    #[must_use]
    pub fn layout(&self) -> Vec<(String, usize)> {
        let hidden = self.reads_hidden();
        self.features().iter().map(|of| (of.describe(), of.width(hidden))).collect()
    }

    /// [`FeatureSpec::layout`] in words, with places, as in "0..8: hidden state after the final norm".
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let mut from = 0;
        let place = |(what, width): (String, usize)| {
            let to = from + width;
            format!("{}..{to}: {what}", std::mem::replace(&mut from, to))
        };
        self.layout().into_iter().map(place).collect()
    }

    /// The features in a few words, as in "hidden state and probabilities".
    #[must_use]
    pub fn summary(&self) -> String {
        let base = match (self.hidden, self.top_k) {
            _ if self.token || self.top_logits > 0 => "hidden state, token and logits",
            (0, 0) => "",
            (0, _) => "the probabilities",
            (_, 0) => "the hidden state",
            _ => "hidden state and probabilities",
        };
        let mut words: Vec<String> = self.more.iter().map(|of| of.feature().describe()).collect();
        if !base.is_empty() {
            words.insert(0, base.to_owned());
        }
        words.join("; ")
    }

    /// How many of its most probable tokens a step must hold.
    #[must_use]
    pub fn top(&self) -> usize {
        self.features().iter().map(|feature| feature.top()).max().unwrap_or_default()
    }
}
