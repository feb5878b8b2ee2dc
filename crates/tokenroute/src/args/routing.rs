//! Arguments of every command that decodes with a routed pair.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, value_parser};
use tokenroute_model::Format;

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
    #[arg(long, value_name = "MS", default_value_t = 4000, value_parser = value_parser!(u64).range(1..))]
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
    /// Keep the large model's share of all tokens at or below this, 0 to 1, give or take
    /// one token; beyond it the small model's are kept. What an answer leaves unspent the
    /// next may spend: `generate` answers one question after the other then.
    #[arg(long, value_name = "SHARE", requires = "slm")]
    pub max_offload: Option<f64>,
    /// Longest time an answer stands still for a token, in milliseconds, queueing
    /// included; then the small model's stands, marked degraded. Unlike
    /// --llm-deadline, which bounds one call once it is sent. Needs an LLM that is
    /// called on another thread: a server, or --speculate.
    #[arg(long, value_name = "MS", requires = "slm", value_parser = value_parser!(u64).range(1..))]
    pub deadline: Option<u64>,
    /// Let the large model read the prompt ahead, and the answer after every N
    /// tokens without a routed one.
    #[arg(long, value_name = "N", requires = "slm")]
    pub warm: Option<NonZeroUsize>,
}
