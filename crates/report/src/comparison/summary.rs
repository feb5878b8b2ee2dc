//! `summary.json` of a comparison: the figures under fixed keys, for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenroute_core::Tau;
use tokenroute_sweep::answer_cost::{AnswerCost, PricedPoint};
use tokenroute_sweep::study::{ComparedRouter, Comparison, Difference, MeanPoint, PolicyResult};

use super::data::{ComparisonData, RouterFacts};
use crate::error::RenderError;
use crate::summary::EndSummary;

/// Everything in `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonSummary {
    /// Title.
    pub title: String,
    /// The split that figures are measured on.
    pub split: String,
    /// Number of its questions.
    pub questions: u64,
    /// The split that τ is chosen on.
    pub calibration: String,
    /// Number of its questions.
    pub calibration_questions: u64,
    /// Bootstrap resamples.
    pub resamples: u64,
    /// Those in which the LLM is no better than the SLM.
    pub resamples_without_gap: u64,
    /// The SLM alone.
    pub slm: EndSummary,
    /// The LLM alone.
    pub llm: EndSummary,
    /// All routers; differences are to the first.
    pub routers: Vec<RouterSummary>,
    /// Hashes, seed and versions.
    pub provenance: BTreeMap<String, String>,
    /// The command that makes the report again.
    pub command: String,
}

/// One router. Figures are means over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterSummary {
    /// Its name.
    pub name: String,
    /// The keys of `[train]` that it changes. It and the next are missing for policies without
    /// training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// Its head and features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Share of the training questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The router of whose learning curve this is a point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Weights and biases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Microseconds of a score on one thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microseconds: Option<f64>,
    /// Mean APGR at small budgets.
    pub apgr20: Option<f64>,
    /// Its 95% interval.
    pub apgr20_ci: Option<[f64; 2]>,
    /// Mean APGR.
    pub apgr: Option<f64>,
    /// Its 95% interval.
    pub apgr_ci: Option<[f64; 2]>,
    /// Offload and accuracy at each target.
    pub points: Vec<MeanPoint>,
    /// APGR at small budgets less the first router's.
    pub difference20: Option<Comparison>,
    /// APGR less the first router's.
    pub difference: Option<Difference>,
    /// Each seed.
    pub seeds: Vec<SeedSummary>,
    /// What an answer costs at each target, as the router of the first seed decides.
    pub costs: Vec<CostPoint>,
}

/// One seed of a router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedSummary {
    /// The seed.
    pub seed: Option<u64>,
    /// APGR at small budgets.
    pub apgr20: Option<f64>,
    /// APGR.
    pub apgr: Option<f64>,
    /// Accuracy at each target.
    pub accuracies: Vec<f64>,
    /// AUROC of divergent positions on the split that calibrates.
    pub auroc: Option<f64>,
    /// AUPRC, likewise.
    pub auprc: Option<f64>,
}

/// The cost of an answer at a target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostPoint {
    /// The target.
    pub target: f64,
    /// Counts.
    #[serde(flatten)]
    pub cost: AnswerCost,
    /// Money, if prices are stated.
    pub money: Option<f64>,
    /// Seconds, if a network is stated.
    pub seconds: Option<f64>,
}

impl ComparisonSummary {
    /// The figures of a comparison.
    #[must_use]
    pub fn of(data: &ComparisonData) -> Self {
        let study = &data.study;
        let curve = study.routers.first().and_then(|r| r.seeds.first()).map(|seed| &seed.curve);
        let end = |accuracy, ci, tau| {
            let cut = curve.map_or(0.0, |curve| curve.cut_share(&curve.at(tau)));
            EndSummary { accuracy, ci, cut }
        };
        ComparisonSummary {
            title: data.name.clone(),
            split: study.split.clone(),
            questions: study.questions,
            calibration: study.calibration.clone(),
            calibration_questions: study.calibration_questions,
            resamples: study.resamples,
            resamples_without_gap: study.resamples_without_gap,
            slm: end(study.gap.slm, study.slm_interval, Tau::SLM_ONLY),
            llm: end(study.gap.llm, study.llm_interval, Tau::LLM_ONLY),
            routers: data.all().map(|(router, facts)| summary(data, router, facts)).collect(),
            provenance: data.provenance.iter().map(|f| (f.name.clone(), f.value.clone())).collect(),
            command: data.command.clone(),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, RenderError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn summary(data: &ComparisonData, router: &ComparedRouter, facts: &RouterFacts) -> RouterSummary {
    let trained = facts.trained.as_ref();
    let part_of = trained.and_then(|t| data.study.routers.get(t.part_of?));
    let records = trained.map(|t| t.seeds.as_slice()).unwrap_or_default();
    let seed = |(i, seed): (usize, &PolicyResult)| SeedSummary {
        seed: seed.seed,
        apgr20: seed.apgr20,
        apgr: seed.apgr,
        accuracies: seed.points.iter().map(|point| point.accuracy).collect(),
        auroc: records.get(i).and_then(|record| record.auroc),
        auprc: records.get(i).and_then(|record| record.auprc),
    };
    let cost = |point: &PricedPoint| CostPoint {
        target: point.target,
        cost: point.cost,
        money: data.costs.prices.as_ref().map(|prices| prices.money(&point.cost)),
        seconds: data.costs.network.map(|network| network.seconds(&point.cost)),
    };
    RouterSummary {
        name: router.name.clone(),
        changes: trained.map(|t| t.changes.clone()),
        settings: trained.map(|t| t.settings.clone()),
        share: trained.map(|t| t.share),
        part_of: part_of.map(|router| router.name.clone()),
        rows: trained.map(|t| t.rows),
        parameters: trained.map(|t| t.parameters),
        microseconds: trained.map(|t| t.microseconds),
        apgr20: router.apgr20,
        apgr20_ci: router.apgr20_interval,
        apgr: router.apgr,
        apgr_ci: router.apgr_interval,
        points: router.points.clone(),
        difference20: router.difference20,
        difference: router.difference,
        seeds: router.seeds.iter().enumerate().map(seed).collect(),
        costs: facts.costs.iter().map(cost).collect(),
    }
}
