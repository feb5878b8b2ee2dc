//! `tokenroute serve`: a routed pair, or a small model alone, over the OpenAI API,
//! with a page to try it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_hub::local;
use tokenroute_llm::ApiKey;
use tokenroute_llm::server::check_bind;
use tokenroute_model::{ChatTemplate, LoadedModel};
use tokenroute_server::{Large, ServeConfig, Served, Service};

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
    let large = large.map(partner);
    let served =
        Served { name: name.clone(), slm: decoder, vocabulary, tokenizer, template, large };
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
    let server = Service::new(served, key, config).start(args.bind)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait();
    server.stop()?;
    Ok(())
}

fn partner(large: llm::Large) -> Large {
    let llm::Large { opened, scorer } = large;
    let calls = if opened.http.is_some() { llm::OVER_HTTP } else { llm::IN_PROCESS };
    let traffic = opened.http.map(|http| Arc::new(move || http.traffic().bytes) as _);
    Large { llm: opened.llm, scorer: Box::new(scorer), calls, traffic }
}
