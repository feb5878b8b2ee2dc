//! What follows from finished curves without more decoding: policies that decide once a
//! question, and the costs of answers.

use std::collections::BTreeMap;

use anyhow::Result;
use tokenroute_core::{LabelRow, QuestionCurve, Relation};
use tokenroute_label::Reference;
use tokenroute_store::PolicyCurves;
use tokenroute_sweep::answer_cost::AnswerCosts;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::query;
use tokenroute_sweep::study::SplitResult;

use super::Chain;
use super::sweep::ROUTER;

/// The policies of [`Chain::query_curves`].
pub(super) const QUERY_LEVEL: [(&str, PolicyKind); 2] =
    [(query::QUERY_RANDOM, PolicyKind::QueryLevel), (query::QUERY_ORACLE, PolicyKind::QueryLevel)];

impl Chain<'_> {
    /// The curves of policies that decide once a question, on every split of the router.
    pub(super) fn query_curves(&self, curves: &[PolicyCurves]) -> Result<Vec<PolicyCurves>> {
        let mut made = Vec::new();
        for router in curves.iter().filter(|c| c.policy == ROUTER) {
            let mut add = |policy: &str, curves: Vec<QuestionCurve>| {
                let (policy, split) = (policy.to_owned(), router.split.clone());
                made.push(PolicyCurves { policy, split, curves });
            };
            let seed = self.experiment.seed;
            let random: Result<Vec<_>, _> =
                router.curves.iter().map(|curve| query::random(seed, curve)).collect();
            add(query::QUERY_RANDOM, random?);
            let oracle: Result<Vec<_>, _> = router
                .curves
                .iter()
                .map(|curve| query::oracle(&curve.question, query::ends(curve)))
                .collect();
            add(query::QUERY_ORACLE, oracle?);
        }
        Ok(made)
    }

    /// The costs of answers to the test questions. Speculative decoding is among them where
    /// the labels follow the LLM's answers to all of these.
    pub(super) fn answer_costs(
        &self,
        test: &SplitResult,
        curves: &[PolicyCurves],
        rows: &[LabelRow],
    ) -> AnswerCosts {
        let of_test: BTreeMap<String, &[QuestionCurve]> = curves
            .iter()
            .filter(|c| c.split == test.split)
            .map(|c| (c.policy.clone(), c.curves.as_slice()))
            .collect();
        let mut agrees: BTreeMap<String, Vec<(u32, bool)>> = BTreeMap::new();
        if matches!(self.experiment.label.reference, Reference::Llm) {
            for row in rows.iter().filter(|r| r.round == 0 && r.split == test.split) {
                let same = row.relation == Relation::Identical;
                agrees.entry(row.question.clone()).or_default().push((row.position, same));
            }
        }
        let agrees: BTreeMap<String, Vec<bool>> = agrees
            .into_iter()
            .map(|(question, mut positions)| {
                positions.sort_unstable();
                (question, positions.into_iter().map(|(_, same)| same).collect())
            })
            .collect();
        let mut costs = AnswerCosts::of(test, &of_test, &agrees);
        let report = &self.experiment.report;
        costs.prices = report.prices.as_ref().map(|prices| prices.stated());
        costs.network = report.network.map(|network| network.stated());
        costs
    }
}
