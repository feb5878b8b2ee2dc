//! Where a model runs, for every command that loads one.

use clap::Args;
use tokenroute_model::Device;

/// The device of a model that runs here.
#[derive(Debug, Args)]
pub struct OnDevice {
    /// Where the model runs: kernels (tokenroute's own, on the CPU), or candle's cpu, cuda, cuda-f32, metal or metal-f32.
    /// cuda and metal need a program built with that feature. They hold weights in bf16.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: Device,
}
