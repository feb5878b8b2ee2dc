//! `tokenroute serve`: a routed pair, or a small model alone, over the OpenAI API,
//! with a page to try it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokenroute_cloud::server::check_bind;
use tokenroute_core::{LanguageModel, Progress, Tau};
use tokenroute_edge::{ChatTemplate, LoadedModel, RouterScorer};
use tokenroute_runtime::Calls;
use tokenroute_serve::{Large, ServeConfig, Served, Service};

use crate::args::Serve;
use crate::signal::Stop;
use crate::{llm, output, source};

/// The environment variable that holds the key that clients give.
const KEY: &str = "TOKENROUTE_SERVE_KEY";

/// An LLM behind a network answers many at once, each in its own time.
const OVER_HTTP: Calls = Calls { threads: llm::CONNECTIONS, together: 1 };

/// One in process answers a batch at the price of one.
const IN_PROCESS: Calls = Calls { threads: 1, together: 32 };

/// Serves until it is interrupted or terminated.
pub fn run(args: &Serve, progress: &dyn Progress) -> Result<()> {
    let key = llm::key(KEY)?;
    check_bind(args.bind, key.as_ref())?;
    let tau = args.tau.as_deref().map_or(Ok(Tau::SLM_ONLY), str::parse)?;
    let policy = llm::policy(tau, &args.waiting)?;
    let (slm, large) = match (&args.llm, &args.router) {
        (None, None) => (source::load(&args.slm, 8, args.quantize, progress)?, None),
        (Some(llm), Some(router)) => {
            let mut scorer = RouterScorer::open(router)?;
            let top_k = scorer.header().features.top_k.max(8);
            let slm = source::load(&args.slm, top_k, args.quantize, progress)?;
            scorer.check(slm.decoder.info(), slm.vocabulary.hash())?;
            scorer.share_threads(&slm.decoder);
            let wanted = llm::Wanted { remote: &args.remote, quantize: args.llm_quantize, top_k };
            let opened = llm::open(llm, &wanted, &slm, progress)?;
            (slm, Some(large(opened, scorer)))
        }
        _ => bail!("give all of --llm, --router and --tau, or none"),
    };
    let template = ChatTemplate::read(&source::local(&args.slm, progress)?)?;
    let name = args.name.clone().unwrap_or_else(|| source::called(&args.slm));
    let LoadedModel { decoder, tokenizer, vocabulary } = slm;
    let served =
        Served { name: name.clone(), slm: decoder, vocabulary, tokenizer, template, large };
    let config = ServeConfig {
        policy,
        sessions: args.sessions,
        queue: args.queue,
        prompt_tokens: args.max_prompt,
        max_tokens: args.max_tokens,
        time: Duration::from_secs(args.time),
        ..ServeConfig::default()
    };
    let stop = Stop::listen()?;
    let server = Service::new(served, key, config).start(args.bind)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait();
    server.stop()?;
    Ok(())
}

fn large(opened: llm::Opened, scorer: RouterScorer) -> Large {
    let calls = if opened.http.is_some() { OVER_HTTP } else { IN_PROCESS };
    let traffic = opened.http.map(|http| {
        let tell = move || {
            let traffic = http.traffic();
            (traffic.bytes_up, traffic.bytes_down)
        };
        Arc::new(tell) as _
    });
    Large { llm: opened.llm, scorer: Box::new(scorer), calls, traffic }
}
