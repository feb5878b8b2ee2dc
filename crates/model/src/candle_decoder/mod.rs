//! The decoder on candle's devices: the configurations, weights and steps of the one on this
//! crate's kernels, as tensors. It is the second implementation that parity tests hold the
//! first against, and the one that runs on a GPU.
//!
//! A ragged batch is flattened to rows for everything but attention. A row's last bits may
//! depend on its batch, since they are up to the device's matrix product.

mod attention;
mod forward;
mod kv_state;
mod plan;
mod tensors;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokenroute_core::{Detail, Feed, ModelError, ModelInfo, Step};
use tokenroute_kernels::Pool;

use crate::decoder::FeedSteps;
use crate::weights::WeightSource;
use crate::{Config, LoadError, LoadOptions};
use tensors::{Place, Tensors};

pub(crate) use kv_state::CandleState;

/// A decoder whose weights are tensors on a device. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct CandleDecoder(Arc<Tensors>);

impl CandleDecoder {
    /// Opens the device of the options and reads all weights onto it. `info` is asked for when
    /// the layers are read.
    pub(crate) fn new(
        info: impl FnOnce() -> Result<ModelInfo, LoadError>,
        config: Config,
        weights: &Arc<dyn WeightSource>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let place = Place::open(options.device)?;
        let tensors = Tensors::read(info, config, weights, place, options.threads)?;
        Ok(CandleDecoder(Arc::new(tensors)))
    }

    /// Sets the hash of its weights.
    pub(crate) fn rename(&mut self, weights_hash: String) {
        // A decoder that was just built has no clones.
        if let Some(tensors) = Arc::get_mut(&mut self.0) {
            tensors.info.weights_hash = weights_hash;
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// Bytes of weights that a step of one token reads, LM head included.
    pub(crate) fn bytes_per_token(&self) -> usize {
        self.0.bytes()
    }

    /// Bytes that a position takes in a state.
    pub(crate) fn kv_bytes_per_position(&self) -> usize {
        self.0.kv_bytes_per_position()
    }

    /// The threads that make steps of logits, and a router's scores.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// The states `[n, hidden]` after the final norm, from those after the last layer.
    pub(crate) fn final_norm(&self, states: &[f32]) -> Result<Vec<f32>, ModelError> {
        forward::final_norm(&self.0, states).map_err(|error| self.0.failed(&error))
    }

    /// The steps of states `[n, hidden]` after the final norm, as [`Detail::Full`] has them.
    pub(crate) fn steps_of(&self, states: &[f32]) -> Result<Vec<Step>, ModelError> {
        let made = forward::steps_of(&self.0, states).map_err(|error| self.0.failed(&error))?;
        let not_finite =
            |position| ModelError::NotFinite { model: self.0.info.name.clone(), position };
        made.into_iter().enumerate().map(|(i, step)| step.ok_or_else(|| not_finite(i))).collect()
    }

    pub(crate) fn start(&self) -> CandleState {
        CandleState::default()
    }

    /// Passes over checked feeds. One result for each feed.
    pub(crate) fn passes(
        &self,
        feeds: &mut [Feed<'_, CandleState>],
        detail: Detail,
    ) -> Vec<FeedSteps> {
        let count = feeds.len();
        forward::run(&self.0, feeds, detail).unwrap_or_else(|error| vec![Err(error); count])
    }
}
