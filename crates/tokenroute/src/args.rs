//! The command line's arguments and help texts.

mod device;
mod drawing;
mod kv;
mod measure;
#[cfg(feature = "lab")]
mod metrics;
#[cfg(feature = "lab")]
mod router;
mod routing;
mod setup;
#[cfg(feature = "lab")]
mod stages;

#[cfg(feature = "server")]
use std::net::SocketAddr;
#[cfg(feature = "server")]
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use tokenroute_model::Format;

pub use device::OnDevice;
pub use drawing::Drawing;
pub use kv::Kv;
#[cfg(all(feature = "lab", feature = "server"))]
pub use measure::Latency;
pub use measure::{Bench, Export, RandomModelArgs};
#[cfg(feature = "lab")]
pub use metrics::Metrics;
#[cfg(feature = "lab")]
pub use router::{RouterCard, RouterCommand, RouterExport, RouterImport};
pub use routing::{Remote, Routing};
pub use setup::{Completions, Man};
#[cfg(feature = "lab")]
pub use stages::Inspect;
#[cfg(feature = "lab")]
pub use stages::{Calibrate, CheckSweep, Compare, Label, Report, Run, Staged, Sweep};

/// Most tokens or positions that an option may name.
const MOST_COUNT: u64 = 1 << 24;
/// Most requests at once that an option may name.
#[cfg(feature = "server")]
const MOST_AT_ONCE: u64 = 4096;
/// Longest time that an option may name: a week.
#[cfg(feature = "server")]
const MOST_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Parses a count within a range.
fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// Parses a JSON object.
fn json_object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("expected a JSON object such as {{\"enable_thinking\": false}}: {error}")
    })
}

/// Parses a number of bytes, or of millions or thousands of millions of them.
#[cfg(feature = "server")]
fn memory_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix('G') {
        Some(digits) => (digits, 1_000_000_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let bytes = number.and_then(|digits| digits.parse::<usize>().ok()?.checked_mul(unit));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| {
        "expected a number of bytes, or a whole number with M (10^6 bytes) or G (10^9), such as 500M or 2G".to_owned()
    })
}

/// Token-level routing between a small model on the device and a large one in the cloud.
#[derive(Debug, Parser)]
#[command(name = "tokenroute", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print only results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant per command, in the order of the help.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Label, train, sweep and report, skipping what has not changed.
    #[cfg(feature = "lab")]
    Run(Run),
    /// Chat with a routed pair, or a small model alone, in the terminal.
    Chat(Box<Chat>),
    /// Decode with one model, or with a routed pair.
    Generate(Box<Generate>),
    /// Serve a routed pair, or a small model alone, over the OpenAI API, with a page to try it.
    #[cfg(feature = "server")]
    Serve(Box<Serve>),
    /// Serve a checkpoint as the LLM of a pair, over the OpenAI completions API.
    #[cfg(feature = "server")]
    Cloud(Cloud),
    /// Label where the two models differ, and whether the difference loses the answer.
    #[cfg(feature = "lab")]
    Label(Label),
    /// Print a summary of a label table.
    #[cfg(feature = "lab")]
    Inspect(Inspect),
    /// Train a router on the label table.
    #[cfg(feature = "lab")]
    Train(Staged),
    /// Compute accuracy and offload for every τ, for the router and every baseline.
    #[cfg(feature = "lab")]
    Sweep(Sweep),
    /// Choose τ for an offload or accuracy target, and measure it on test.
    #[cfg(feature = "lab")]
    Calibrate(Calibrate),
    /// Render the report of a finished sweep.
    #[cfg(feature = "lab")]
    Report(Report),
    /// Measure decoding times behind a network: alone, routed, and with speculation.
    #[cfg(all(feature = "lab", feature = "server"))]
    Latency(Latency),
    /// Check the exact sweep against brute-force decoding.
    #[cfg(feature = "lab")]
    CheckSweep(CheckSweep),
    /// Train several routers on one label table, sweep them and compare them.
    #[cfg(feature = "lab")]
    Compare(Compare),
    /// Compute accuracy, PGR, APGR and CPT of any router that decides once a question, from a table.
    #[cfg(feature = "lab")]
    Metrics(Box<Metrics>),
    /// Take routers out to other programs, and take in published ones.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Router(RouterCommand),
    /// Print a model's predictions at every position of a text.
    Step(StepArgs),
    /// Measure tokens per second, memory, and the share of the memory bandwidth.
    Bench(Bench),
    /// Write a model as a GGUF file, for llama.cpp.
    Export(Export),
    /// Write a model with random weights in a real shape, for speed measurements.
    #[command(hide = true)]
    RandomModel(RandomModelArgs),
    /// Print completions for a shell.
    Completions(Completions),
    /// Write manual pages, one for each command.
    Man(Man),
}

