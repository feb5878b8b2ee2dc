//! Scores beside the labels: the router's calibration, and how every policy that decides by
//! token ranks the labelled positions.

use anyhow::Result;
use tokenroute_core::{LabelRow, Position, Score, Scorer, Step};
use tokenroute_model::RouterScorer;
use tokenroute_sweep::diagnostics::{
    Diagnostics, PolicyRanking, ScoredRow, histogram, reliability,
};
use tokenroute_sweep::policies::Baseline;
use tokenroute_train::{expected_calibration_error, rank_metrics};

use super::Chain;

impl Chain<'_> {
    /// The scores beside the labels of one split.
    pub(super) fn diagnostics(
        &self,
        scorer: &RouterScorer,
        rows: &[LabelRow],
        split: &str,
    ) -> Result<Diagnostics> {
        let header = scorer.header();
        let rows: Vec<&LabelRow> = rows.iter().filter(|r| r.split == split).collect();
        // Along whole answers, for a router that remembers earlier steps.
        let logits = scorer.logits_along(rows.iter().copied());
        let judged = rows.into_iter().zip(logits).filter(|(row, _)| row.weight > 0.0);
        let (rows, logits): (Vec<_>, Vec<_>) = judged.unzip();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (row, logit) in rows.iter().zip(logits) {
            let scored = |score| ScoredRow { score, target: row.target, weight: row.weight };
            before.push(scored(Score::from_logit(f64::from(logit))?));
            after.push(scored(header.platt.score(logit)?));
        }
        Ok(Diagnostics {
            split: split.to_owned(),
            training: header.training.clone(),
            reliability_before: reliability(&before),
            reliability_after: reliability(&after),
            histogram: histogram(&after),
            ranking: self.ranking(&rows)?,
        })
    }

    /// The policies that read no more than a label row holds.
    fn ranking(&self, rows: &[&LabelRow]) -> Result<Vec<PolicyRanking>> {
        let targets: Vec<f32> = rows.iter().map(|row| row.target).collect();
        let weights: Vec<f32> = rows.iter().map(|row| row.weight).collect();
        let mut ranking = Vec::new();
        for (policy, scorer) in self.policies_by_token()? {
            let along = Baseline::from_name(&policy).is_some_and(|known| known.needs().path);
            if scorer.needs_llm() || along {
                continue;
            }
            let scores: Result<Vec<Score>, _> =
                rows.iter().map(|row| score(scorer.as_ref(), row)).collect();
            let scores = scores?;
            let Some(found) = rank_metrics(&scores, &targets, &weights) else { continue };
            ranking.push(PolicyRanking {
                policy,
                auroc: found.auroc,
                auprc: found.auprc,
                positive_rate_at_recall_95: found.positive_rate_at_recall_95,
                calibration_error: expected_calibration_error(&scores, &targets, &weights),
            });
        }
        Ok(ranking)
    }
}

/// A policy's score of a labelled position.
fn score(scorer: &dyn Scorer, row: &LabelRow) -> Result<Score> {
    Ok(scorer.score(&position(row, &step(row)))?)
}

/// The step of a labelled position, as far as it is stored.
pub(super) fn step(row: &LabelRow) -> Step {
    let greatest = row.top.first().map_or(0.0, |top| f64::from(top.1));
    Step {
        token: row.slm_token,
        top: row.top.clone(),
        top_logits: Vec::new(),
        entropy: row.entropy,
        rest: 1.0 - greatest,
        hidden: row.hidden.as_slice().into(),
        logits: None,
    }
}

/// A labelled position for policies that do not read the LLM's token.
pub(super) fn position<'r>(row: &'r LabelRow, step: &'r Step) -> Position<'r> {
    Position {
        question: &row.question,
        index: row.position as usize,
        previous: row.previous,
        step,
        sentence_entropy: row.sentence_entropy,
        // Not stored. No policy here reads it.
        paragraph_entropy: row.sentence_entropy,
        lowest: 1.0,
        state: None,
        llm: None,
    }
}
