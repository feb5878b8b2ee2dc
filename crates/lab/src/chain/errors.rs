//! Where a router errs: its decisions on the judged positions along the reference answers, at the
//! headline's target.

use anyhow::Result;
use tokenroute_core::{LabelRow, Relation, TokenClass, TokenId};
use tokenroute_model::RouterScorer;
use tokenroute_sweep::errors::{CostlyMiss, DecidedRow, Errors, costliest};
use tokenroute_sweep::study::{SplitResult, is_headline};

use super::Chain;

/// Misses that are shown in context.
const SHOWN: usize = 10;
/// Tokens of the answer before a miss.
const CONTEXT: usize = 24;

impl Chain<'_> {
    /// The router's errors on one split, at the τ that the study chose. `None` without such rows
    /// or without that τ.
    pub(super) fn errors(
        &self,
        scorer: &RouterScorer,
        rows: &[LabelRow],
        split: &str,
        test: &SplitResult,
    ) -> Result<Option<Errors>> {
        // The first round follows the reference answers, so each position occurs once.
        let along: Vec<&LabelRow> =
            rows.iter().filter(|row| row.split == split && row.round == 0).collect();
        let judged: Vec<usize> = (0..along.len()).filter(|&i| along[i].weight > 0.0).collect();
        let point = test
            .router()
            .and_then(|router| router.points.iter().find(|point| is_headline(point.target)));
        let Some(point) = point.filter(|_| !judged.is_empty()) else { return Ok(None) };
        let logits = scorer.logits_along(along.iter().copied());
        let mut decided = Vec::with_capacity(judged.len());
        for &i in &judged {
            let row = along[i];
            decided.push(DecidedRow {
                question: &row.question,
                position: row.position,
                class: TokenClass::of(&self.text(&[row.slm_token])),
                score: scorer.header().platt.score(logits[i])?,
                divergent: row.relation == Relation::Divergent,
                loss: 1.0 - row.target,
                weight: row.weight,
            });
        }
        let mut errors = Errors::of(split, point.target, point.tau, &decided);
        for place in costliest(&decided, point.tau, SHOWN) {
            let (row, decided) = (along[judged[place]], &decided[place]);
            errors.costliest.push(CostlyMiss {
                question: row.question.clone(),
                position: row.position,
                context: self.before(&along[..=judged[place]]),
                slm: self.text(&[row.slm_token]),
                llm: self.text(&[row.llm_token]),
                score: decided.score.get(),
                loss: decided.loss,
            });
        }
        Ok(Some(errors))
    }

    /// The answer before the last of these rows.
    fn before(&self, rows: &[&LabelRow]) -> String {
        let Some((last, _)) = rows.split_last() else { return String::new() };
        let tokens = (last.position as usize).min(CONTEXT);
        let of_answer = rows.iter().rev().take_while(|row| row.question == last.question);
        let mut ids: Vec<TokenId> = of_answer.take(tokens).map(|row| row.previous).collect();
        ids.reverse();
        self.text(&ids)
    }
}
