//! A comparison as words and formatted numbers. The page and the Markdown share it.

use serde::Serialize;
use tokenroute_sweep::answer_cost::AnswerCost;
use tokenroute_sweep::study::{ComparedRouter, HEADLINE_TARGET, PolicyResult, is_headline};

use super::data::{ComparisonData, RouterFacts, TrainedFacts};
use crate::number::{
    count, decimal, duration, offload, percent, percent_interval, signed, signed_interval, target,
};
use crate::view::{DifferenceView, range};

/// The comparison in words.
#[derive(Debug, Serialize)]
pub(super) struct ComparisonView {
    pub name: String,
    pub lead: Vec<String>,
    pub first: String,
    pub columns: Vec<String>,
    pub routers: Vec<RouterRow>,
    pub differences: Vec<DifferenceView>,
    /// Number of tests that Holm's correction covers.
    pub family: usize,
    pub resamples: String,
    pub without_gap: Option<String>,
    pub at: String,
    pub costs: Vec<CostRow>,
    pub money: Option<String>,
    pub seconds: bool,
    pub assumptions: Vec<String>,
    pub seeds: Vec<SeedRow>,
    pub measured_on: String,
    pub learning: Vec<LearningRow>,
    pub provenance: Vec<(String, String)>,
    pub times: String,
    pub command: String,
}

/// One router in the main table.
#[derive(Debug, Serialize)]
pub(super) struct RouterRow {
    pub name: String,
    pub settings: String,
    pub changes: String,
    pub parameters: String,
    pub microseconds: String,
    pub apgr20: String,
    pub apgr20_interval: String,
    pub seeds: String,
    pub apgr: String,
    pub apgr_interval: String,
    pub accuracies: Vec<String>,
}

/// The cost of an answer.
#[derive(Debug, Serialize)]
pub(super) struct CostRow {
    pub name: String,
    pub offload: String,
    pub accuracy: String,
    pub offloaded: String,
    pub waits: String,
    pub llm_positions: String,
    pub kilobytes: String,
    pub money: String,
    pub seconds: String,
}

/// One seed of a router, or the range of its seeds.
#[derive(Debug, Serialize)]
pub(super) struct SeedRow {
    pub name: String,
    pub seed: String,
    pub auroc: String,
    pub auprc: String,
    pub apgr20: String,
    pub apgr: String,
    pub accuracies: Vec<String>,
}

/// A point of a learning curve.
#[derive(Debug, Serialize)]
pub(super) struct LearningRow {
    pub name: String,
    pub share: String,
    pub rows: String,
    pub settings: String,
    pub apgr20: String,
    pub apgr20_interval: String,
    pub apgr: String,
    pub accuracies: Vec<String>,
}

impl ComparisonView {
    pub(super) fn of(data: &ComparisonData) -> Self {
        let study = &data.study;
        let tested = |r: &&ComparedRouter| r.difference20.is_some_and(|d| d.p.is_some());
        let first = study.routers.first();
        let columns = first.map(|r| r.points.iter().map(|p| target(p.target)).collect());
        let measured_on = data.facts.first().and_then(|f| f.trained.as_ref());
        ComparisonView {
            name: data.name.clone(),
            lead: lead(data),
            first: first.map(|router| router.name.clone()).unwrap_or_default(),
            columns: columns.unwrap_or_default(),
            routers: data.whole().map(|(router, facts)| row(router, facts)).collect(),
            differences: data
                .whole()
                .filter_map(|(router, _)| {
                    let small = router.difference20.as_ref()?;
                    Some(DifferenceView::of(&router.name, small, router.difference))
                })
                .collect(),
            family: study.routers.iter().filter(tested).count(),
            resamples: count(study.resamples),
            without_gap: (study.resamples_without_gap > 0)
                .then(|| count(study.resamples_without_gap)),
            at: target(HEADLINE_TARGET),
            costs: costs(data),
            money: data.costs.prices.as_ref().map(|p| format!("{} for 1000 answers", p.currency)),
            seconds: data.costs.network.is_some(),
            assumptions: crate::view::assumptions(&data.costs),
            seeds: data.whole().flat_map(|(router, facts)| seeds(router, facts)).collect(),
            measured_on: measured_on.map(|t| t.measured_on.clone()).unwrap_or_default(),
            learning: learning(data),
            provenance: data.provenance.iter().map(|f| (f.name.clone(), f.value.clone())).collect(),
            times: format!(
                "trainings {}, sweep {}",
                duration(data.train_seconds),
                duration(data.sweep_seconds)
            ),
            command: data.command.clone(),
        }
    }
}

