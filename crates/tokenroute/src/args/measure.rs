//! Arguments of `latency`, `bench`, `random-model` and `export`.

#[cfg(all(feature = "lab", feature = "server"))]
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
#[cfg(all(feature = "lab", feature = "server"))]
use tokenroute_core::Tau;
use tokenroute_model::{Device, Format};

#[cfg(all(feature = "lab", feature = "server"))]
use super::stages::ExperimentFile;
use super::{Kv, OnDevice};

/// Arguments of `latency`.
#[cfg(all(feature = "lab", feature = "server"))]
#[derive(Debug, Args)]
pub struct Latency {
    /// The experiment. Its router must be trained.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// Offload tokens with a score below this, 0 to 1.
    #[arg(long, conflicts_with = "max_offload_ratio")]
    pub tau: Option<Tau>,
    /// Or use the largest τ that stays within this offload ratio on validation, 0 to 1. The
    /// experiment must be swept.
    #[arg(long, value_name = "SHARE", default_value_t = 0.07)]
    pub max_offload_ratio: f64,
    /// Round-trip times in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,50,100,200,300")]
    pub round_trips: Vec<f64>,
    /// Bandwidths in megabits per second, in each direction. 0 means no limit.
    #[arg(long, value_name = "MBIT", value_delimiter = ',', default_value = "1,10,100")]
    pub bandwidths: Vec<f64>,
    /// Number of test questions.
    #[arg(long, default_value_t = 20)]
    pub questions: usize,
    /// Speculation continues from the small model's N best candidates for a routed token.
    #[arg(long, value_name = "N", default_value = "1")]
    pub speculate: NonZeroUsize,
    /// Most concurrent calls of speculation, for each answer.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub max_ahead: usize,
    /// Most calls that speculation may waste in one answer.
    #[arg(long, value_name = "N")]
    pub max_extra_calls: Option<u64>,
    /// Speculation requests N tokens per call. Tokens after the first are used if the
    /// answer takes the same path.
    #[arg(long, value_name = "N", default_value = "16")]
    pub lookahead: NonZeroUsize,
    /// Most tokens per relay.
    #[arg(long, value_name = "N", default_value = "8")]
    pub relay: NonZeroUsize,
    /// Stretch each step of the small model to this many milliseconds, to simulate a larger
    /// model on a device. 0 keeps the real speed.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub step_ms: f64,
    /// Measure again, even if the same measurement exists.
    #[arg(long)]
    pub again: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Bench {
    /// A model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long, group = "what")]
    pub model: Option<PathBuf>,
    /// Use random weights in this shape, made in memory: qwen2.5-0.5b or qwen2.5-1.5b.
    #[arg(long, group = "what", value_name = "SHAPE")]
    pub random: Option<String>,
    /// Quantise the weights: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// The KV cache.
    #[command(flatten)]
    pub kv: Kv,
    /// The device.
    #[command(flatten)]
    pub place: OnDevice,
    /// Measure the model on this device too, in turns, and print the ratio of the rates.
    #[arg(long, value_name = "DEVICE")]
    pub beside: Option<Device>,
    /// Threads of quantised products. Default: one per processor.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Number of tokens to prefill. 0 skips the case.
    #[arg(long, default_value_t = 512)]
    pub prefill: usize,
    /// Number of tokens to decode one by one.
    #[arg(long, default_value_t = 128)]
    pub decode: usize,
    /// Number of sequences of different lengths to decode together. 0 skips the case.
    #[arg(long, default_value_t = 8)]
    pub sequences: usize,
    /// A router, to measure the time that it adds to a step. It may belong to other
    /// weights.
    #[arg(long, value_name = "FILE")]
    pub router: Option<PathBuf>,
    /// Number of measurements per case, after one warm-up run.
    #[arg(long, default_value_t = 5)]
    pub repeat: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `random-model`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("like").required(true))]
pub struct RandomModelArgs {
    /// A named shape: qwen2.5-0.5b or qwen2.5-1.5b.
    #[arg(long, group = "like")]
    pub shape: Option<String>,
    /// The shape of this config.json.
    #[arg(long, group = "like", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The tokenizer.json to use. Default: a tokenizer of single bytes.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// A text with tokens that the model should produce often, so that a grader finds an
    /// answer.
    #[arg(long, value_name = "TEXT", requires = "tokenizer")]
    pub likely: Option<String>,
    /// Number of layers, instead of the shape's own.
    #[arg(long)]
    pub layers: Option<usize>,
    /// Seed of the weights.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The folder to write.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// A model in Hugging Face layout, or an hf: reference to one.
    #[arg(long)]
    pub model: PathBuf,
    /// The GGUF file to write.
    #[arg(long, value_name = "FILE.gguf")]
    pub out: PathBuf,
    /// Number type of the matrices: f32, f16, q8_0, q4_0 or q4_k. With q4_0 and q4_k,
    /// embedding and LM head are q8_0.
    #[arg(long = "type", value_name = "TYPE", default_value = "f16")]
    pub kind: String,
}
