//! The command line, parsed and nothing more.

mod drawing;
mod measure;

#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tokenroute_edge::Format;

pub use drawing::Drawing;
#[cfg(all(feature = "train", feature = "server"))]
pub use measure::Latency;
pub use measure::{Bench, Export, RandomModel};

/// Token-level routing between a small model on the device and a large one in the cloud.
#[derive(Debug, Parser)]
#[command(name = "tokenroute", version, arg_required_else_help = true)]
pub struct Cli {
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Label, train, sweep and report, skipping what has not changed.
    #[cfg(feature = "train")]
    Run(Staged),
    /// Compare what the two models say at every token, and what it costs.
    #[cfg(feature = "train")]
    Label(Label),
    /// Print what is in a label table.
    #[cfg(feature = "lab")]
    Inspect(Inspect),
    /// Train a router on the label table.
    #[cfg(feature = "train")]
    Train(Staged),
    /// Sweep τ exactly, for the router and every baseline.
    #[cfg(feature = "train")]
    Sweep(Staged),
    /// The τ for a wished offload ratio or accuracy, and what it gives on test.
    #[cfg(feature = "train")]
    Calibrate(Calibrate),
    /// Render the report of a finished sweep.
    #[cfg(feature = "train")]
    Report(Staged),
    /// Time decoding behind a network: alone, routed, ahead of the large model's tokens.
    #[cfg(all(feature = "train", feature = "server"))]
    Latency(Latency),
    /// Hold the exact sweep against brute-force decoding.
    #[cfg(feature = "train")]
    CheckSweep(CheckSweep),
    /// What a model says at every position of a text.
    Step(Step),
    /// Decode with one model, or with a routed pair.
    Generate(Box<Generate>),
    /// Talk with a routed pair, or a small model alone, in the terminal.
    Chat(Box<Chat>),
    /// Tokens a second, memory and the share of the memory's bandwidth that is reached.
    Bench(Bench),
    /// Write a model as a GGUF file, which llama.cpp runs.
    Export(Export),
    /// Write a model of random weights in a real shape, to measure speed with.
    #[command(hide = true)]
    RandomModel(RandomModel),
    /// Serve a checkpoint as the LLM of a pair, over the OpenAI completions API.
    #[cfg(feature = "server")]
    Cloud(Cloud),
    /// Serve a routed pair, or a small model alone, over the OpenAI API, with a page to try it.
    #[cfg(feature = "server")]
    Serve(Box<Serve>),
    /// Make, train and verify the bundled pair.
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Pair(Pair),
}

