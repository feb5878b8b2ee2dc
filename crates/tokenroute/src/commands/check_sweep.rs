//! `tokenroute check-sweep`: compares the exact sweep with brute-force decoding, token by
//! token.

use anyhow::{Context, Result, ensure};
use tokenroute_core::{Curve, Progress, Scorer, Tau, TokenId};
use tokenroute_lab::chain::{Asked, Chain};
use tokenroute_report::{CostSummary, GRID_POINTS};
use tokenroute_runtime::{DEFAULT_BATCH, Pair, decode};
use tokenroute_sweep::{SweepCost, SweepOptions, SweptQuestion};

use crate::args::CheckSweep;
use crate::output;
use crate::progress::Terminal;

/// The compared values of τ: both ends, exact scores with their next floats, and a grid.
const TAUS: usize = 21;
const EXACT_SCORES: usize = 7;

/// Fails at the first different token.
pub fn run(args: &CheckSweep, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?;
    chain.pair()?;
    let asked = chain.questions("test")?;
    ensure!(
        (1..=asked.questions.len()).contains(&args.questions),
        "--questions is {}; expected 1 to {}",
        args.questions,
        asked.questions.len()
    );
    if !args.baselines {
        let (scorer, _) = chain.router()?;
        return output::line(&check(&chain, &scorer, &asked, args.questions, progress)?);
    }
    for (name, scorer) in chain.policies_by_token()? {
        let checked = check(&chain, scorer.as_ref(), &asked, args.questions, progress)
            .with_context(|| format!("policy {name:?}"))?;
        output::line(&format!("{name}: {checked}"))?;
    }
    Ok(())
}

/// Compares the sweep of one policy over the first questions, and says what it found.
fn check(
    chain: &Chain<'_>,
    scorer: &dyn Scorer,
    asked: &Asked,
    count: usize,
    progress: &Terminal,
) -> Result<String> {
    let cloud = chain.cloud()?;
    let options = SweepOptions { keep_leaves: true, ..Default::default() };
    progress.begin("sweep", count as u64, "questions");
    let swept = chain.sweep_part(&chain.pair()?.slm, &*cloud, scorer, asked, 0..count, &options)?;
    let taus = taus(&swept);
    progress.begin("brute force", taus.len() as u64, "values of τ");
    let requests = chain.requests(asked, 0..count);
    let pair = Pair::new(&chain.pair()?.slm, &*cloud, &chain.slm().vocabulary);
    let mut tokens = 0;
    for &tau in &taus {
        let traces = decode(pair, scorer, tau, &requests, DEFAULT_BATCH)?;
        for ((trace, question), request) in traces.iter().zip(&swept).zip(&requests) {
            let ids: Vec<TokenId> = trace.ids().collect();
            let leaf = question.leaves.iter().find(|l| {
                (l.above < tau.get() || (tau.get() == 0.0 && l.above == 0.0)) && tau.get() <= l.upto
            });
            let same = leaf.is_some_and(|l| l.tokens == ids);
            let piece = question.curve.at(tau);
            // A curve counts the positions of offloaded tokens. An LLM that checks every token
            // reads more.
            let read = scorer.needs_llm() || u64::from(piece.llm_positions) == trace.llm_positions;
            ensure!(
                same && piece.offloaded as usize == trace.offloaded() && read,
                "question {} differs at τ = {tau}: decoding gave {ids:?}, {} of them \
                 offloaded, {} LLM positions",
                request.question,
                trace.offloaded(),
                trace.llm_positions
            );
            tokens += ids.len();
        }
        progress.advance(1);
    }
    progress.finish();
    let cost: SweepCost = swept.iter().map(|s| s.cost).sum();
    let curves: Vec<_> = swept.iter().map(|s| s.curve.clone()).collect();
    let line = CostSummary::of(&cost, &Curve::of(&curves));
    Ok(format!(
        "{count} questions at {} values of τ, {tokens} tokens: all equal; cost_ratio {:.2}, a grid \
         of {GRID_POINTS} values costs {:.2}",
        taus.len(),
        line.cost_ratio,
        line.grid_cost_ratio
    ))
}

fn taus(swept: &[SweptQuestion]) -> Vec<Tau> {
    let mut scores: Vec<f64> =
        swept.iter().flat_map(|s| &s.leaves).flat_map(|l| l.scores.iter().copied()).collect();
    scores.sort_unstable_by(f64::total_cmp);
    scores.dedup();
    let mut values = vec![0.0, 1.0];
    for i in 0..EXACT_SCORES.min(scores.len()) {
        let score = scores[(2 * i + 1) * scores.len() / (2 * EXACT_SCORES)];
        values.extend([score, score.next_up()]);
    }
    let rest = TAUS.saturating_sub(values.len());
    values.extend((1..=rest).map(|i| i as f64 / (rest + 1) as f64));
    values.into_iter().filter_map(|v| Tau::new(v).ok()).collect()
}
