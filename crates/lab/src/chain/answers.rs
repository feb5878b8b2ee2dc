//! The costs of answers, which follow from finished curves and labels.

use std::collections::BTreeMap;

use tokenroute_core::{LabelRow, QuestionCurve, Relation};
use tokenroute_label::Reference;
use tokenroute_store::PolicyCurves;
use tokenroute_sweep::answer_cost::AnswerCosts;
use tokenroute_sweep::study::SplitResult;

use super::Chain;

impl Chain<'_> {
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
