//! The course of a training, epoch by epoch.

use serde::Serialize;

/// One epoch of an MLP, or one step of a linear head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    /// Seed of the training.
    pub seed: u64,
    /// Number of the epoch or step, from 1.
    pub epoch: u32,
    /// The loss that is minimised: the mean over the epoch's rows, with class weights. Of a
    /// linear head with its penalty.
    pub train_loss: f64,
    /// Cross-entropy on the validation rows, without class weights. Of a linear head it is
    /// known at the last step alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// AUROC of divergent positions on the validation rows, known where the loss is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    /// Learning rate at the end of the epoch. A linear head has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}
