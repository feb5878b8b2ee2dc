//! `tokenroute export`: writes a model as a GGUF file for llama.cpp.

use anyhow::{Context, Result};
use tokenroute_core::Progress;
use tokenroute_hub::local;
use tokenroute_model::ChatTemplate;
use tokenroute_model::export_directory;
use tokenroute_model::gguf::Kind;

use crate::args::Export;
use crate::output;

/// Writes the file.
pub fn run(args: &Export, progress: &dyn Progress) -> Result<()> {
    let kind = Kind::named(&args.kind)?;
    let dir = local(&args.model, progress)?;
    let template = ChatTemplate::read(&dir)?;
    let name = dir.file_name().map(|name| name.to_string_lossy());
    let mut texts = Vec::new();
    texts.extend(name.as_ref().map(|name| ("general.name", &**name)));
    texts.extend(template.as_ref().map(|t| ("tokenizer.chat_template", t.source())));
    output::whole_file(&args.out, |file| Ok(export_directory(&dir, kind, &texts, file)?))
        .with_context(|| format!("cannot export to {}", args.out.display()))
}
