//! The `[train]` section of an experiment file: how a router is trained.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::loss::{Focal, Preference};
use crate::rule::SoftPreference;
use crate::{
    FeatureSet, Head, HeadConfig, LabelRule, Loss, LossConfig, RuleConfig, Seeds, TrainError,
};

/// How a router is trained. Every field has a default. `architecture`, `features`, `l2` and
/// `dropout` are chosen by validation unless they are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The head. Without it validation chooses logistic regression or a small MLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<HeadConfig>,
    /// The loss. Without it cross-entropy on the preferences, or the focal loss with
    /// `focal_gamma`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossConfig>,
    /// How a label becomes a target. Without it the soft preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleConfig>,
    /// What the router reads: `"probabilities"`, `"hidden"`, `"both"`, or a list of the first two and of
    /// further features. Without it validation chooses one of the three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<FeatureSet>,
    /// Factor λ of the penalty ½ λ w² on each weight of a linear head, whose features are
    /// standardised and whose loss is a mean. Weights of the probabilities have a hundredth of
    /// it. Without it validation chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// Share of activations dropped during training, of heads with dropout. Without it validation chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Number of log-probabilities that a router may read. 0 leaves the hidden state alone.
    pub top_k: usize,
    /// Split to train on.
    pub train_split: String,
    /// Share of the questions of `train_split` to train on, above 0 and up to 1. They are chosen
    /// by their hashes. A smaller share is a part of a greater one.
    #[serde(skip_serializing_if = "is_whole")]
    pub share: f64,
    /// Split that decides when to stop and which settings are best. If the table lacks it, a
    /// part of the training questions is used: `validation_share`.
    pub validation_split: String,
    /// Split that calibrates the score and measures the router. If the table lacks it, the
    /// validation rows are used.
    pub calibration_split: String,
    /// Share of the training questions used for validation if the table lacks
    /// `validation_split`.
    pub validation_share: f64,
    /// Most epochs of an MLP: passes over the training rows. A linear head is trained until
    /// it converges.
    pub epochs: u32,
    /// Rows per mini-batch.
    pub batch_rows: usize,
    /// Highest learning rate. It is reached after the first twentieth of all steps and then
    /// falls along a cosine to a hundredth.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay, of an MLP.
    pub weight_decay: f64,
    /// Decay per step of the running average of the weights. The average is validated and
    /// kept. 0 turns averaging off.
    pub average: f64,
    /// Weight of divergent rows relative to the others.
    pub class_weight: ClassWeight,
    /// Factor on the weight of neutral rows, whose tokens differ without loss, where the label rule
    /// keeps them. `difference` keeps none of them.
    pub neutral_weight: f64,
    /// Exponent γ of the focal loss (Lin et al. 2017). 0 is cross-entropy.
    pub focal_gamma: f64,
    /// Number of epochs without a better validation loss after which training stops.
    pub patience: u32,
    /// One router for each seed: a count of seeds from the experiment's on, or a list. The
    /// first is the router of all later stages. The sweep takes the others beside it.
    pub seeds: Seeds,
    /// Seed of the initial weights, the order of rows and dropout. An experiment sets it to
    /// its own seed.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            architecture: None,
            loss: None,
            rule: None,
            features: None,
            l2: None,
            dropout: None,
            top_k: 8,
            train_split: "router-train".to_owned(),
            share: 1.0,
            validation_split: "validation".to_owned(),
            calibration_split: "calibration".to_owned(),
            validation_share: 0.15,
            epochs: 20,
            batch_rows: 1024,
            learning_rate: 2e-3,
            weight_decay: 0.05,
            average: 0.995,
            class_weight: ClassWeight::Rule(ClassRule::Balanced),
            neutral_weight: 1.0,
            focal_gamma: 0.0,
            patience: 5,
            seeds: Seeds::default(),
            seed: 0,
        }
    }
}

/// Whether a share is all. It is then left out, as files of earlier versions have it.
fn is_whole(share: &f64) -> bool {
    *share >= 1.0
}

/// Weight of divergent rows: `"balanced"`, `"none"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected \"balanced\", \"none\" or a number above 0")]
pub enum ClassWeight {
    /// Set by a rule.
    Rule(ClassRule),
    /// A fixed factor.
    Factor(f64),
}

/// Rules for the weight of divergent rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ClassRule {
    /// Both classes have the same total weight.
    Balanced,
    /// Every row has the same weight.
    None,
}

