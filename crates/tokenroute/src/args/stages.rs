//! Arguments of the stages of an experiment.

use std::path::PathBuf;

use clap::Args;

/// A stage of an experiment.
#[derive(Debug, Args)]
pub struct Staged {
    /// The experiment's experiment.toml.
    pub experiment: PathBuf,
    /// Burn backend for training: flex, ndarray or wgpu, if built in.
    #[arg(long, default_value = "flex")]
    pub device: String,
}

/// Arguments of `label`.
#[derive(Debug, Args)]
pub struct Label {
    /// The experiment's experiment.toml.
    pub experiment: PathBuf,
    /// Burn backend for the router of the on-policy round.
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Print the expected LLM positions and time, without labelling.
    #[arg(long)]
    pub estimate: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// An experiment.toml, or a folder of Parquet shards.
    pub path: PathBuf,
    /// Number of sample rows to print.
    #[arg(long, default_value_t = 5)]
    pub sample: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub struct Calibrate {
    /// The experiment's experiment.toml. It must be swept.
    pub experiment: PathBuf,
    /// Target: at most this share of tokens from the LLM, 0 to 1.
    #[arg(long, group = "target")]
    pub offload: Option<f64>,
    /// Target: at least this accuracy, 0 to 1.
    #[arg(long, group = "target")]
    pub accuracy: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check-sweep`.
#[derive(Debug, Args)]
pub struct CheckSweep {
    /// The experiment's experiment.toml. Its router must be trained.
    pub experiment: PathBuf,
    /// Number of test questions.
    #[arg(long, default_value_t = 50)]
    pub questions: usize,
}
