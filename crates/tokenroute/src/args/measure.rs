//! Arguments of the commands that measure, and that make what is measured.

#[cfg(all(feature = "lab", feature = "server"))]
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
#[cfg(all(feature = "lab", feature = "server"))]
use tokenroute_core::Tau;
use tokenroute_model::Format;

/// Arguments of `latency`.
#[cfg(all(feature = "lab", feature = "server"))]
#[derive(Debug, Args)]
pub struct Latency {
    /// The experiment's experiment.toml, with its router trained.
    pub experiment: PathBuf,
    /// Offload tokens that score below this, 0 to 1.
    #[arg(long, conflicts_with = "max_offload_ratio")]
    pub tau: Option<Tau>,
    /// Or: the largest τ that keeps to this offload ratio on validation, 0 to 1. The
    /// experiment must be swept.
    #[arg(long, value_name = "SHARE", default_value_t = 0.07)]
    pub max_offload_ratio: f64,
    /// Round trips in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,50,100,200,300")]
    pub round_trips: Vec<f64>,
    /// Megabits a second in each direction; 0 for no limit.
    #[arg(long, value_name = "MBIT", value_delimiter = ',', default_value = "1,10,100")]
    pub bandwidths: Vec<f64>,
    /// How many test questions.
    #[arg(long, default_value_t = 20)]
    pub questions: usize,
    /// Speculation goes on from the small model's N best candidates for a routed token.
    #[arg(long, value_name = "N", default_value = "1")]
    pub speculate: NonZeroUsize,
    /// Most calls at a time, for each answer, that it may spend on tokens that may not be
    /// needed.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub max_ahead: usize,
    /// Most calls of one answer that it may spend in vain.
    #[arg(long, value_name = "N")]
    pub max_extra_calls: Option<u64>,
    /// It lets the large model say N tokens in each call, and takes those after the first
    /// where the answer goes the same way.
    #[arg(long, value_name = "N", default_value = "16")]
    pub lookahead: NonZeroUsize,
    /// Most tokens of a relay.
    #[arg(long, value_name = "N", default_value = "8")]
    pub relay: NonZeroUsize,
    /// Stretches each of the small model's steps to so many milliseconds, to stand for a
    /// larger one on a device; 0 leaves it as fast as it is here.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub step_ms: f64,
    /// Measure anew although the same was measured before.
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
    /// Random weights in this shape, made in memory: qwen2.5-0.5b or qwen2.5-1.5b.
    #[arg(long, group = "what", value_name = "SHAPE")]
    pub random: Option<String>,
    /// Quantise the weights: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// Threads of quantised products; as many as the machine has if not given.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Tokens of the prompt that is read at once; 0 leaves the case out.
    #[arg(long, default_value_t = 512)]
    pub prefill: usize,
    /// Tokens decoded one by one.
    #[arg(long, default_value_t = 128)]
    pub decode: usize,
    /// Sequences of different lengths decoded together; 0 leaves the case out.
    #[arg(long, default_value_t = 8)]
    pub sequences: usize,
    /// A router for the model, to measure what it adds to a step; for whose weights it was
    /// trained is not looked at.
    #[arg(long, value_name = "FILE")]
    pub router: Option<PathBuf>,
    /// How often each case is measured, after one run that is not.
    #[arg(long, default_value_t = 5)]
    pub repeat: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `random-model`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("like").required(true))]
pub struct RandomModel {
    /// A shape by its name: qwen2.5-0.5b or qwen2.5-1.5b.
    #[arg(long, group = "like")]
    pub shape: Option<String>,
    /// The shape of this config.json.
    #[arg(long, group = "like", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A tokenizer.json to go with it; else one that knows bytes alone is made.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// A text whose tokens the model says often, so that a grader finds something.
    #[arg(long, value_name = "TEXT", requires = "tokenizer")]
    pub likely: Option<String>,
    /// So many layers instead of the shape's own.
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
    /// How matrices are stored: f32, f16, q8_0, q4_0 or q4_k (embedding and LM head then q8_0).
    #[arg(long = "type", value_name = "TYPE", default_value = "f16")]
    pub kind: String,
}
