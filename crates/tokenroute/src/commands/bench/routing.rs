//! Measures the time that a router adds to a decoding step: the same step with and without
//! it, in turns.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokenroute_core::{Detail, Feed, LanguageModel, Step, TokenId};
use tokenroute_model::{Decoder, KvState, RouterScorer};

use super::{Spread, prompts};
use crate::args::Bench;

/// Its part of the output of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Routing {
    /// Inputs and outputs of every layer.
    layers: Vec<(usize, usize)>,
    /// Time of one score, features included.
    score_microseconds: Spread,
    /// Time of one step that gives only the next token.
    step_microseconds: Spread,
    /// Time that features and score add to such a step, as a share of it.
    adds: Spread,
}

/// Decodes one sequence. Every other step also gives features and is scored.
pub(super) fn measure(decoder: &Decoder, file: &Path, args: &Bench) -> Result<Routing> {
    let mut router = RouterScorer::open(file)?;
    router.share_threads(decoder);
    let (spec, info) = (&router.header().features, decoder.info());
    ensure!(
        spec.reads_hidden() == info.hidden && spec.top() <= info.top_k,
        "{} reads a hidden state of {} and the {} likeliest tokens; expected {} and at most {}, \
         those of {}",
        file.display(),
        spec.reads_hidden(),
        spec.top(),
        info.hidden,
        info.top_k,
        info.name,
    );
    let layers = router.header().architecture.layers(spec.width());
    let mut figures = [const { Vec::new() }; 3];
    for turn in 0..=args.repeat {
        let measured = run(decoder, &router, args.decode)?;
        // The first step is a warm-up.
        if turn > 0 {
            figures.iter_mut().zip(measured).for_each(|(all, one)| all.push(one));
        }
    }
    let [score, step, adds] = figures.map(Spread::of);
    Ok(Routing { layers, score_microseconds: score, step_microseconds: step, adds })
}

/// Medians of one run: of a score, of a step, and of the added time.
fn run(decoder: &Decoder, router: &RouterScorer, tokens: usize) -> Result<[f64; 3]> {
    let mut state = decoder.start();
    let prompt = prompts(decoder, 1).concat();
    let mut next = step(decoder, &mut state, &prompt, Detail::Token)?.token;
    let [mut plain, mut routed, mut scores] = [const { Vec::new() }; 3];
    for _ in 0..tokens {
        let begun = Instant::now();
        next = step(decoder, &mut state, &[next], Detail::Token)?.token;
        plain.push(begun.elapsed().as_secs_f64());

        let begun = Instant::now();
        let full = step(decoder, &mut state, &[next], Detail::Full)?;
        let stepped = begun.elapsed().as_secs_f64();
        router.score_step(&full)?;
        let both = begun.elapsed().as_secs_f64();
        next = full.token;
        routed.push(both);
        scores.push(both - stepped);
    }
    let [plain, routed, scores] = [plain, routed, scores].map(|times| Spread::of(times).median);
    Ok([1e6 * scores, 1e6 * plain, routed / plain - 1.0])
}

fn step(
    decoder: &Decoder,
    state: &mut KvState,
    tokens: &[TokenId],
    detail: Detail,
) -> Result<Step> {
    let mut feeds = [Feed { state, tokens, from: tokens.len() - 1 }];
    let steps = decoder.advance(&mut feeds, detail)?.pop();
    steps.and_then(|mut steps| steps.pop()).context("the decoder gave no step for a token")
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<String> =
            self.layers.iter().map(|(inputs, outputs)| format!("{inputs} x {outputs}")).collect();
        let (score, adds) = (&self.score_microseconds, &self.adds);
        write!(
            f,
            "router of {}: {:.0} µs a score ({:.0} to {:.0}), adds {:.2}% to a step ({:.2} to {:.2})",
            layers.join(", "),
            score.median,
            score.least,
            score.most,
            100.0 * adds.median,
            100.0 * adds.least,
            100.0 * adds.most,
        )
    }
}
