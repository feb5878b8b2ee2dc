//! `tokenroute serve`: a routed pair, or a small model alone, over the OpenAI API,
//! with a page to try it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_hub::local;
use tokenroute_llm::ApiKey;
use tokenroute_model::{ChatTemplate, LoadedModel};
use tokenroute_server::net::check_bind;
use tokenroute_server::routed::{RoutedLlm, RoutedPair, RoutedService, ServeConfig};

use crate::args::Serve;
use crate::signal::Stop;
use crate::{llm, output, source};

/// The environment variable that holds the key that clients give.
const KEY: &str = "TOKENROUTE_SERVE_KEY";

/// Serves until it is interrupted or terminated.
pub fn run(args: &Serve, progress: &dyn Progress) -> Result<()> {
    let key = ApiKey::from_env(KEY)?;
    check_bind(args.bind, key.as_ref())?;
    let policy = llm::policy(&args.routing)?;
    let (slm, large) = llm::load(&args.slm, &args.routing, progress)?;
    let template = ChatTemplate::read(&local(&args.slm, progress)?)?;
    let name = args.name.clone().unwrap_or_else(|| source::called(&args.slm));
    let LoadedModel { decoder, tokenizer, vocabulary } = slm;
    let llm = large.map(routed_llm);
    let pair =
        RoutedPair { name: name.clone(), slm: decoder, vocabulary, tokenizer, template, llm };
    let config = ServeConfig {
        policy,
        sessions: args.sessions,
        queue: args.queue,
        prompt_tokens: args.max_prompt,
        max_tokens: args.max_tokens,
        time: Duration::from_secs(args.time),
        prefill: args.prefill,
        kept_positions: args.kept_positions,
        ..ServeConfig::default()
    };
    let stop = Stop::listen()?;
    let server = RoutedService::new(pair, key, config).start(args.bind)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait();
    server.stop()?;
    Ok(())
}

fn routed_llm(large: llm::Large) -> RoutedLlm {
    let llm::Large { opened, scorer } = large;
    let calls = if opened.http.is_some() { llm::OVER_HTTP } else { llm::IN_PROCESS };
    let bytes = opened.http.map(|http| Arc::new(move || http.traffic().bytes) as _);
    RoutedLlm { llm: opened.llm, scorer: Box::new(scorer), calls, bytes }
}
