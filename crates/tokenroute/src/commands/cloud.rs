//! `tokenroute cloud`: a checkpoint as the LLM of a pair, over the OpenAI
//! completions API.

use anyhow::Result;
use tokenroute_core::{LanguageModel, Progress, TokenId};
use tokenroute_llm::server::{EngineConfig, Server, Service, Texts, check_bind};
use tokenroute_llm::{ApiKey, CLOUD_KEY};
use tokenroute_model::{LoadOptions, Tokenizer};

use crate::args::Cloud;
use crate::signal::Stop;
use crate::{output, source};

/// Serves until it is interrupted or terminated.
pub fn run(args: &Cloud, progress: &dyn Progress) -> Result<()> {
    let key = ApiKey::from_env(CLOUD_KEY)?;
    check_bind(args.bind, key.as_ref())?;
    let model = source::load(&args.model, LoadOptions::default().top_k, args.quantize, progress)?;
    // Clients keep answers by this name, so it changes with the weights.
    let hash = &model.decoder.info().weights_hash;
    let (hash, format) = hash.split_at(hash.find('+').unwrap_or(hash.len()));
    let hash = hash.get(..12).unwrap_or_default();
    let name = format!("{}@{hash}{format}", source::called(&args.model));
    let stop = Stop::listen()?;
    let config = EngineConfig {
        batch: args.batch,
        kept_positions: args.kept_positions,
        ..EngineConfig::default()
    };
    let texts = Box::new(Served(model.tokenizer));
    let service = Service::new(name.clone(), model.decoder, model.vocabulary, texts, key, config);
    let server = Server::start(args.bind, &service)?;
    output::line(&format!("{name} at http://{}", server.address()))?;
    stop.wait();
    server.stop()?;
    Ok(())
}

/// The model's tokenizer as the server sees it.
struct Served(Tokenizer);

impl Texts for Served {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        self.0.encode_prompt(text).map_err(|error| error.to_string())
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, String> {
        self.0.decode(ids).map_err(|error| error.to_string())
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        self.0.token_text(id).map_err(|error| error.to_string())
    }
}
