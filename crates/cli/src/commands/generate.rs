//! `tokenroute generate`: decode with one model alone, or with a routed pair.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokenroute_cloud::http::{Http, Traffic};
use tokenroute_core::{Cause, LanguageModel, Progress, Question, TokenId, Trace, grade};
use tokenroute_edge::{LoadedModel, RouterScorer};
use tokenroute_runtime::{Calls, DEFAULT_BATCH, Pair, Policy, Request, Wait, decode_with, greedy};

use crate::args::Generate;
use crate::llm::{CONNECTIONS, Opened};
use crate::{llm, output, source};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    offload: Option<f64>,
    /// Calls to the LLM, and the positions that it processed for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_positions: Option<u64>,
    /// Tokens of the SLM that stand where the LLM could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace>,
}

/// Decodes every prompt and prints the answers.
pub fn run(args: &Generate, progress: &dyn Progress) -> Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens is 0; expected at least 1");
    match (&args.model, &args.slm, &args.llm, &args.router, &args.tau) {
        (Some(model), ..) => alone(args, &source::load(model, 8, args.quantize, progress)?),
        (None, Some(slm), Some(llm), Some(router), Some(tau)) => {
            let policy = llm::policy(tau.parse()?, &args.waiting)?;
            let mut scorer = RouterScorer::open(router)?;
            let top_k = scorer.header().features.top_k.max(8);
            let slm = source::load(slm, top_k, args.quantize, progress)?;
            scorer.share_threads(&slm.decoder);
            let wanted = llm::Wanted { remote: &args.remote, quantize: args.llm_quantize, top_k };
            let llm = llm::open(llm, &wanted, &slm, progress)?;
            routed(args, &slm, &llm, &scorer, policy, progress)
        }
        _ => bail!("give --model, or all of --slm, --llm, --router and --tau"),
    }
}

fn alone(args: &Generate, model: &LoadedModel) -> Result<()> {
    let prompts = prompts(args, model)?;
    let ids: Vec<&[TokenId]> = prompts.iter().map(|p| &p.ids[..]).collect();
    let answers = greedy(&model.decoder, &model.vocabulary, &ids, args.max_tokens)?;
    for (prompt, tokens) in prompts.iter().zip(answers) {
        show(args, &answer(model, prompt, tokens, None)?)?;
    }
    Ok(())
}

fn routed(
    args: &Generate,
    slm: &LoadedModel,
    opened: &Opened,
    scorer: &RouterScorer,
    policy: Policy,
    progress: &dyn Progress,
) -> Result<()> {
    scorer.check(slm.decoder.info(), slm.vocabulary.hash())?;
    let prompts = prompts(args, slm)?;
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .map(|p| Request {
            question: p.question.as_ref().map_or("", |q| &q.id),
            prompt: &p.ids,
            max_tokens: args.max_tokens,
        })
        .collect();
    let pair = Pair::new(&slm.decoder, &*opened.llm, &slm.vocabulary);
    let ahead = matches!(policy.wait, Wait::Speculate { .. });
    let calls = match opened.http.is_some() {
        true => Some(Calls { threads: CONNECTIONS, together: 1 }),
        // In process the LLM takes the processor from the SLM; lockstep is best.
        false => ahead.then_some(Calls { threads: 1, together: DEFAULT_BATCH }),
    };
    let mut heard = |_: usize, _: &_| {};
    let traces = decode_with(pair, scorer, policy, calls, &requests, DEFAULT_BATCH, &mut heard)?;
    progress.note(&costs(&traces, opened.http.as_ref().map(Http::traffic)));
    warn_of_degraded(&traces);
    for (prompt, trace) in prompts.iter().zip(traces) {
        let tokens = trace.ids().collect();
        show(args, &answer(slm, prompt, tokens, Some(trace))?)?;
    }
    Ok(())
}

/// What was offloaded and what it cost, in one line.
fn costs(traces: &[Trace], traffic: Option<Traffic>) -> String {
    let sum = |of: fn(&Trace) -> u64| traces.iter().map(of).sum::<u64>();
    let tokens = sum(|t| t.tokens.len() as u64);
    let offloaded = sum(|t| t.offloaded() as u64);
    let share = 100.0 * offloaded as f64 / tokens.max(1) as f64;
    let mut line = format!(
        "{offloaded} of {tokens} tokens offloaded ({share:.1}%), {} LLM calls, {} LLM positions",
        sum(|t| t.llm_calls),
        sum(|t| t.llm_positions),
    );
    for (count, what) in [
        (sum(|t| t.waits), "serial waits"),
        (sum(|t| t.wasted_calls), "calls wasted"),
        (sum(|t| t.wasted_positions), "LLM positions wasted"),
        (sum(|t| t.speculated), "SLM positions speculated"),
        (sum(|t| t.rolled_back), "of them rolled back"),
        (sum(|t| t.relayed), "tokens relayed"),
        (sum(|t| t.held), "tokens held by the budget"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if let Some(Traffic { requests, hedges, bytes_up, bytes_down }) = traffic {
        line += &format!(
            ", {requests} requests ({hedges} hedged), {bytes_up} bytes up, {bytes_down} bytes down"
        );
    }
    line
}

/// Says how many tokens the LLM should have made and did not, by cause.
fn warn_of_degraded(traces: &[Trace]) {
    let mut causes: BTreeMap<Cause, usize> = BTreeMap::new();
    for cause in traces.iter().flat_map(|t| &t.tokens).filter_map(|t| t.cause) {
        *causes.entry(cause).or_default() += 1;
    }
    if causes.is_empty() {
        return;
    }
    let all: usize = traces.iter().map(|t| t.tokens.len()).sum();
    let degraded: usize = causes.values().sum();
    let causes: Vec<String> = causes.iter().map(|(cause, n)| format!("{cause:?} {n}")).collect();
    let causes = causes.join(", ");
    output::warn(&format!(
        "{degraded} of {all} tokens are the small model's because the LLM gave none: {causes}"
    ));
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
    trace: Option<Trace>,
) -> Result<Answer> {
    let ended = tokens.last().is_some_and(|&last| model.vocabulary.is_end(last));
    let text = model.tokenizer.decode(&tokens[..tokens.len() - usize::from(ended)])?;
    Ok(Answer {
        id: prompt.question.as_ref().map(|q| q.id.clone()),
        prompt: prompt.ids.clone(),
        correct: prompt.question.as_ref().map(|q| grade(q, &text)),
        offload: trace.as_ref().map(|t| t.offloaded() as f64 / t.tokens.len().max(1) as f64),
        llm_calls: trace.as_ref().map(|t| t.llm_calls),
        llm_positions: trace.as_ref().map(|t| t.llm_positions),
        degraded: trace.as_ref().map(Trace::degraded),
        text,
        tokens,
        trace,
    })
}

fn show(args: &Generate, answer: &Answer) -> Result<()> {
    if args.json { output::json(answer) } else { output::line(&answer.text) }
}
