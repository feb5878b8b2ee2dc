//! `tokenroute serve`: serves a routed pair, or a small model alone, over the OpenAI API,
//! with a page to try it.

use std::time::Duration;

use anyhow::Result;
use tokenroute::{ApiKey, short_name};
use tokenroute_core::Progress;
use tokenroute_llm::http::HttpConfig;
use tokenroute_server::net::check_bind;
use tokenroute_server::routed::{RoutedService, ServeConfig};

use crate::args::Serve;
use crate::commands::memory;
use crate::open_pair::{open, policy};
use crate::output;
use crate::signal::Stop;

/// The environment variable of the clients' API key.
const KEY: &str = "TOKENROUTE_SERVE_KEY";

/// Serves until Ctrl-C or SIGTERM.
pub fn run(args: &Serve, progress: &dyn Progress) -> Result<()> {
    let key = ApiKey::from_env(KEY)?;
    check_bind(args.bind, key.as_ref())?;
    let policy = policy(&args.routing, None)?;
    let (place, llm_place) = (args.routing.place.device, args.routing.llm_device);
    let mut models = vec![(args.slm.as_path(), args.routing.quantize, place)];
    let llm = args.routing.llm.as_deref().filter(|llm| HttpConfig::url_of(llm).is_none());
    models.extend(llm.map(|llm| (llm, args.routing.llm_quantize, llm_place.unwrap_or_default())));
    let weights = memory::check(args.memory, &models, args.routing.kv.kv, progress)?;
    let pair = open(&args.slm, &args.routing, policy, args.separator.as_deref(), progress)?;
    let policy = pair.decoding().policy;
    let name = args.name.clone().unwrap_or_else(|| short_name(&args.slm));
    let served = pair.into_served(&name)?;
    let config = ServeConfig {
        policy,
        sessions: args.sessions,
        queue: args.queue,
        allow_special_tokens: args.allow_special_tokens,
        prompt_tokens: args.max_prompt,
        max_tokens: args.max_tokens,
        time: Duration::from_secs(args.time),
        prefill: args.prefill,
        kept_positions: args.kept_positions,
        memory: memory::limit(args.memory, weights),
        ..ServeConfig::default()
    };
    let stop = Stop::listen()?;
    let server = RoutedService::new(served, key, config).start(args.bind)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait(|| server.is_alive())?;
    server.stop()?;
    Ok(())
}