/// The first sentences: the questions, the best router and whether it leads clearly.
fn lead(data: &ComparisonData) -> Vec<String> {
    let study = &data.study;
    let mut said = vec![format!(
        "{} {} questions; τ is chosen on {} {} questions. The SLM alone answers {} right, the LLM alone {}.",
        count(study.questions),
        study.split,
        count(study.calibration_questions),
        study.calibration,
        percent(study.gap.slm),
        percent(study.gap.llm),
    )];
    let Some(first) = study.routers.first() else { return said };
    let trained = data.whole().filter(|(_, facts)| facts.trained.is_some());
    let best = trained
        .map(|(router, _)| router)
        .max_by(|a, b| a.apgr20.unwrap_or(f64::MIN).total_cmp(&b.apgr20.unwrap_or(f64::MIN)));
    let Some(best) = best.filter(|best| best.apgr20.is_some()) else {
        said.push("The LLM is no better than the SLM, so there is no APGR.".to_owned());
        return said;
    };
    said.push(match &best.difference20 {
        None => {
            format!("The greatest APGR[0, .2] has {}, {}.", first.name, decimal(first.apgr20, 3))
        }
        Some(lead) => format!(
            "The greatest APGR[0, .2] has {}, {}: {} more than {} (95% interval {}{}).",
            best.name,
            decimal(best.apgr20, 3),
            signed(lead.difference.value, 3),
            first.name,
            signed_interval(lead.difference.interval, 3),
            lead.holm_p.map(|p| format!(", Holm p {p:.4}")).unwrap_or_default(),
        ),
    });
    let clear = |r: &&ComparedRouter| {
        r.difference20
            .is_some_and(|d| d.holm_p.is_some_and(|p| p <= 0.05) && d.difference.value > 0.0)
    };
    let better: Vec<&str> =
        study.routers.iter().filter(clear).map(|router| router.name.as_str()).collect();
    said.push(if better.is_empty() {
        format!("None is better than {} at a Holm p of .05.", first.name)
    } else {
        format!("Better than {} at a Holm p of .05: {}.", first.name, better.join(", "))
    });
    said
}

fn row(router: &ComparedRouter, facts: &RouterFacts) -> RouterRow {
    let trained = facts.trained.as_ref();
    let dash = || "–".to_owned();
    RouterRow {
        name: router.name.clone(),
        settings: trained.map_or_else(|| "no training".to_owned(), |t| t.settings.clone()),
        changes: trained.map(|t| t.changes.clone()).unwrap_or_default(),
        parameters: trained.map_or_else(dash, |t| count(t.parameters)),
        microseconds: trained.map_or_else(dash, |t| decimal(Some(t.microseconds), 1)),
        apgr20: decimal(router.apgr20, 3),
        apgr20_interval: interval(router.apgr20_interval),
        seeds: of_seeds(router, |seed| seed.apgr20),
        apgr: decimal(router.apgr, 3),
        apgr_interval: interval(router.apgr_interval),
        accuracies: router.points.iter().map(|point| percent(point.accuracy)).collect(),
    }
}

fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or_else(
        || "–".to_owned(),
        |[low, high]| format!("{} to {}", decimal(Some(low), 3), decimal(Some(high), 3)),
    )
}

