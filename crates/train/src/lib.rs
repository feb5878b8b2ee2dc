//! Label table to router, in Burn.
//!
//! Key types:
//! - [`TrainConfig`]: what is trained and how; one section of an experiment file.
//! - [`Dataset`]: label rows as normalised features and targets, split by question.
//! - [`Head`]: the linear or MLP head in Burn.
//!
//! Usage:
//! 1. Read label rows from the store and name a [`device`].
//! 2. Call [`train`] with the hashes of what the rows were made from.
//! 3. Write the [`tokenroute_store::RouterFile`] it returns.

mod calibration;
mod config;
mod data;
mod device;
mod error;
mod fit;
mod metrics;
mod model;
mod platt;
mod router;

pub use calibration::tau_points;
pub use config::{ClassRule, ClassWeight, TrainConfig};
pub use data::{Dataset, Rows};
pub use device::{backends, device};
pub use error::TrainError;
pub use fit::{Fitted, fit};
pub use metrics::{RankMetrics, expected_calibration_error, rank_metrics};
pub use model::Head;
pub use platt::fit_platt;
pub use router::{Provenance, train};
