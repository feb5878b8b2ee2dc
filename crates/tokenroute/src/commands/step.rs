//! `tokenroute step`: prints a model's predictions at every position of a text.

use anyhow::{Result, ensure};
use serde::Serialize;
use tokenroute::{load_named, load_options};
use tokenroute_core::{Detail, Feed, LanguageModel, Progress, Step};
use tokenroute_model::{LoadOptions, Tokenizer};

use crate::args::StepArgs;
use crate::output;

#[derive(Serialize)]
struct Position {
    position: usize,
    input: u32,
    token: u32,
    text: String,
    /// (token, log-probability), best first.
    top: Vec<(u32, f32)>,
    entropy: f32,
    hidden: Vec<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
}

/// Prints one step for every position.
pub fn run(args: &StepArgs, progress: &dyn Progress) -> Result<()> {
    ensure!(args.top_k > 0, "--top-k is 0; expected at least 1");
    let options = load_options(&args.model, args.top_k, args.quantize);
    let options = LoadOptions { kv: args.kv.kv, device: args.place.device, ..options };
    let model = load_named(&args.model, &options, progress)?;
    let ids = match (&args.ids, &args.text) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => model.tokenizer.encode_prompt(&text.replace("\\n", "\n"))?,
        (None, None) => Vec::new(),
    };
    ensure!(!ids.is_empty(), "the input has no tokens; give at least one");
    let from = args.from;
    ensure!(
        from < ids.len(),
        "--from is {from}; expected less than the input's {} tokens",
        ids.len()
    );
    let mut state = model.decoder.start();
    let detail = if args.logits { Detail::Logits } else { Detail::Full };
    let mut feeds = [Feed { state: &mut state, tokens: &ids, from }];
    let steps = model.decoder.advance(&mut feeds, detail)?;
    let mut positions = Vec::new();
    for (i, step) in steps.into_iter().flatten().enumerate() {
        positions.push(position(from + i, ids[from + i], step, &model.tokenizer)?);
    }
    if args.json {
        return output::json(&positions);
    }
    for p in positions {
        output::line(&format!(
            "{:4} {:>6} -> {:>6} {:12} p {:.4} entropy {:.4}",
            p.position,
            p.input,
            p.token,
            format!("{:?}", p.text),
            p.top.first().map_or(0.0, |t| t.1.exp()),
            p.entropy
        ))?;
    }
    Ok(())
}

fn position(i: usize, input: u32, step: Step, tokenizer: &Tokenizer) -> Result<Position> {
    Ok(Position {
        position: i,
        input,
        token: step.token,
        text: tokenizer.token_text(step.token)?,
        top: step.top.iter().map(|&(token, p)| (token, p.ln())).collect(),
        entropy: step.entropy,
        hidden: step.hidden.to_vec(),
        logits: step.logits,
    })
}
