//! `tokenroute cloud`: serves a checkpoint as the LLM of a pair, over the OpenAI
//! completions API.

use anyhow::Result;
use tokenroute::{ApiKey, load_named, load_options, short_name};
use tokenroute_core::{LanguageModel, Progress};
use tokenroute_llm::CLOUD_KEY;
use tokenroute_model::LoadOptions;
use tokenroute_server::completions::{BatchConfig, CompletionService};
use tokenroute_server::net::check_bind;

use crate::args::Cloud;
use crate::commands::memory;
use crate::output;
use crate::signal::Stop;

/// Serves until Ctrl-C or SIGTERM.
pub fn run(args: &Cloud, progress: &dyn Progress) -> Result<()> {
    let key = ApiKey::from_env(CLOUD_KEY)?;
    check_bind(args.bind, key.as_ref())?;
    let device = args.place.device;
    let models = [(args.model.as_path(), args.quantize, device)];
    let weights = memory::check(args.memory, &models, args.kv.kv, progress)?;
    let options = load_options(&args.model, LoadOptions::default().top_k, args.quantize);
    let options = LoadOptions { kv: args.kv.kv, device, ..options };
    let model = load_named(&args.model, &options, progress)?;
    // Clients cache answers under this name, so it must change with the weights.
    let hash = &model.decoder.info().weights_hash;
    let (hash, format) = hash.split_at(hash.find('+').unwrap_or(hash.len()));
    let hash = hash.get(..12).unwrap_or_default();
    let name = format!("{}@{hash}{format}", short_name(&args.model));
    let stop = Stop::listen()?;
    let config = BatchConfig {
        batch: args.batch,
        kept_positions: args.kept_positions,
        memory: memory::limit(args.memory, weights),
        ..BatchConfig::default()
    };
    let texts = Box::new(model.tokenizer);
    let (decoder, vocabulary) = (model.decoder, model.vocabulary);
    let service = CompletionService::new(name.clone(), decoder, vocabulary, texts, key, config);
    let server = service.start(args.bind)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait(|| server.is_alive())?;
    server.stop()?;
    Ok(())
}
