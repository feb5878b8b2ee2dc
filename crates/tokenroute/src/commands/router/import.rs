//! `tokenroute router import`: a published head as a router file.

use anyhow::{Result, ensure};
use tokenroute::load_options;
use tokenroute_core::Progress;
use tokenroute_hub::local;
use tokenroute_model::{LoadOptions, ModelCard, files_hash};
use tokenroute_store::{PublishedHead, TokenEmbedding, sha256_file};

use crate::args::RouterImport;
use crate::output;

/// Reads the head, checks it against the small model and writes the router file.
pub fn run(args: &RouterImport, progress: &dyn Progress) -> Result<()> {
    let path = local(&args.slm, progress)?;
    let card = ModelCard::read(&path)?;
    let embedding = || {
        let (width, values) = (card.config.hidden_size, card.token_embedding()?);
        Ok::<_, anyhow::Error>(TokenEmbedding { width, values })
    };
    let head = PublishedHead::read(&args.file, args.from, embedding)?;
    let (read, hidden) = (head.features.hidden, card.config.hidden_size);
    ensure!(
        read == hidden,
        "{} reads a hidden state of {read} numbers, and {} has {hidden}; expected the small model that the head was trained for",
        args.file.display(),
        args.slm.display(),
    );
    let options = load_options(&args.slm, 8, args.quantize);
    let options = LoadOptions { kv: args.kv.kv, device: args.place.device, ..options };
    let hash = files_hash(&path, |file| anyhow::Ok(sha256_file(file)?))?;
    let info = card.info(&options, &hash);
    let mut router = head.router(&info, card.vocabulary.hash());
    router.header.full_precision = !args.eight_bits;
    router.write(&args.out)?;
    output::line(&format!(
        "{}: {} weights on {} features; it has no calibration, so give --tau",
        output::shown(&args.out),
        router.header.parameters(),
        router.header.features.width()
    ))
}
