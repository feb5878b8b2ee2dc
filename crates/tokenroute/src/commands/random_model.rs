//! `tokenroute random-model`: writes a model directory with random weights in a real shape.

use std::io::Write;

use anyhow::{Context, Result};
use tokenroute_model::{RandomModel, Tokenizer};

use crate::args;
use crate::output::whole_file;

/// Optional files that belong to a tokenizer.json.
const BESIDE: [&str; 2] = ["tokenizer_config.json", "chat_template.jinja"];

/// Writes the directory. The weights are written last, so that an incomplete directory does
/// not load.
pub fn run(args: &args::RandomModelArgs) -> Result<()> {
    let mut model = match (&args.shape, &args.config) {
        (Some(shape), _) => RandomModel::named(shape, args.seed)?,
        (None, config) => {
            let config = config.as_deref().context("give --shape or --config")?;
            RandomModel::like(config, args.seed)?
        }
    };
    if let Some(layers) = args.layers {
        model = model.with_layers(layers)?;
    }
    if let (Some(text), Some(path)) = (&args.likely, &args.tokenizer) {
        model = model.with_likely(Tokenizer::read(path)?.encode(text)?);
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let put = |name: &str, bytes: &[u8]| {
        whole_file(&args.out.join(name), |file| Ok(file.write_all(bytes)?))
    };
    put("config.json", &serde_json::to_vec_pretty(model.config())?)?;
    match &args.tokenizer {
        None => put("tokenizer.json", &serde_json::to_vec(&model.tokenizer())?)?,
        Some(path) => {
            let read = |path: &std::path::Path| {
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
            };
            put("tokenizer.json", &read(path)?)?;
            for name in BESIDE {
                let beside = path.with_file_name(name);
                if beside.exists() {
                    put(name, &read(&beside)?)?;
                }
            }
        }
    }
    whole_file(&args.out.join("model.safetensors"), |file| Ok(model.write_weights(file)?))
}