/// Arguments of `step`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct StepArgs {
    /// A model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub model: PathBuf,
    /// Quantise its weights: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// The KV cache.
    #[command(flatten)]
    pub kv: Kv,
    /// The device.
    #[command(flatten)]
    pub place: OnDevice,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', group = "input")]
    pub ids: Option<Vec<u32>>,
    /// A text, tokenised without a chat template.
    #[arg(long, group = "input")]
    pub text: Option<String>,
    /// First position to print. The positions before it are read as well.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub from: usize,
    /// Number of most probable tokens to print.
    #[arg(long, default_value_t = 8, value_parser = count(1..=MOST_COUNT))]
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
    #[arg(long, conflicts_with_all = ["slm", "llm", "router", "threshold"], required_unless_present = "slm")]
    pub model: Option<PathBuf>,
    /// The small model of a routed pair.
    #[arg(long, requires_all = ["llm", "router", "threshold"])]
    pub slm: Option<PathBuf>,
    /// The large model, the router and their settings.
    #[command(flatten)]
    pub routing: Routing,
    /// The prompt, tokenised without a chat template. \n is a line break.
    #[arg(long, group = "prompt")]
    pub text: Option<String>,
    /// Token ids of the prompt, separated by commas.
    #[arg(long, value_delimiter = ',', group = "prompt")]
    pub ids: Option<Vec<u32>>,
    /// A file of questions in CommonsenseQA's schema, one JSON object per line.
    #[arg(long, group = "prompt")]
    pub questions: Option<PathBuf>,
    /// Let questions spell special tokens such as <|endoftext|>, which become control tokens.
    /// By default they are refused.
    #[arg(long, requires = "questions")]
    pub allow_special_tokens: bool,
    /// Stop after this many tokens.
    #[arg(long, default_value_t = 128)]
    pub max_tokens: usize,
    /// End an answer at this text and leave the text out, as between the examples of an
    /// experiment's prompt (data.prompt.between). \n is a line break.
    #[arg(long, value_name = "TEXT")]
    pub separator: Option<String>,
    /// Greedy or sampled.
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
    /// The large model, the router and their settings.
    #[command(flatten)]
    pub routing: Routing,
    /// The system message.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Variables of the chat template, such as {"enable_thinking": false}.
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub chat_template_kwargs: Option<serde_json::Map<String, serde_json::Value>>,
    /// Let messages spell special tokens such as <|endoftext|>, which become control tokens.
    /// By default they are refused.
    #[arg(long)]
    pub allow_special_tokens: bool,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 512)]
    pub max_tokens: usize,
    /// Greedy or sampled.
    #[command(flatten)]
    pub drawing: Drawing,
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
    /// The KV cache.
    #[command(flatten)]
    pub kv: Kv,
    /// The device.
    #[command(flatten)]
    pub place: OnDevice,
    /// Address to listen on. An address other than loopback needs a key: set
    /// TOKENROUTE_CLOUD_KEY on both machines.
    #[arg(long, default_value = "127.0.0.1:8433")]
    pub bind: SocketAddr,
    /// Most sequences in one batch.
    #[arg(long, default_value_t = 32, value_parser = count(1..=MOST_AT_ONCE))]
    pub batch: usize,
    /// Most positions of earlier prompts in the KV cache.
    #[arg(long, default_value_t = 65536, value_parser = count(0..=MOST_COUNT))]
    pub kept_positions: usize,
    /// Most bytes that the process may use: weights, KV caches, requests and replies. 2G is
    /// 2,000,000,000 bytes, 500M is 500,000,000. Requests beyond it are refused. Default: no limit.
    #[arg(long, value_name = "BYTES", value_parser = memory_size)]
    pub memory: Option<usize>,
}

/// Arguments of `serve`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub struct Serve {
    /// The small model: a folder in Hugging Face layout, a .gguf file, or an hf: reference to one.
    #[arg(long)]
    pub slm: PathBuf,
    /// The large model, the router and their settings. Without them the small model answers
    /// alone. Requests may set tau, max_offload, temperature, top_p and seed.
    #[command(flatten)]
    pub routing: Routing,
    /// Model name for clients. Default: the small model's folder or file.
    #[arg(long)]
    pub name: Option<String>,
    /// Address to listen on. An address other than loopback needs a key: set
    /// TOKENROUTE_SERVE_KEY, and give it to clients as their API key.
    #[arg(long, default_value = "127.0.0.1:8434")]
    pub bind: SocketAddr,
    /// End every answer at this text and leave the text out, as between the examples of an
    /// experiment's prompt (data.prompt.between). \n is a line break.
    #[arg(long, value_name = "TEXT")]
    pub separator: Option<String>,
    /// Most requests decoded at the same time.
    #[arg(long, default_value_t = 32, value_parser = count(1..=MOST_AT_ONCE))]
    pub sessions: usize,
    /// Most waiting requests. Further requests are refused.
    #[arg(long, default_value_t = 64, value_parser = count(0..=MOST_AT_ONCE))]
    pub queue: usize,
    /// Let chat messages spell special tokens such as <|endoftext|>, which become control
    /// tokens. By default they are refused.
    #[arg(long)]
    pub allow_special_tokens: bool,
    /// Most tokens of a prompt.
    #[arg(long, default_value_t = 32768, value_parser = count(1..=MOST_COUNT))]
    pub max_prompt: usize,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 4096, value_parser = count(1..=MOST_COUNT))]
    pub max_tokens: usize,
    /// Longest time for an answer, in seconds, queueing included.
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=MOST_SECONDS))]
    pub time: u64,
    /// Most prompt tokens to prefill between two tokens of other answers.
    #[arg(long, value_name = "N", default_value = "256")]
    pub prefill: NonZeroUsize,
    /// Most positions of earlier answers in the KV cache, for prompts with the same
    /// beginning such as the next message of a chat.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = count(0..=MOST_COUNT))]
    pub kept_positions: usize,
    /// Most bytes that the process may use: weights, KV caches, requests and replies. 2G is
    /// 2,000,000,000 bytes, 500M is 500,000,000. Requests beyond it are refused. Default: no limit.
    #[arg(long, value_name = "BYTES", value_parser = memory_size)]
    pub memory: Option<usize>,
}
