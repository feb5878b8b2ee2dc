//! Arguments of the stages of an experiment.

#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokenroute_core::{Part, Progress};
use tokenroute_lab::{Chain, Override};

/// An experiment, and keys of it that the command replaces.
#[derive(Debug, Args)]
pub struct ExperimentFile {
    /// The experiment's experiment.toml.
    #[arg(value_name = "EXPERIMENT")]
    pub path: PathBuf,
    /// Replace a key of the file: `--set data.test=100`. Values are TOML; strings need no
    /// quotes, and paths are relative to the file. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// Run the program that the experiment's grader `command` names.
    #[arg(long)]
    pub allow_commands: bool,
}

impl ExperimentFile {
    /// Reads the experiment and what names its pair.
    pub fn open<'p>(&self, progress: &'p dyn Progress) -> anyhow::Result<Chain<'p>> {
        let chain = Chain::open(&self.path, &self.set, progress)?;
        Ok(chain.allowing_commands(self.allow_commands))
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The experiment.
    #[command(flatten)]
    pub staged: Staged,
    /// Serve a page on this machine that follows the run: stages, rates, labels so far, and the
    /// curve as it grows. `--watch=127.0.0.1:9000` chooses the address.
    #[cfg(feature = "server")]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8435")]
    pub watch: Option<SocketAddr>,
}

/// Arguments of `train`, and those of `run` beside the page.
#[derive(Debug, Args)]
pub struct Staged {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Burn backend for training: flex, ndarray or wgpu, if built in.
    #[arg(long, default_value = "flex")]
    pub device: String,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The experiment, already swept.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Copy the report to this folder, as it was rendered.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Arguments of `label`.
#[derive(Debug, Args)]
pub struct Label {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Burn backend for the router of the on-policy round.
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Print the expected LLM positions and time, without labelling. A few questions are
    /// measured; with an LLM that runs here, once for the same pair, files, prompts and
    /// settings.
    #[arg(long)]
    pub estimate: bool,
    /// With --estimate: measure again.
    #[arg(long, requires = "estimate")]
    pub anew: bool,
    /// Keep the judgements of all finished shards in the folder `label.judgements`, without
    /// labelling. They are small; with them one pass of the small model makes the table again.
    #[arg(long, conflicts_with = "estimate")]
    pub keep_judgements: bool,
    /// Take the SLM's hidden states of the first round from this folder: one safetensors file for
    /// each path, as vLLM's hidden-state extraction writes them. Sampled rows are checked against
    /// the SLM.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["estimate", "keep_judgements", "paths"])]
    pub states: Option<PathBuf>,
    /// Write the token ids whose states --states needs, one line of JSON for each question,
    /// without labelling. The LLM answers first.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["estimate", "keep_judgements", "part", "merge"])]
    pub paths: Option<PathBuf>,
    /// Label part I of N in run/parts/, of the first round that is not finished. All parts may
    /// run at the same time, on any machines that share the folder.
    #[arg(long, value_name = "I/N", conflicts_with_all = ["estimate", "keep_judgements", "merge"])]
    pub part: Option<Part>,
    /// Join all parts of a round and train the router of the next one. The table is that of
    /// one process, byte for byte.
    #[arg(long, conflicts_with_all = ["estimate", "keep_judgements"])]
    pub merge: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub struct Sweep {
    /// The experiment. Its router must be trained.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Sweep part I of N in run/parts/. All parts may run at the same time, on any machines
    /// that share the folder.
    #[arg(long, value_name = "I/N", conflicts_with = "merge")]
    pub part: Option<Part>,
    /// Join all parts. The curves are those of one process, byte for byte.
    #[arg(long)]
    pub merge: bool,
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
    /// The experiment. It must be swept.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Target: at most this share of tokens from the LLM, 0 to 1.
    #[arg(long, group = "target")]
    pub offload: Option<f64>,
    /// Target: at least this accuracy, 0 to 1, guaranteed at the confidence given. The smallest
    /// τ is printed that testing from τ = 1 downwards reaches.
    #[arg(long, group = "target")]
    pub accuracy: Option<f64>,
    /// Confidence of the guarantee, between 0 and 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, conflicts_with = "offload")]
    pub confidence: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// The compare.toml: an experiment, and routers that differ in [train].
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Replace a key of the experiment, as in `run`. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// Run the program that the experiment's grader `command` names.
    #[arg(long)]
    pub allow_commands: bool,
    /// Burn backend for training: flex, ndarray or wgpu, if built in.
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Copy the report to this folder, as it was rendered.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Arguments of `check-sweep`.
#[derive(Debug, Args)]
pub struct CheckSweep {
    /// The experiment. Its router must be trained.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Number of test questions.
    #[arg(long, default_value_t = 50)]
    pub questions: usize,
    /// Check the baselines that decide by token too.
    #[arg(long)]
    pub baselines: bool,
}