/// Least and greatest figure of the seeds; empty with one seed.
fn of_seeds(router: &ComparedRouter, of: fn(&PolicyResult) -> Option<f64>) -> String {
    if router.seeds.len() < 2 {
        return String::new();
    }
    range(router.seeds.iter().filter_map(of), |x| decimal(Some(x), 3))
}

/// Both models alone, then every router at the headline's target.
fn costs(data: &ComparisonData) -> Vec<CostRow> {
    let of = |name: &str, ratio: Option<f64>, accuracy: f64, cost: &AnswerCost| CostRow {
        name: name.to_owned(),
        offload: ratio.map_or_else(|| "–".to_owned(), offload),
        accuracy: percent(accuracy),
        offloaded: decimal(Some(cost.offloaded), 1),
        waits: decimal(Some(cost.waits), 1),
        llm_positions: decimal(Some(cost.llm_positions), 1),
        kilobytes: decimal(Some((cost.bytes_up + cost.bytes_down) / 1e3), 1),
        money: decimal(data.costs.prices.as_ref().map(|p| 1e3 * p.money(cost)), 4),
        seconds: decimal(data.costs.network.map(|n| n.seconds(cost)), 3),
    };
    let ways = data.costs.ways.iter().map(|way| of(&way.name, None, way.accuracy, &way.cost));
    let mut rows: Vec<CostRow> = ways.collect();
    for (router, facts) in data.whole() {
        let mut points = facts.costs.iter();
        let at = points.find(|point| is_headline(point.target));
        rows.extend(at.map(|p| of(&router.name, Some(p.offload), p.accuracy, &p.cost)));
    }
    rows
}

/// Each seed of a trained router, and their range where there are several.
fn seeds(router: &ComparedRouter, facts: &RouterFacts) -> Vec<SeedRow> {
    let Some(trained) = &facts.trained else { return Vec::new() };
    let pairs = router.seeds.iter().zip(&trained.seeds);
    let mut rows: Vec<SeedRow> = pairs
        .map(|(seed, record)| SeedRow {
            name: router.name.clone(),
            seed: record.seed.to_string(),
            auroc: decimal(record.auroc, 4),
            auprc: decimal(record.auprc, 4),
            apgr20: decimal(seed.apgr20, 3),
            apgr: decimal(seed.apgr, 3),
            accuracies: seed.points.iter().map(|point| percent(point.accuracy)).collect(),
        })
        .collect();
    if router.seeds.len() > 1 {
        let four = |x: f64| decimal(Some(x), 4);
        let accuracies =
            |i: usize| router.seeds.iter().filter_map(move |s| Some(s.points.get(i)?.accuracy));
        rows.push(SeedRow {
            name: router.name.clone(),
            seed: "range".to_owned(),
            auroc: range(trained.seeds.iter().filter_map(|s| s.auroc), four),
            auprc: range(trained.seeds.iter().filter_map(|s| s.auprc), four),
            apgr20: of_seeds(router, |seed| seed.apgr20),
            apgr: of_seeds(router, |seed| seed.apgr),
            accuracies: (0..router.points.len()).map(|i| range(accuracies(i), percent)).collect(),
        });
    }
    rows
}

fn learning(data: &ComparisonData) -> Vec<LearningRow> {
    let row = |name: &str, (point, trained): (&ComparedRouter, &TrainedFacts)| LearningRow {
        name: name.to_owned(),
        share: target(trained.share),
        rows: count(trained.rows),
        settings: trained.settings.clone(),
        apgr20: decimal(point.apgr20, 3),
        apgr20_interval: interval(point.apgr20_interval),
        apgr: decimal(point.apgr, 3),
        accuracies: point
            .points
            .iter()
            .map(|p| format!("{} ({})", percent(p.accuracy), percent_interval(p.interval)))
            .collect(),
    };
    let curves = data.learning().into_iter();
    curves.flat_map(|(router, points)| points.into_iter().map(|p| row(&router.name, p))).collect()
}
