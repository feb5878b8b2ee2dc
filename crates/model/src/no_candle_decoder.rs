//! Stands for the decoder on candle's devices in a build without the feature `devices`.
//! Nothing of it can be made.

use std::sync::Arc;

use tokenroute_core::{Detail, Feed, ModelError, ModelInfo, Step};
use tokenroute_kernels::Pool;

use crate::decoder::FeedSteps;
use crate::weights::WeightSource;
use crate::{Config, LoadError, LoadOptions};

#[derive(Debug, Clone)]
pub(crate) enum CandleDecoder {}

#[derive(Debug, Clone)]
pub(crate) enum CandleState {}

impl CandleState {
    pub(crate) fn len(&self) -> usize {
        match *self {}
    }

    pub(crate) fn truncate(&mut self, _: usize) {
        match *self {}
    }
}

impl CandleDecoder {
    /// Refuses the device: [`crate::Device::check`] has done so before.
    pub(crate) fn new(
        _: impl FnOnce() -> Result<ModelInfo, LoadError>,
        _: Config,
        _: &Arc<dyn WeightSource>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        Err(LoadError::NoDevice { device: options.device.name(), feature: "devices" })
    }

    pub(crate) fn rename(&mut self, _: String) {
        match *self {}
    }

    pub(crate) fn config(&self) -> &Config {
        match *self {}
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        match *self {}
    }

    pub(crate) fn bytes_per_token(&self) -> usize {
        match *self {}
    }

    pub(crate) fn kv_bytes_per_position(&self) -> usize {
        match *self {}
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        match *self {}
    }

    pub(crate) fn final_norm(&self, _: &[f32]) -> Result<Vec<f32>, ModelError> {
        match *self {}
    }

    pub(crate) fn steps_of(&self, _: &[f32]) -> Result<Vec<Step>, ModelError> {
        match *self {}
    }

    pub(crate) fn start(&self) -> CandleState {
        match *self {}
    }

    pub(crate) fn passes(&self, _: &mut [Feed<'_, CandleState>], _: Detail) -> Vec<FeedSteps> {
        match *self {}
    }
}
