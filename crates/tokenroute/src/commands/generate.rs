//! `tokenroute generate`: decodes with one model alone, or with a routed pair.

use std::io::stdout;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokenroute::{RoutedPair, TokenStream};
use tokenroute_core::{
    LanguageModel, Progress, Question, Sampling, TokenId, Trace, TraceToken, grade,
};
use tokenroute_model::LoadedModel;
use tokenroute_runtime::{Policy, Request};

use crate::args::Generate;
use crate::open_pair::{note_sampling, open, policy};
use crate::token_printer::{Look, TokenPrinter};
use crate::{cost_line, output};

/// A prompt, with its question if it is from a data set.
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
    /// The sampling, and the note that belongs to it.
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
    /// Bytes sent and received for them. Absent if the LLM is in process.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    /// SLM tokens that were kept because the LLM gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace>,
}

/// Decodes every prompt and prints the answers.
pub fn run(args: &Generate, progress: &dyn Progress) -> Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens is 0; expected at least 1");
    let policy = policy(&args.routing, Some(&args.drawing))?;
    let named = args.model.as_ref().or(args.slm.as_ref());
    let named =
        named.context("give --model, or all of --slm, --llm, --router, and --tau or --offload")?;
    let pair = open(named, &args.routing, policy, args.separator.as_deref(), progress)?;
    let policy = pair.decoding().policy;
    note_sampling(&policy, progress);
    decode(args, &pair, policy, progress)
}

/// Decodes with the pair, or with one model alone.
fn decode(
    args: &Generate,
    pair: &RoutedPair,
    policy: Policy,
    progress: &dyn Progress,
) -> Result<()> {
    let slm = pair.slm();
    let (prompts, mut without) = prompts(args, pair)?;
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .map(|p| {
            let question = p.question.as_ref().map_or("", |q| &q.id);
            let max_tokens = args.max_tokens.min(pair.room_after(&p.ids)?);
            Ok(Request { question, prompt: &p.ids, max_tokens })
        })
        .collect::<Result<_>>()?;
    // A single answer is printed as it is decoded, unless text may still be cut off.
    let shown = !args.json && prompts.len() == 1 && args.separator.is_none();
    let stream = TokenStream::new(slm, args.max_tokens);
    let mut printer = TokenPrinter::new(stdout(), Look::of_stdout(), stream);
    let mut heard = |_: usize, token: &TraceToken| {
        if shown {
            printer.token(token);
        }
    };
    let results = pair.answer_each(&requests, policy, &mut heard)?;
    if shown {
        printer.end()?;
    }
    let (mut answered, mut traces) = (Vec::new(), Vec::new());
    for (prompt, result) in prompts.iter().zip(results) {
        match (result, &prompt.question) {
            (Ok(trace), _) => {
                answered.push(prompt);
                traces.push(trace);
            }
            (Err(error), Some(question)) => {
                output::warn(&format!("question {:?} has no answer: {error}", question.id));
                without += 1;
            }
            (Err(error), None) => return Err(error.into()),
        }
    }
    if pair.is_routed() {
        progress.note(&cost_line::costs(&traces, pair.traffic()));
        if let Some(bill) = pair.bill() {
            progress.note(&bill.to_string());
        }
        cost_line::warn_of_degraded(&traces);
    }
    let all = answered.len() + without;
    for (prompt, trace) in answered.into_iter().zip(traces).filter(|_| !shown) {
        let tokens = trace.ids().collect();
        let trace = pair.is_routed().then_some(trace);
        show(args, &answer(slm, prompt, tokens, policy.sampling, trace, pair.is_remote())?)?;
    }
    ensure!(without == 0, "{without} of {all} questions have no answer; the warnings name them");
    Ok(())
}

/// The prompts, and how many questions are too long to be one. A warning names each of those.
fn prompts(args: &Generate, pair: &RoutedPair) -> Result<(Vec<Prompt>, usize)> {
    let model = pair.slm();
    if let Some(path) = &args.questions {
        let mut without = 0;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the questions {}", path.display()))?;
        let prompts = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let place = || format!("line {} of {}", i + 1, path.display());
                let question: Question = serde_json::from_str(line).with_context(|| {
                    format!("{} is not a question in CommonsenseQA's schema", place())
                })?;
                question.check().with_context(place)?;
                ensure!(
                    !question.grader.is_asked(),
                    "{}, question {:?}, has a grader that only experiments ask, `command` or `judge`",
                    place(),
                    question.id
                );
                let text = question.prompt();
                let special = model.tokenizer.special_token_in(&text);
                if let Some(token) = special.filter(|_| !args.allow_special_tokens) {
                    bail!("{}, question {:?}, spells the special token {token}, which would become a control token; change it, or give --allow-special-tokens", place(), question.id);
                }
                let ids = pair.text_prompt(&text)?;
                let (tokens, context) = (ids.len(), model.decoder.info().context);
                if tokens > context {
                    output::warn(&format!(
                        "{}, question {:?}, has {tokens} tokens and the model reads {context}, so it has no answer; shorten or remove it",
                        place(),
                        question.id
                    ));
                    without += 1;
                    return Ok(None);
                }
                Ok(Some(Prompt { question: Some(question), ids }))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        return Ok((prompts, without));
    }
    let ids = match (&args.ids, &args.text) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => pair.text_prompt(&text.replace("\\n", "\n"))?,
        (None, None) => Vec::new(),
    };
    ensure!(!ids.is_empty(), "the prompt has no tokens; give at least one");
    Ok((vec![Prompt { question: None, ids }], 0))
}

fn answer(
    model: &LoadedModel,
    prompt: &Prompt,
    tokens: Vec<TokenId>,
    sampling: Option<Sampling>,
    trace: Option<Trace>,
    remote: bool,
) -> Result<Answer> {
    let (text, ended) = model.vocabulary.read(&tokens, |ids| model.tokenizer.decode(ids))?;
    let bytes = trace.as_ref().filter(|_| remote).map(|t| t.bytes);
    Ok(Answer {
        id: prompt.question.as_ref().map(|q| q.id.clone()),
        prompt: prompt.ids.clone(),
        correct: prompt.question.as_ref().map(|q| grade(q, &text, ended)),
        sampling,
        note: sampling.map(|_| Sampling::NOTE),
        offload: trace.as_ref().map(Trace::offload_ratio),
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
