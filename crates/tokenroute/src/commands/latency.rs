//! `tokenroute latency`: measures an experiment's pair behind networks in real time.

use anyhow::{Context, Result, ensure};
use tokenroute_core::{Curve, Tau};
use tokenroute_lab::Chain;
use tokenroute_lab::chain::latency::{SPLIT, StudyPlan, carry_out};
use tokenroute_lab::chain::sweep::ROUTER;
use tokenroute_lab::cpu_pinning::Own;
use tokenroute_report::latency_markdown;
use tokenroute_sweep::latency::{Network, Setting};

use crate::args::Latency;
use crate::output;
use crate::progress::Terminal;

/// Measures, or reads an earlier measurement, and prints it.
pub fn run(args: &Latency, progress: &Terminal) -> Result<()> {
    ensure!(args.questions > 0, "--questions is 0; expected at least 1");
    for (name, values) in [("--round-trips", &args.round_trips), ("--bandwidths", &args.bandwidths)]
    {
        let bad = values.iter().find(|x| !x.is_finite() || **x < 0.0);
        ensure!(bad.is_none(), "{name} has {}; expected 0 or more", bad.unwrap_or(&0.0));
    }
    ensure!(
        (0.0..=60_000.0).contains(&args.step_ms),
        "--step-ms is {}; expected 0 to 60000",
        args.step_ms
    );
    // Must come before any thread starts.
    let own = Own::reserve();
    let chain = args.experiment.open(progress)?;
    let tau = match args.tau {
        Some(tau) => tau,
        None => calibrated(&chain, args.max_offload_ratio)?,
    };
    let setting = Setting {
        split: SPLIT.to_owned(),
        questions: args.questions.min(chain.experiment.data.test),
        max_tokens: chain.experiment.data.max_tokens,
        tau,
        branches: args.speculate.get(),
        max_ahead: args.max_ahead,
        max_extra: args.max_extra_calls,
        lookahead: args.lookahead.get(),
        relay: args.relay.get(),
        step_ms: args.step_ms,
        own_processor: own.is_some(),
    };
    let plan = StudyPlan { setting, own, networks: networks(&args.bandwidths, &args.round_trips) };
    let study = carry_out(chain, &plan, args.again)?;
    if args.json {
        return output::json(&study);
    }
    output::line(latency_markdown(&study)?.trim_end())
}

/// The largest τ that stays within an offload ratio on the questions that τ is chosen on.
fn calibrated(chain: &Chain<'_>, offload: f64) -> Result<Tau> {
    ensure!(
        (0.0..=1.0).contains(&offload),
        "--max-offload-ratio is {offload}; expected a share from 0 to 1"
    );
    let (curves, ..) = chain.swept().context("or give --tau")?;
    let split = chain.experiment.data.calibration_split();
    let found = curves.iter().find(|c| c.policy == ROUTER && c.split == split);
    let found = found.with_context(|| format!("no curve on {split}"))?;
    Ok(Curve::of(&found.curves).tau_at_offload(offload))
}

/// Every round trip at every bandwidth. The shortest is first: the model takes the time of
/// a call from it.
fn networks(bandwidths: &[f64], round_trips: &[f64]) -> Vec<Network> {
    let mut round_trips = round_trips.to_vec();
    round_trips.sort_by(f64::total_cmp);
    let over = |&megabits: &f64| {
        let megabits = (megabits > 0.0).then_some(megabits);
        round_trips.iter().map(move |&round_trip_ms| Network { round_trip_ms, megabits })
    };
    bandwidths.iter().flat_map(over).collect()
}
