//! `tokenroute generate`: decode with one model alone, or with a routed pair.

use std::io::stdout;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokenroute_core::{
    Llm, Progress, Question, Sampling, Scorer, TokenId, Trace, TraceToken, grade,
};
use tokenroute_model::LoadedModel;
use tokenroute_runtime::{
    Absent, DEFAULT_BATCH, KeepAll, Pair, Policy, Request, Wait, decode_with,
};

use crate::args::Generate;
use crate::llm::Large;
use crate::painter::{Look, Painter};
use crate::{llm, output, source, spent};

/// A prompt and, where it comes from a data set, its question.
struct Prompt {
    question: Option<Question>,
    ids: Vec<TokenId>,
}

#[derive(Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    prompt: Vec<TokenId>,
    text: String,
    tokens: Vec<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    /// How its tokens were drawn, and what does not hold for it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offload: Option<f64>,
    /// Calls to the LLM, and the positions that it processed for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_positions: Option<u64>,
    /// What crossed the network for them; absent where the LLM is in process.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    /// Tokens of the SLM that stand where the LLM could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace>,
}

/// Decodes every prompt and prints the answers.
pub fn run(args: &Generate, progress: &dyn Progress) -> Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens is 0; expected at least 1");
    let mut policy = llm::policy(&args.routing)?;
    policy.sampling = llm::sampling(&args.drawing)?;
    let (slm, large) = match (&args.model, &args.slm) {
        (Some(model), _) => (source::load(model, 8, args.routing.quantize, progress)?, None),
        (None, Some(slm)) => {
            let (slm, large) = llm::load(slm, &args.routing, progress)?;
            let large = large.context("give all of --slm, --llm, --router and --tau")?;
            (slm, Some(large))
        }
        (None, None) => bail!("give --model, or all of --slm, --llm, --router and --tau"),
    };
    llm::note_sampling(&policy, progress);
    decode(args, &slm, large.as_ref(), policy, progress)
}

/// Decodes with the pair, or with one model alone.
fn decode(
    args: &Generate,
    slm: &LoadedModel,
    large: Option<&Large>,
    policy: Policy,
    progress: &dyn Progress,
) -> Result<()> {
    let prompts = prompts(args, slm)?;
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .map(|p| Request {
            question: p.question.as_ref().map_or("", |q| &q.id),
            prompt: &p.ids,
            max_tokens: args.max_tokens,
        })
        .collect();
    let (llm, scorer): (&dyn Llm, &dyn Scorer) = match large {
        Some(large) => (&*large.opened.llm, &large.scorer),
        None => (&Absent, &KeepAll),
    };
    let pair = Pair::new(&slm.decoder, llm, &slm.vocabulary);
    let remote = large.is_some_and(|large| large.opened.http.is_some());
    let ahead = matches!(policy.wait, Wait::Speculate { .. });
    let calls = match remote {
        true => Some(llm::OVER_HTTP),
        // In process the LLM takes the processor from the SLM; lockstep is best.
        false => ahead.then_some(llm::IN_PROCESS),
    };
    // One answer is shown as it grows.
    let shown = !args.json && prompts.len() == 1;
    let mut painter = Painter::new(stdout(), Look::of_stdout(), slm);
    let mut heard = |_: usize, token: &TraceToken| {
        if shown {
            painter.token(token);
        }
    };
    // What an answer leaves of the budget is the next one's.
    let batch = if policy.budget.carries() { 1 } else { DEFAULT_BATCH };
    let traces = decode_with(pair, scorer, policy, calls, &requests, batch, &mut heard)?;
    if shown {
        painter.end()?;
    }
    if let Some(large) = large {
        progress.note(&spent::costs(&traces, large.opened.traffic()));
        spent::warn_of_degraded(&traces);
    }
    if shown {
        return Ok(());
    }
    for (prompt, trace) in prompts.iter().zip(traces) {
        let tokens = trace.ids().collect();
        let trace = large.is_some().then_some(trace);
        show(args, &answer(slm, prompt, tokens, policy.sampling, trace, remote)?)?;
    }
    Ok(())
}

fn prompts(args: &Generate, model: &LoadedModel) -> Result<Vec<Prompt>> {
    if let Some(path) = &args.questions {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the questions {}", path.display()))?;
        return text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let place = || format!("line {} of {}", i + 1, path.display());
                let question: Question = serde_json::from_str(line).with_context(place)?;
                question.check().with_context(place)?;
                let ids = model.tokenizer.encode_prompt(&question.prompt())?;
                Ok(Prompt { question: Some(question), ids })
            })
            .collect();
    }
    let ids = match (&args.ids, &args.text) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => model.tokenizer.encode_prompt(&text.replace("\\n", "\n"))?,
        (None, None) => Vec::new(),
    };
    ensure!(!ids.is_empty(), "the prompt has no tokens; give at least one");
    Ok(vec![Prompt { question: None, ids }])
}

fn answer(
    model: &LoadedModel,
    prompt: &Prompt,
    tokens: Vec<TokenId>,
    sampling: Option<Sampling>,
    trace: Option<Trace>,
    remote: bool,
) -> Result<Answer> {
    let ended = tokens.last().is_some_and(|&last| model.vocabulary.is_end(last));
    let text = model.tokenizer.decode(&tokens[..tokens.len() - usize::from(ended)])?;
    let bytes = trace.as_ref().filter(|_| remote).map(|t| t.bytes);
    Ok(Answer {
        id: prompt.question.as_ref().map(|q| q.id.clone()),
        prompt: prompt.ids.clone(),
        correct: prompt.question.as_ref().map(|q| grade(q, &text)),
        sampling,
        note: sampling.map(|_| Sampling::NOTE),
        offload: trace.as_ref().map(|t| t.offloaded() as f64 / t.tokens.len().max(1) as f64),
        llm_calls: trace.as_ref().map(|t| t.llm_calls),
        llm_positions: trace.as_ref().map(|t| t.llm_positions),
        bytes_up: bytes.map(|b| b.up),
        bytes_down: bytes.map(|b| b.down),
        degraded: trace.as_ref().map(Trace::degraded),
        text,
        tokens,
        trace,
    })
}

fn show(args: &Generate, answer: &Answer) -> Result<()> {
    if args.json { output::json(answer) } else { output::line(&answer.text) }
}
