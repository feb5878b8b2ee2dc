//! The figures of one policy on a table of outcomes.

use serde::Serialize;
use tokenroute_core::{
    Curve, Gap, OutcomeTable, QuestionCurve, apgr, apgr_of_tenths, apgr_to, cpt,
};

use super::super::{SMALL_BUDGETS, exact_at_the_ends};
use super::{Draw, OutcomeSettings, accuracy_at};
use crate::bootstrap::interval;

/// Offload ratios of a policy's curve: every hundredth.
const STEPS: u32 = 100;

/// A figure and its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Measured on all questions.
    pub value: f64,
    /// 95% bootstrap interval; `None` where there is none.
    pub interval: Option<[f64; 2]>,
}

/// The figures of one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterFigures {
    /// Its column, or "random" or "optimal".
    pub name: String,
    /// Mean PGR over all offload ratios; `None` if the strong model is no better.
    pub apgr: Option<Figure>,
    /// Mean PGR over the offload ratios up to 20%.
    pub apgr20: Option<Figure>,
    /// Mean PGR at 10%, 20%, …, 100%: RouteLLM's approximation of APGR.
    pub apgr_of_tenths: Option<f64>,
    /// Least offload for each share of the gap.
    pub cpt: Vec<Cpt>,
    /// Accuracy at each offload ratio aimed at.
    pub points: Vec<OutcomePoint>,
    /// Accuracy along the offload ratios 0, 0.01, …, 1.
    pub curve: Vec<Step>,
}

/// The least share of questions that recovers a share of the gap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cpt {
    /// Share of the gap.
    pub level: f64,
    /// The least offload ratio; `None` if none recovers as much.
    pub offload: Option<f64>,
    /// Its 95% interval; `None` where some resamples never recover as much.
    pub interval: Option<[f64; 2]>,
}

/// A policy at an offload ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OutcomePoint {
    /// The ratio aimed at. Equal scores may keep the policy below it.
    pub target: f64,
    /// The ratio reached.
    pub offload: f64,
    /// Accuracy there.
    pub accuracy: Figure,
    /// Performance gap recovered.
    pub pgr: Option<f64>,
    /// Mean cost of a question, where the table has costs.
    pub cost: Option<f64>,
}

/// Accuracy along a policy's curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Greatest offload ratio allowed.
    pub offload: f64,
    /// Accuracy at the threshold that keeps to it.
    pub accuracy: f64,
}

impl RouterFigures {
    /// The figures of a policy and of its resamples.
    pub(super) fn of(
        name: &str,
        table: &OutcomeTable,
        questions: &[QuestionCurve],
        draws: &[&Draw],
        settings: OutcomeSettings<'_>,
    ) -> Self {
        let curve = Curve::of(questions);
        let gap = Gap::of(&curve);
        let area = |value: Option<f64>, i: usize| {
            let drawn = draws.iter().filter_map(|draw| Some(draw.areas?[i])).collect();
            value.map(|value| Figure { value, interval: interval(drawn) })
        };
        let point = |(i, &target): (usize, &f64)| {
            let tau = curve.tau_at_offload(target);
            let at = curve.at(tau);
            let value = curve.accuracy(&at);
            let drawn = interval(draws.iter().map(|draw| draw.accuracy[i]).collect());
            let interval = drawn.map(|drawn| exact_at_the_ends(value, curve.questions, drawn));
            OutcomePoint {
                target,
                offload: at.offload(),
                accuracy: Figure { value, interval },
                pgr: gap.pgr(value),
                cost: mean_cost(table, |i| f64::from(questions[i].at(tau).offloaded)),
            }
        };
        let level = |(i, &level): (usize, &f64)| {
            let reached = draws.iter().map(|draw| draw.cpt[i]);
            // Resamples without a gap have no CPT and no say.
            let with_gap = draws.iter().zip(reached).filter(|(draw, _)| draw.areas.is_some());
            let all: Option<Vec<f64>> = with_gap.map(|(_, reached)| reached).collect();
            Cpt { level, offload: cpt(&curve, gap, level), interval: all.and_then(interval) }
        };
        RouterFigures {
            name: name.to_owned(),
            apgr: area(apgr(&curve, gap), 0),
            apgr20: area(apgr_to(&curve, gap, SMALL_BUDGETS), 1),
            apgr_of_tenths: apgr_of_tenths(&curve, gap),
            cpt: settings.cpt.iter().enumerate().map(level).collect(),
            points: settings.offloads.iter().enumerate().map(point).collect(),
            curve: steps(|offload| accuracy_at(&curve, offload)),
        }
    }

    /// A choice by chance, in expectation: at the offload ratio ρ it recovers ρ of the gap.
    pub(super) fn random(
        table: &OutcomeTable,
        gap: Gap,
        ends: &[[f64; 2]],
        settings: OutcomeSettings<'_>,
    ) -> Self {
        let mixed = |[weak, strong]: [f64; 2], rho: f64| weak + rho * (strong - weak);
        let accuracy = |rho: f64| mixed([gap.slm, gap.llm], rho);
        let has_gap = gap.pgr(gap.llm).is_some();
        let area = |value: f64| has_gap.then_some(Figure { value, interval: None });
        let point = |&target: &f64| {
            let value = accuracy(target);
            let drawn = ends.iter().map(|&ends| mixed(ends, target)).collect();
            OutcomePoint {
                target,
                offload: target,
                accuracy: Figure { value, interval: interval(drawn) },
                pgr: gap.pgr(value),
                cost: mean_cost(table, |_| target),
            }
        };
        let level = |&level: &f64| {
            let offload = (has_gap && level <= 1.0).then_some(level);
            Cpt { level, offload, interval: None }
        };
        RouterFigures {
            name: "random".to_owned(),
            apgr: area(0.5),
            apgr20: area(SMALL_BUDGETS / 2.0),
            // Of 10%, 20%, …, 100%.
            apgr_of_tenths: has_gap.then_some(0.55),
            cpt: settings.cpt.iter().map(level).collect(),
            points: settings.offloads.iter().map(point).collect(),
            curve: steps(accuracy),
        }
    }
}

fn steps(accuracy: impl Fn(f64) -> f64) -> Vec<Step> {
    let step = |i: u32| f64::from(i) / f64::from(STEPS);
    (0..=STEPS).map(step).map(|offload| Step { offload, accuracy: accuracy(offload) }).collect()
}

/// Mean cost where the share `strong(i)` of question `i` goes to the strong model.
fn mean_cost(table: &OutcomeTable, strong: impl Fn(usize) -> f64) -> Option<f64> {
    let cost = |(i, outcome): (usize, &tokenroute_core::Outcome)| {
        let [weak, full] = outcome.costs?;
        Some(weak + strong(i) * (full - weak))
    };
    let sum: Option<f64> = table.questions.iter().enumerate().map(cost).sum();
    sum.filter(|_| !table.questions.is_empty()).map(|sum| sum / table.questions.len() as f64)
}