/// A stage of an experiment.
#[derive(Debug, Args)]
pub struct Staged {
    /// The experiment's experiment.toml.
    pub experiment: PathBuf,
    /// Burn backend to train on: flex, ndarray or wgpu, if built in.
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
    /// Print LLM positions and time, and run nothing.
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
    /// Rows to print as a sample.
    #[arg(long, default_value_t = 5)]
    pub sample: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wish").required(true))]
pub struct Calibrate {
    /// The experiment's experiment.toml, already swept.
    pub experiment: PathBuf,
    /// At most this share of tokens from the LLM, 0 to 1.
    #[arg(long, group = "wish")]
    pub offload: Option<f64>,
    /// At least this accuracy, 0 to 1.
    #[arg(long, group = "wish")]
    pub accuracy: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check-sweep`.
#[derive(Debug, Args)]
pub struct CheckSweep {
    /// The experiment's experiment.toml, with its router trained.
    pub experiment: PathBuf,
    /// How many test questions.
    #[arg(long, default_value_t = 50)]
    pub questions: usize,
}

/// Arguments of `step`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct Step {
    /// A model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub model: PathBuf,
    /// Quantise its weights: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', group = "input")]
    pub ids: Option<Vec<u32>>,
    /// A text, tokenised as it stands.
    #[arg(long, group = "input")]
    pub text: Option<String>,
    /// How many of the most probable tokens.
    #[arg(long, default_value_t = 8)]
    pub top_k: usize,
    /// Print all logits too.
    #[arg(long)]
    pub logits: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("prompt").required(true))]
pub struct Generate {
    /// One model alone: a folder in Hugging Face layout, a .gguf file, or an hf: reference.
    #[arg(long, conflicts_with_all = ["slm", "llm", "router", "tau"], required_unless_present = "slm")]
    pub model: Option<PathBuf>,
    /// The small model of a routed pair.
    #[arg(long, requires_all = ["llm", "router", "tau"])]
    pub slm: Option<PathBuf>,
    /// The large model and what goes between the two.
    #[command(flatten)]
    pub routing: Routing,
    /// The prompt, tokenised as it stands (\n is a line break).
    #[arg(long, group = "prompt")]
    pub text: Option<String>,
    /// Token ids of the prompt, separated by commas.
    #[arg(long, value_delimiter = ',', group = "prompt")]
    pub ids: Option<Vec<u32>>,
    /// A file of questions in CommonsenseQA's schema, one JSON object per line.
    #[arg(long, group = "prompt")]
    pub questions: Option<PathBuf>,
    /// Stop after this many tokens.
    #[arg(long, default_value_t = 128)]
    pub max_tokens: usize,
    /// Greedy or drawn.
    #[command(flatten)]
    pub drawing: Drawing,
    /// Print JSON, one object per prompt.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `chat`.
#[derive(Debug, Args)]
pub struct Chat {
    /// The small model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub slm: PathBuf,
    /// The large model and what goes between the two.
    #[command(flatten)]
    pub routing: Routing,
    /// What the models are told before the first message.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 512)]
    pub max_tokens: usize,
    /// Greedy or drawn.
    #[command(flatten)]
    pub drawing: Drawing,
}

/// The large model of a pair, the router, and how the two models work together.
#[derive(Debug, Args)]
pub struct Routing {
    /// The large model: as the small one, or the URL of a server (a key for it is read
    /// from TOKENROUTE_CLOUD_KEY).
    #[arg(long, requires_all = ["slm", "router", "tau"])]
    pub llm: Option<PathBuf>,
    /// The router file.
    #[arg(long, requires = "llm")]
    pub router: Option<PathBuf>,
    /// Offload tokens that score below this, 0 to 1.
    #[arg(long, requires = "llm")]
    pub tau: Option<String>,
    /// Quantise the weights of the model that runs here: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// Quantise the weights of --llm, if it runs here too.
    #[arg(long, value_name = "FORMAT", requires = "llm")]
    pub llm_quantize: Option<Format>,
    /// How to reach it, if it is a server.
    #[command(flatten)]
    pub remote: Remote,
    /// What to do about the time it takes.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// How to reach an LLM over HTTP.
#[derive(Debug, Args)]
pub struct Remote {
    /// API of the server at --llm, if its list of models does not tell:
    /// tokenroute, vllm, sglang, llama-cpp or openai.
    #[arg(long, value_name = "API")]
    pub llm_api: Option<String>,
    /// Name of the model there; the first listed if not given.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,
    /// Longest wait for a token of the LLM, in milliseconds; then the small
    /// model's stands, marked degraded.
    #[arg(long, value_name = "MS", default_value_t = 4000)]
    pub llm_deadline: u64,
    /// Ask a second time in parallel after so many milliseconds.
    #[arg(long, value_name = "MS")]
    pub llm_hedge: Option<u64>,
    /// Speak HTTP/2 to a server of plain HTTP that knows it, as `tokenroute cloud`
    /// does: one connection then carries all calls. Over https it is used where offered.
    #[arg(long)]
    pub llm_http2: bool,
    /// Trust this certificate authority (PEM) beside the system's.
    #[arg(long, value_name = "FILE")]
    pub llm_ca: Option<PathBuf>,
    /// Keep the LLM's answers in this file; what it holds is not asked again.
    #[arg(long, value_name = "FILE")]
    pub llm_cache: Option<PathBuf>,
}

/// What to do about the time the LLM takes, and how much to ask of it.
#[derive(Debug, Args)]
pub struct Waiting {
    /// While a token of the large model is on its way, go on from the small
    /// one's N best candidates for it (2 unless given). The tokens stay the same.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2")]
    #[arg(requires = "slm", conflicts_with = "relay")]
    pub speculate: Option<NonZeroUsize>,
    /// Most calls at a time, for each answer, that speculation may spend on
    /// tokens that may not be needed.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "speculate")]
    pub max_ahead: usize,
    /// Most calls of one answer that speculation may spend in vain.
    #[arg(long, value_name = "N", requires = "speculate")]
    pub max_extra_calls: Option<u64>,
    /// Let the large model say N tokens in each call. Those after the first are taken,
    /// without a call, where the answer goes the same way. The tokens stay the same.
    #[arg(long, value_name = "N", default_value = "1", requires = "slm")]
    pub lookahead: NonZeroUsize,
    /// Let the large model make up to N tokens in a row where one is routed.
    #[arg(long, value_name = "N", requires = "slm")]
    pub relay: Option<NonZeroUsize>,
    /// Keep the share of the large model's tokens in each answer at or below
    /// this, 0 to 1; beyond it the small model's tokens are kept.
    #[arg(long, value_name = "SHARE", requires = "slm")]
    pub max_offload: Option<f64>,
    /// Longest time an answer stands still for a token, in milliseconds, queueing
    /// included; then the small model's stands, marked degraded. Unlike
    /// --llm-deadline, which bounds one call once it is sent. Needs an LLM that is
    /// called on another thread: a server, or --speculate.
    #[arg(long, value_name = "MS", requires = "slm")]
    pub deadline: Option<u64>,
    /// Let the large model read the prompt ahead, and the answer after every N
    /// tokens without a routed one.
    #[arg(long, value_name = "N", requires = "slm")]
    pub warm: Option<NonZeroUsize>,
}

/// Arguments of `cloud`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub struct Cloud {
    /// A model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub model: PathBuf,
    /// Quantise its weights: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// Where to listen. Beyond loopback a key is required: set
    /// TOKENROUTE_CLOUD_KEY, here and where it is asked.
    #[arg(long, default_value = "127.0.0.1:8433")]
    pub bind: SocketAddr,
    /// Most sequences in one batch.
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Most positions of earlier prompts kept for the next request.
    #[arg(long, default_value_t = 65536)]
    pub kept_positions: usize,
}

/// Arguments of `serve`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub struct Serve {
    /// The small model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub slm: PathBuf,
    /// The large model and what goes between the two; without it the small model answers
    /// alone. Requests may say their own tau, max_offload, temperature, top_p and seed.
    #[command(flatten)]
    pub routing: Routing,
    /// What clients call the model; the small model's folder or file if not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Where to listen. Beyond loopback a key is required: set
    /// TOKENROUTE_SERVE_KEY, and give it to clients as their API key.
    #[arg(long, default_value = "127.0.0.1:8434")]
    pub bind: SocketAddr,
    /// Most requests decoded at once.
    #[arg(long, default_value_t = 32)]
    pub sessions: usize,
    /// Most requests waiting; more are turned away.
    #[arg(long, default_value_t = 64)]
    pub queue: usize,
    /// Most tokens of a prompt.
    #[arg(long, default_value_t = 32768)]
    pub max_prompt: usize,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 4096)]
    pub max_tokens: usize,
    /// Longest time for an answer, in seconds, waiting included.
    #[arg(long, value_name = "S", default_value_t = 300)]
    pub time: u64,
    /// Most tokens of prompts read between two tokens of other answers.
    #[arg(long, value_name = "N", default_value = "256")]
    pub prefill: NonZeroUsize,
    /// Most positions of earlier answers kept for prompts that begin like them, as the
    /// next message of a conversation does.
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub kept_positions: usize,
}

/// The bundled pair.
#[cfg(feature = "train")]
#[derive(Debug, Subcommand)]
pub enum Pair {
    /// Write the data set and the tokenizer.
    Data(PairFile),
    /// Train both models; a killed run resumes.
    Train(PairTrain),
    /// Grade the committed weights again and hold them against their card.
    Verify(PairFile),
}

/// Arguments of `pair data` and `pair verify`.
#[cfg(feature = "train")]
#[derive(Debug, Args)]
pub struct PairFile {
    /// The pair's experiment.toml.
    pub experiment: PathBuf,
}

/// Arguments of `pair train`.
#[cfg(feature = "train")]
#[derive(Debug, Args)]
pub struct PairTrain {
    /// The pair's experiment.toml.
    pub experiment: PathBuf,
    /// Burn backend: flex, ndarray or wgpu, if built in.
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Train only this one: slm or llm.
    #[arg(long)]
    pub only: Option<String>,
}
