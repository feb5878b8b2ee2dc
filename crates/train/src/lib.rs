//! Trains a router from a label table, with Burn.
//!
//! Key types:
//! - [`TrainConfig`]: how a router is trained; the `[train]` section of an experiment file.
//! - [`TrainingData`]: label rows as normalised features and targets, split by question.
//! - [`Settings`]: what validation chooses where the configuration leaves it open.
//! - [`Head`], [`Loss`]: what is trained and what for; experiment files name those of
//!   [`HeadConfig`] and [`LossConfig`].
//! - [`RouterHead`]: a head in Burn.
//! - [`Epoch`]: the course of a training, epoch by epoch.
//! - [`QueryHead`]: a head that decides once a question, for comparison.
//!
//! Usage:
//! 1. Read label rows with `tokenroute-store` and choose a [`device`].
//! 2. Call [`train`] with the hashes of the rows' sources.
//! 3. Write the [`tokenroute_store::RouterFile`] it returns.

mod along;
mod batches;
mod calibration;
mod config;
mod data;
mod device;
mod error;
mod feature_set;
mod fit;
mod head;
mod history;
mod layer;
mod logistic;
mod loss;
mod metrics;
mod model;
mod platt;
mod query_head;
mod router;
mod rule;
mod seeds;
mod select;
mod settings;
mod steps;

pub use calibration::tau_points;
pub use config::{ClassRule, ClassWeight, TrainConfig};
pub use data::{Rows, TrainingData};
pub use device::{backends, device};
pub use error::TrainError;
pub use feature_set::{FeatureList, FeatureSet};
pub use fit::{Fitted, fit};
pub use head::{Citer, Gru, Head, HeadConfig, Linear, Mlp, R2r};
pub use history::Epoch;
pub use layer::Layer;
pub use loss::{
    CoLlm, Focal, Loss, LossConfig, LossRows, PosWeight, Preference, Ranking, Regression,
};
pub use metrics::{RankMetrics, expected_calibration_error, rank_metrics, weighted_cross_entropy};
pub use model::RouterHead;
pub use platt::fit_platt;
pub use query_head::{QueryExample, QueryHead};
pub use router::{Provenance, Trained, train, train_head, train_rule, train_seeds};
pub use rule::{
    Agreement, CostAware, Difference, LabelRule, RuleConfig, SoftPreference, Target, gain,
};
pub use seeds::Seeds;
pub use select::select;
pub use settings::Settings;
pub use steps::Steps;
