//! The figures of routers that decide once a question, from anybody's table of outcomes. The
//! offload ratio is the share of questions that go to the strong model. Thresholds are chosen on
//! the table itself, as RouteLLM does (arXiv 2406.18665), also in every resample.

mod figures;
mod policies;
#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde::Serialize;
use tokenroute_core::{Curve, Gap, OutcomeTable, ScoreError, Sweepable, apgr, apgr_to, cpt};

use super::compare::holm;
use super::{Comparison, Resampling, SMALL_BUDGETS, exact_at_the_ends};
use crate::bootstrap::{Bootstrap, interval};
pub use figures::{Cpt, Figure, OutcomePoint, RouterFigures, Step};
use policies::{optimal, routed};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeSettings<'a> {
    /// Shares of the gap whose least offload is a figure.
    pub cpt: &'a [f64],
    /// Offload ratios at which accuracy is a figure.
    pub offloads: &'a [f64],
    /// Settings of the bootstrap.
    pub resampling: Resampling,
}

/// All figures of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutcomeStudy {
    /// Number of questions.
    pub questions: u64,
    /// Number of bootstrap resamples behind every interval.
    pub resamples: u64,
    /// Resamples in which the strong model is no better than the weak one. They have no APGR
    /// and no CPT, and count against every difference.
    pub resamples_without_gap: u64,
    /// The weak model's accuracy.
    pub weak: Figure,
    /// The strong model's accuracy.
    pub strong: Figure,
    /// The routers, in the table's order.
    pub routers: Vec<RouterFigures>,
    /// A choice by chance, in expectation.
    pub random: RouterFigures,
    /// The best choice, which knows both grades.
    pub optimal: RouterFigures,
    /// Every pair of routers. Its p-values are one family for Holm's correction.
    pub comparisons: Vec<PairComparison>,
}

/// Two routers on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairComparison {
    /// Name of the one router.
    pub router: String,
    /// Name of the router that it is compared with.
    pub other: String,
    /// The one's APGR less the other's. `None` without a gap.
    pub apgr: Option<Comparison>,
    /// The same at small budgets.
    pub apgr20: Option<Comparison>,
}

/// The figures of one policy in one resample. `None` without a gap.
struct Draw {
    accuracy: Vec<f64>,
    areas: Option<[f64; 2]>,
    cpt: Vec<Option<f64>>,
}

/// One resample: both models' accuracies, and the figures of every policy.
struct Resample {
    ends: [f64; 2],
    draws: Vec<Draw>,
}

/// Measures every router of a table.
///
/// # Errors
/// A score that is NaN.
pub fn study_outcomes(
    table: &OutcomeTable,
    settings: OutcomeSettings<'_>,
) -> Result<OutcomeStudy, ScoreError> {
    let mut policies = Vec::with_capacity(table.routers.len() + 1);
    for router in &table.routers {
        policies.push((router.name.as_str(), routed(table, &router.keep)?));
    }
    policies.push(("optimal", optimal(table)?));
    let sweepable: Vec<Sweepable<'_>> = policies.iter().map(|(_, q)| Sweepable::new(q)).collect();
    let (questions, Resampling { resamples, seed }) = (table.questions.len(), settings.resampling);
    let drawn: Vec<Resample> = (0..resamples as u64)
        .into_par_iter()
        .map(|stream| {
            let bootstrap = Bootstrap::on_stream(questions, 1, seed, stream);
            resample(&sweepable, &bootstrap.weights()[0], settings)
        })
        .collect();

    let mut figures: Vec<RouterFigures> = policies
        .iter()
        .enumerate()
        .map(|(i, (name, questions))| {
            let draws: Vec<&Draw> = drawn.iter().map(|resample| &resample.draws[i]).collect();
            RouterFigures::of(name, table, questions, &draws, settings)
        })
        .collect();
    let comparisons = compared(&figures[..table.routers.len()], &drawn);
    let gap = sweepable.first().map(|s| Gap::of(&s.curve(&vec![1; questions])));
    let gap = gap.unwrap_or(Gap { slm: 0.0, llm: 0.0 });
    let ends: Vec<[f64; 2]> = drawn.iter().map(|resample| resample.ends).collect();
    let end = |value: f64, of: usize| Figure {
        value,
        interval: interval(ends.iter().map(|ends| ends[of]).collect())
            .map(|found| exact_at_the_ends(value, questions as u64, found)),
    };
    let without = drawn.iter().filter(|r| r.ends[1] <= r.ends[0]).count();
    let optimal = figures.remove(table.routers.len());
    Ok(OutcomeStudy {
        questions: questions as u64,
        resamples: resamples as u64,
        resamples_without_gap: without as u64,
        weak: end(gap.slm, 0),
        strong: end(gap.llm, 1),
        routers: figures,
        random: RouterFigures::random(table, gap, &ends, settings),
        optimal,
        comparisons,
    })
}

fn resample(
    policies: &[Sweepable<'_>],
    weights: &[u32],
    settings: OutcomeSettings<'_>,
) -> Resample {
    let mut ends = [0.0; 2];
    let draw = |policy: &Sweepable<'_>| {
        let curve = policy.curve(weights);
        let gap = Gap::of(&curve);
        ends = [gap.slm, gap.llm];
        let areas = apgr(&curve, gap).zip(apgr_to(&curve, gap, SMALL_BUDGETS));
        Draw {
            accuracy: settings.offloads.iter().map(|&rho| accuracy_at(&curve, rho)).collect(),
            areas: areas.map(|(all, small)| [all, small]),
            cpt: settings.cpt.iter().map(|&level| cpt(&curve, gap, level)).collect(),
        }
    };
    let draws = policies.iter().map(draw).collect();
    Resample { ends, draws }
}

/// Accuracy at τ(ρ).
fn accuracy_at(curve: &Curve, rho: f64) -> f64 {
    curve.accuracy(&curve.at(curve.tau_at_offload(rho)))
}

/// Every pair of routers, corrected as one family.
fn compared(routers: &[RouterFigures], drawn: &[Resample]) -> Vec<PairComparison> {
    let less = |i: usize, j: usize, area: usize| {
        let value = |of: &RouterFigures| [&of.apgr, &of.apgr20][area].as_ref().map(|f| f.value);
        let measured = value(&routers[i])? - value(&routers[j])?;
        let of = |r: &Resample, k: usize| r.draws[k].areas.map(|areas| areas[area]);
        let resampled = drawn.iter().filter_map(|r| Some(of(r, i)? - of(r, j)?)).collect();
        Comparison::of(measured, resampled, drawn.len(), true)
    };
    let mut pairs = Vec::new();
    for i in 0..routers.len() {
        for j in i + 1..routers.len() {
            let (router, other) = (routers[i].name.clone(), routers[j].name.clone());
            let (apgr, apgr20) = (less(i, j, 0), less(i, j, 1));
            pairs.push(PairComparison { router, other, apgr, apgr20 });
        }
    }
    let mut family: Vec<&mut Comparison> =
        pairs.iter_mut().flat_map(|p| p.apgr.iter_mut().chain(&mut p.apgr20)).collect();
    let p: Vec<f64> = family.iter().filter_map(|compared| compared.p).collect();
    for (compared, holm_p) in family.iter_mut().zip(holm(&p)) {
        compared.holm_p = Some(holm_p);
    }
    pairs
}
