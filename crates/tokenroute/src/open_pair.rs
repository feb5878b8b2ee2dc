//! Opens a pair from the command's arguments.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokenroute::{ApiKey, Budget, Policy, RoutedPair, RoutedPairBuilder, Sampling, Tau, Wait};
use tokenroute_core::{LanguageModel, Progress};
use tokenroute_llm::CLOUD_KEY;
use tokenroute_llm::http::{HttpConfig, SpendLimit, TextApi};

use crate::args::{Drawing, Remote, Routing};
use crate::output;

/// More tokens than an answer has.
const REST: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("positive");

/// Opens the pair of the arguments. An unreachable server causes a warning. The pair's own
/// policy has the τ of `--offload`.
pub fn open(
    slm: &Path,
    routing: &Routing,
    policy: Policy,
    separator: Option<&str>,
    progress: &dyn Progress,
) -> Result<RoutedPair> {
    let mut builder = RoutedPair::builder(slm)
        .policy(policy)
        .kv(routing.kv.kv)
        .device(routing.place.device)
        .progress(progress);
    if let Some(separator) = separator {
        builder = builder.separator(separator.replace("\\n", "\n"));
    }
    if let Some(format) = routing.quantize {
        builder = builder.quantize(format);
    }
    if let Some(format) = routing.llm_quantize {
        builder = builder.llm_quantize(format);
    }
    if let Some(device) = routing.llm_device {
        builder = builder.llm_device(device);
    }
    if let Some(llm) = &routing.llm {
        builder = builder.llm(llm).through_text(routing.through_text);
        if let Some(url) = HttpConfig::url_of(llm) {
            builder = remote(builder, url, &routing.remote)?;
        }
    }
    if let Some(router) = &routing.router {
        builder = builder.router(router).handoff(routing.handoff);
    }
    if let Some(share) = routing.offload {
        builder = builder.offload(share);
    }
    let pair = builder.open()?;
    if let Some(share) = routing.offload {
        let tau = pair.decoding().policy.tau;
        progress.note(&format!("τ is {tau}, for an offload ratio of at most {share}"));
    }
    let context = pair.slm().decoder.info().context;
    if let Some(theirs) = pair.server_context().filter(|&theirs| theirs < context) {
        output::warn(&format!(
            "the LLM reads {theirs} tokens and the small model {context}; after {theirs} tokens of prompt and answer the small model decodes alone"
        ));
    }
    if let Some(error) = pair.unreachable() {
        output::warn(&format!("{error}; the small model decodes alone until the server is back"));
    }
    Ok(pair)
}

fn remote<'p>(
    mut builder: RoutedPairBuilder<'p>,
    url: &str,
    remote: &Remote,
) -> Result<RoutedPairBuilder<'p>> {
    builder = builder
        .llm_deadline(Duration::from_millis(remote.llm_deadline))
        .llm_http2(remote.llm_http2);
    if let Some(key) = ApiKey::from_env(CLOUD_KEY)? {
        if HttpConfig::exposes_key(url) {
            output::warn(&format!(
                "the key goes to {url} over plain HTTP, so that others on the way can read it; use https, or a tunnel"
            ));
        }
        builder = builder.llm_key(key);
    }
    if let Some(api) = &remote.llm_api {
        builder = match TextApi::named(api) {
            Some(api) => builder.llm_text_api(api),
            None => builder.llm_api(api.parse()?),
        };
    }
    if let (Some(most), Some(prices)) = (remote.max_spend, remote.llm_prices) {
        builder = builder.llm_spend(SpendLimit { prices, most });
    }
    if let Some(name) = &remote.llm_model {
        builder = builder.llm_model(name);
    }
    if let Some(after) = remote.llm_hedge {
        builder = builder.llm_hedge(Duration::from_millis(after));
    }
    if let Some(file) = &remote.llm_ca {
        builder = builder.llm_authority(file);
    }
    if let Some(file) = &remote.llm_cache {
        builder = builder.llm_cache(file);
    }
    Ok(builder)
}

/// The policy of the arguments.
pub fn policy(routing: &Routing, drawing: Option<&Drawing>) -> Result<Policy> {
    let tau = routing.tau.unwrap_or(Tau::SLM_ONLY);
    let waiting = &routing.waiting;
    let wait = match (waiting.speculate, waiting.relay) {
        (Some(branches), _) => Wait::Speculate { branches, max_ahead: waiting.max_ahead },
        (None, Some(tokens)) => Wait::Relay { tokens },
        // All tokens after the first are the LLM's too, so that they may come in one call.
        (None, None) if routing.handoff => Wait::Relay { tokens: REST },
        (None, None) => Wait::Block,
    };
    let sampling = match drawing {
        Some(drawing) => Sampling::new(drawing.temperature, drawing.top_p, drawing.seed)?,
        None => None,
    };
    Ok(Policy {
        tau,
        wait,
        deadline: waiting.deadline.map(Duration::from_millis),
        budget: waiting.max_offload.map_or(Ok(Budget::ALL), Budget::new)?.over_answers(),
        lookahead: waiting.lookahead,
        max_extra: waiting.max_extra_calls,
        warm: waiting.warm,
        sampling,
        listed: None,
        strict: false,
    })
}

/// Prints the sampling, and a note that τ holds for greedy decoding only.
pub fn note_sampling(policy: &Policy, progress: &dyn Progress) {
    if let Some(sampling) = policy.sampling {
        progress.note(&format!("{sampling}: {}", Sampling::NOTE));
    }
}
