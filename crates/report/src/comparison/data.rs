//! The input of a comparison's report: plain values, already measured.

use tokenroute_sweep::answer_cost::{AnswerCosts, PricedPoint};
use tokenroute_sweep::study::{ComparedRouter, RouterStudy};

use crate::data::Fact;

/// Everything that the report of a comparison shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonData {
    /// The page's title.
    pub name: String,
    /// The figures of all routers. The others are compared with the first.
    pub study: RouterStudy,
    /// What is known of each router beside its curve, in the order of the study.
    pub facts: Vec<RouterFacts>,
    /// What an answer of each model alone costs, with prices and network if stated.
    pub costs: AnswerCosts,
    /// Wall time of all trainings.
    pub train_seconds: f64,
    /// Wall time of the sweep.
    pub sweep_seconds: f64,
    /// Hashes, seeds and versions that fix the result.
    pub provenance: Vec<Fact>,
    /// The command that makes this report again.
    pub command: String,
}

/// What is known of a router beside its curve.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterFacts {
    /// How it was trained; `None` for a policy that needs no training.
    pub trained: Option<TrainedFacts>,
    /// What an answer costs at each target, by the router of the first seed.
    pub costs: Vec<PricedPoint>,
}

/// How a router was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedFacts {
    /// The keys that it changes.
    pub changes: String,
    /// Its head and features, chosen or fixed.
    pub settings: String,
    /// For a point of a learning curve, the place of the router that it is a part of.
    pub part_of: Option<usize>,
    /// Share of the training questions.
    pub share: f64,
    /// Training rows.
    pub rows: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Time of a score on one thread.
    pub microseconds: f64,
    /// The split that `seeds` was measured on.
    pub measured_on: String,
    /// The record of each seed.
    pub seeds: Vec<SeedRecord>,
}

/// How well a trained router finds divergent positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeedRecord {
    /// The seed.
    pub seed: u64,
    /// Area under the ROC curve; `None` of a router that came without a record.
    pub auroc: Option<f64>,
    /// Area under the precision-recall curve, likewise.
    pub auprc: Option<f64>,
}

impl ComparisonData {
    /// The routers with what is known of them, points of learning curves left out.
    pub(crate) fn whole(&self) -> impl Iterator<Item = (&ComparedRouter, &RouterFacts)> {
        let is_part = |facts: &RouterFacts| {
            facts.trained.as_ref().is_some_and(|trained| trained.part_of.is_some())
        };
        self.all().filter(move |(_, facts)| !is_part(facts))
    }

    /// All routers with what is known of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ComparedRouter, &RouterFacts)> {
        self.study.routers.iter().zip(&self.facts)
    }

    /// The learning curves: each router that has one, with its points in rising order of the
    /// share, itself the last.
    pub(crate) fn learning(&self) -> Vec<(&ComparedRouter, Vec<(&ComparedRouter, &TrainedFacts)>)> {
        let mut curves = Vec::new();
        for (i, (router, facts)) in self.all().enumerate() {
            let Some(own) = &facts.trained else { continue };
            let mut points: Vec<(&ComparedRouter, &TrainedFacts)> = self
                .all()
                .filter_map(|(part, facts)| Some((part, facts.trained.as_ref()?)))
                .filter(|(_, trained)| trained.part_of == Some(i))
                .collect();
            if points.is_empty() {
                continue;
            }
            points.push((router, own));
            points.sort_by(|a, b| a.1.share.total_cmp(&b.1.share));
            curves.push((router, points));
        }
        curves
    }
}