impl ClassWeight {
    /// The factor on divergent rows, given the total weight of both classes.
    #[must_use]
    pub fn factor(self, keep: f64, offload: f64) -> f64 {
        match self {
            ClassWeight::Rule(ClassRule::Balanced) => keep / offload.max(f64::MIN_POSITIVE),
            ClassWeight::Rule(ClassRule::None) => 1.0,
            ClassWeight::Factor(factor) => factor,
        }
    }
}

impl TrainConfig {
    /// The head that the configuration sets.
    ///
    /// # Errors
    /// A kind that is not known, or settings that cannot work.
    pub fn head(&self) -> Result<Option<Box<dyn Head>>, TrainError> {
        self.architecture.as_ref().map(HeadConfig::head).transpose()
    }

    /// The loss.
    ///
    /// # Errors
    /// As [`TrainConfig::head`].
    pub fn loss(&self) -> Result<Box<dyn Loss>, TrainError> {
        match &self.loss {
            Some(loss) => loss.loss(),
            None if self.focal_gamma > 0.0 => Ok(Box::new(Focal { gamma: self.focal_gamma })),
            None => Ok(Box::new(Preference {})),
        }
    }

    /// The label rule.
    ///
    /// # Errors
    /// As [`TrainConfig::head`].
    pub fn rule(&self) -> Result<Box<dyn LabelRule>, TrainError> {
        match &self.rule {
            Some(rule) => rule.rule(),
            None => Ok(Box::new(SoftPreference {})),
        }
    }

    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn check(&self) -> Result<(), TrainError> {
        let bad = |field, value: String, expected: &str| {
            Err(TrainError::Config { field, value, expected: expected.to_owned() })
        };
        if let Some(reads) = self.head()?.and_then(|head| head.features())
            && let Some(set) = self.features.as_ref().filter(|set| **set != reads)
        {
            let expected =
                format!("train.architecture reads {:?} alone; leave it out", reads.name());
            let value = Value::from(set.clone()).to_string();
            return Err(TrainError::Config { field: "features", value, expected });
        }
        if self.loss.is_some() && self.focal_gamma != 0.0 {
            let expected = "expected 0 beside train.loss, which may be the focal one";
            return bad("focal_gamma", self.focal_gamma.to_string(), expected);
        }
        if let Some(loss) = &self.loss {
            loss.loss()?;
        }
        self.rule()?;
        if self.epochs == 0 {
            return bad("epochs", "0".to_owned(), "expected at least 1");
        }
        if self.batch_rows == 0 {
            return bad("batch_rows", "0".to_owned(), "expected at least 1");
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(self.learning_rate) {
            let expected = "expected a number above 0";
            return bad("learning_rate", self.learning_rate.to_string(), expected);
        }
        if let ClassWeight::Factor(factor) = self.class_weight
            && !positive(factor)
        {
            let expected = "expected \"balanced\", \"none\" or a number above 0";
            return bad("class_weight", factor.to_string(), expected);
        }
        let reads = self.head()?.and_then(|head| head.features());
        let reads = reads.as_ref().or(self.features.as_ref());
        if self.top_k == 0 && reads.is_some_and(FeatureSet::has_probabilities) {
            let expected =
                "expected at least 1, because train.features or the head reads the probabilities";
            return bad("top_k", "0".to_owned(), expected);
        }
        self.seeds.check()?;
        for (field, value) in [
            ("l2", self.l2.unwrap_or_default()),
            ("weight_decay", self.weight_decay),
            ("neutral_weight", self.neutral_weight),
            ("focal_gamma", self.focal_gamma),
        ] {
            if !value.is_finite() || value < 0.0 {
                return bad(field, value.to_string(), "expected a number of at least 0");
            }
        }
        for (field, value) in
            [("dropout", self.dropout.unwrap_or_default()), ("average", self.average)]
        {
            if !(0.0..1.0).contains(&value) {
                return bad(
                    field,
                    value.to_string(),
                    "expected a number of at least 0 and below 1",
                );
            }
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            let expected = "expected a share above 0, and 1 at most";
            return bad("share", self.share.to_string(), expected);
        }
        if !(self.validation_share > 0.0 && self.validation_share < 1.0) {
            let expected = "expected a share between 0 and 1";
            return bad("validation_share", self.validation_share.to_string(), expected);
        }
        Ok(())
    }
}
