//! Arguments of the commands that decode with a routed pair.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, value_parser};
use tokenroute_core::Tau;
use tokenroute_llm::http::TokenPrices;
use tokenroute_model::{Device, Format};

use super::{Kv, OnDevice};

/// Longest wait that an option may name: a day.
const MOST_MS: u64 = 24 * 60 * 60 * 1000;

/// Three prices with commas between them.
fn token_prices(text: &str) -> Result<TokenPrices, String> {
    let prices: Option<Vec<f64>> = text.split(',').map(|price| price.trim().parse().ok()).collect();
    match prices.as_deref() {
        Some(&[input, cached_input, output]) => Ok(TokenPrices { input, cached_input, output }),
        _ => Err("expected three numbers, as 0.10,0.05,0.40".to_owned()),
    }
}

/// The large model of a pair, the router, and how the two models work together.
#[derive(Debug, Args)]
pub struct Routing {
    /// The large model, named like the small one, or the URL of its server. The server's
    /// key is read from TOKENROUTE_CLOUD_KEY.
    #[arg(long, requires_all = ["slm", "router", "threshold"])]
    pub llm: Option<PathBuf>,
    /// The router for the small model: a file that `tokenroute train` wrote, a folder of `router
    /// card`, or an hf: reference to one.
    #[arg(long, requires = "llm")]
    pub router: Option<PathBuf>,
    /// Offload tokens with a score below this, 0 to 1. `tokenroute calibrate` chooses it.
    #[arg(long, requires = "llm", group = "threshold")]
    pub tau: Option<Tau>,
    /// Or use the largest τ that stays within this offload ratio, 0 to 1, by the router's
    /// own calibration.
    #[arg(long, value_name = "SHARE", requires = "llm", group = "threshold")]
    pub offload: Option<f64>,
    /// Hand the answer over at its first token with a score below τ: the large model makes all
    /// tokens from there on, in as few calls as its server allows. A server of the API chat makes
    /// the whole answer, and nothing is shown until it is complete.
    #[arg(long, requires = "router", conflicts_with_all = ["offload", "speculate", "relay", "lookahead", "max_offload"])]
    pub handoff: bool,
    /// Quantise the weights of the local model: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// Quantise the weights of --llm, if it is local.
    #[arg(long, value_name = "FORMAT", requires = "llm")]
    pub llm_quantize: Option<Format>,
    /// Let the models share text alone, so that --llm may have another tokenizer. For a local
    /// --llm.
    #[arg(long, requires = "llm")]
    pub through_text: bool,
    /// The KV cache.
    #[command(flatten)]
    pub kv: Kv,
    /// The device of the local model.
    #[command(flatten)]
    pub place: OnDevice,
    /// Where --llm runs, if it is local: as --device.
    #[arg(long, value_name = "DEVICE", requires = "llm")]
    pub llm_device: Option<Device>,
    /// How to reach the large model on a server.
    #[command(flatten)]
    pub remote: Remote,
    /// How to use the time of the large model's calls.
    #[command(flatten)]
    pub waiting: WaitOptions,
}

/// How to reach an LLM over HTTP.
#[derive(Debug, Args)]
pub struct Remote {
    /// API of the server at --llm: tokenroute, vllm, sglang, llama-cpp or openai. For a server
    /// that takes text alone, whatever its tokenizer: text, chat-continue, llama-cpp-chat,
    /// deepseek, mistral or ollama. For a chat that answers whole messages alone, with --handoff:
    /// chat. Default: its list of models and a few small requests find it.
    #[arg(long, value_name = "API")]
    pub llm_api: Option<String>,
    /// Name of the model on the server. Default: the first listed.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,
    /// Spend at most this on the LLM's server in one run, in the currency of --llm-prices. Each
    /// request reserves its worst case first. Beyond the limit the small model's tokens are
    /// kept and marked degraded. Needs an API of text.
    #[arg(long, value_name = "MONEY", requires = "llm_prices")]
    pub max_spend: Option<f64>,
    /// What the server's provider asks for a million tokens: input, cached input, output, as
    /// 0.10,0.05,0.40.
    #[arg(long, value_name = "PRICES", requires = "max_spend", value_parser = token_prices)]
    pub llm_prices: Option<TokenPrices>,
    /// Longest wait for a call to the LLM, in milliseconds. After that the small model's
    /// token is kept and marked degraded.
    #[arg(long, value_name = "MS", default_value_t = 4000, value_parser = value_parser!(u64).range(1..=MOST_MS))]
    pub llm_deadline: u64,
    /// Send a second, parallel request after this many milliseconds.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(..=MOST_MS))]
    pub llm_hedge: Option<u64>,
    /// Use HTTP/2 over plain HTTP, which `tokenroute cloud` supports. One connection then
    /// carries all calls. Over https, HTTP/2 is used if the server offers it.
    #[arg(long)]
    pub llm_http2: bool,
    /// Trust this certificate authority (PEM) in addition to the system's.
    #[arg(long, value_name = "FILE")]
    pub llm_ca: Option<PathBuf>,
    /// Cache the LLM's answers in this file. Cached answers are not requested again.
    #[arg(long, value_name = "FILE")]
    pub llm_cache: Option<PathBuf>,
}

/// How to use the time of the LLM's calls, and how many calls to make.
#[derive(Debug, Args)]
pub struct WaitOptions {
    /// While a token of the large model is on its way, continue from the small model's N
    /// best candidates for it (default: 2). The tokens stay the same.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2")]
    #[arg(requires = "slm", conflicts_with = "relay")]
    pub speculate: Option<NonZeroUsize>,
    /// Most concurrent calls of speculation, for each answer.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "speculate")]
    pub max_ahead: usize,
    /// Most calls that speculation may waste in one answer.
    #[arg(long, value_name = "N", requires = "speculate")]
    pub max_extra_calls: Option<u64>,
    /// Request N tokens in each call. Tokens after the first are used without another call
    /// if the answer takes the same path. The tokens stay the same.
    #[arg(long, value_name = "N", default_value = "1", requires = "slm")]
    pub lookahead: NonZeroUsize,
    /// Let the large model make up to N tokens in a row at each routed token.
    #[arg(long, value_name = "N", requires = "slm")]
    pub relay: Option<NonZeroUsize>,
    /// Limit the large model's share of all tokens, 0 to 1, to within one token. Beyond the
    /// limit the small model's tokens are kept. An answer may use the share that earlier
    /// answers left unused, so `generate` answers one question after another.
    #[arg(long, value_name = "SHARE", requires = "slm")]
    pub max_offload: Option<f64>,
    /// Longest wait of an answer for a token, in milliseconds, queueing included. After
    /// that the small model's token is kept and marked degraded. In contrast,
    /// --llm-deadline limits one call after it is sent. Needs an LLM that is called on
    /// another thread: a server, or --speculate.
    #[arg(long, value_name = "MS", requires = "slm", value_parser = value_parser!(u64).range(1..=MOST_MS))]
    pub deadline: Option<u64>,
    /// Let the large model prefill the prompt ahead of time, and the answer after every N
    /// tokens without a routed one.
    #[arg(long, value_name = "N", requires = "slm")]
    pub warm: Option<NonZeroUsize>,
}
