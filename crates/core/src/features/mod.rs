//! Features: the numbers that a router reads of a step. Each is one type behind [`Feature`], in a
//! file of its own. [`FeatureReader`] is the one place where they are read: labelling, training,
//! sweeping and decoding all call it.

mod config;
mod entropy;
mod hidden;
mod log_probabilities;
mod margin;
mod mean;
mod position;
mod reader;
mod spec;
mod token;
mod top_logits;

use std::fmt::Debug;
use std::sync::Arc;

use crate::registry::Kind;
use crate::{LabelRow, Step, TokenId};
pub use config::{FeatureConfig, register_feature};
pub use reader::{FeatureReader, Features, History};
pub use spec::FeatureSpec;

/// All features that an experiment file and a router file name by `kind`. A new one is a line here.
/// The others are keys of [`FeatureSpec`].
const KINDS: [Kind<dyn Feature>; 2] = [
    Kind::of::<position::Position>("position", |settings| {
        Ok(Box::new(serde_json::from_value::<position::Position>(settings)?))
    }),
    Kind::of::<mean::Mean>("mean", |settings| {
        Ok(Box::new(serde_json::from_value::<mean::Mean>(settings)?))
    }),
];

/// A feature: some numbers of a step, and perhaps of the steps before it in the answer.
pub trait Feature: Debug + Send + Sync {
    /// What it is, in words.
    fn describe(&self) -> String;

    /// How many numbers it is, where the SLM's hidden state has `hidden` numbers.
    fn width(&self, hidden: usize) -> usize;

    /// Appends its numbers. `before` has what it kept of up to [`Feature::earlier`] steps before
    /// this one, the last of them last.
    fn values(&self, now: &Seen<'_>, before: &[Arc<[f32]>], into: &mut Vec<f32>);

    /// Whether it reads the hidden state.
    fn reads_hidden(&self) -> bool {
        false
    }

    /// How many of its most probable tokens a step must hold.
    fn top(&self) -> usize {
        0
    }

    /// How many earlier steps it reads.
    fn earlier(&self) -> usize {
        0
    }

    /// What it keeps of a step for later ones.
    fn kept(&self, _: &Seen<'_>) -> Vec<f32> {
        Vec::new()
    }

    /// Most numbers that it keeps of a step: its width unless set.
    fn kept_width(&self, hidden: usize) -> usize {
        self.width(hidden)
    }

    /// Checks its settings.
    ///
    /// # Errors
    /// The setting, its value, and what was expected.
    fn check(&self) -> Result<(), (&'static str, String, String)> {
        Ok(())
    }
}

/// A position as features see it: a step of decoding, or a row of a label table.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Number of answer tokens before it.
    pub index: usize,
    /// The SLM's token, if it is known.
    pub token: Option<TokenId>,
    /// The hidden state `[hidden]`.
    pub hidden: &'a [f32],
    /// The most probable tokens with their probabilities, best first.
    pub top: &'a [(TokenId, f32)],
    /// The logits of `top`. A label table does not hold them.
    pub top_logits: &'a [f32],
    /// Entropy in nats.
    pub entropy: f32,
}

impl<'a> Seen<'a> {
    /// A step of decoding with `index` answer tokens before it.
    #[must_use]
    pub fn of_step(index: usize, step: &'a Step) -> Self {
        Seen {
            index,
            token: Some(step.token),
            hidden: &step.hidden,
            top: &step.top,
            top_logits: &step.top_logits,
            entropy: step.entropy,
        }
    }

    /// A row of a label table.
    #[must_use]
    pub fn of_row(row: &'a LabelRow) -> Self {
        Seen {
            index: row.position as usize,
            token: Some(row.slm_token),
            hidden: &row.hidden,
            top: &row.top,
            top_logits: &[],
            entropy: row.entropy,
        }
    }

    /// Probability of the i-th most probable token; 0 beyond those that are known.
    fn probability(&self, i: usize) -> f32 {
        self.top.get(i).map_or(0.0, |top| top.1)
    }
}
