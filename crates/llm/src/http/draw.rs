//! Requests for drawn tokens, by API.
//!
//! Our own server draws by (seed, position), as a model in process does. Other servers draw
//! from a random stream of their own. A seed for each call makes the call repeatable, if the
//! server honours seeds. A run of tokens would differ from single calls, so these servers are
//! asked for one token at a time. SGLang (0.5.3 and later) uses a seed only when started with
//! `--enable-deterministic-inference`; without, its answers differ from run to run.

use serde_json::{Value, json};
use tokenroute_core::Sampling;

use crate::http::Api;

impl Api {
    /// Whether one request answers many positions of one context. No server does that for
    /// drawn tokens.
    pub(crate) fn scores(self, sampling: Option<Sampling>) -> bool {
        sampling.is_none() && matches!(self, Api::Tokenroute | Api::Vllm | Api::Sglang)
    }

    /// Whether one request gives many tokens as ids, equal to those of one request for each.
    /// A text of several tokens cannot be split into them.
    pub(crate) fn relays(self, sampling: Option<Sampling>) -> bool {
        match sampling {
            Some(_) => self == Api::Tokenroute,
            None => self != Api::OpenAi,
        }
    }

    /// Turns a request for the greedy token into one for a drawn token. Other filters that
    /// servers apply by default are switched off.
    pub(crate) fn draw(self, sampling: Sampling, call_seed: u32, body: &mut Value) {
        let seed = match self {
            Api::Tokenroute => sampling.seed(),
            _ => call_seed.into(),
        };
        let fields = match self {
            Api::Sglang => &mut body["sampling_params"],
            _ => body,
        };
        fields["temperature"] = json!(sampling.temperature());
        fields["top_p"] = json!(sampling.top_p());
        let others = match self {
            Api::Tokenroute | Api::OpenAi => json!({"seed": seed}),
            Api::Vllm => json!({"seed": seed, "top_k": -1, "min_p": 0.0}),
            Api::Sglang => json!({"sampling_seed": seed, "top_k": -1, "min_p": 0.0}),
            // By default it applies top-p before the temperature.
            Api::LlamaCpp => json!({
                "seed": seed, "top_k": 0, "min_p": 0.0, "samplers": ["temperature", "top_p"],
            }),
        };
        for (name, value) in others.as_object().into_iter().flatten() {
            fields[name] = value.clone();
        }
    }
}
