//! Curves of policies that decide once a question, from a table of outcomes.

use tokenroute_core::{Outcome, OutcomeTable, Piece, QuestionCurve, Score, ScoreError};

use crate::query;

/// Both answers of a question. Each counts as one token, so that the offload ratio is the share
/// of questions.
fn answers(outcome: &Outcome) -> [Piece; 2] {
    let piece = |correct, offloaded| Piece {
        end: 1.0,
        correct,
        cut: false,
        offloaded,
        generated: 1,
        llm_positions: 0,
    };
    [piece(outcome.weak, 0), piece(outcome.strong, 1)]
}

/// The curves of a router with these scores. Questions with equal scores go to the strong model
/// together.
pub(super) fn routed(table: &OutcomeTable, keep: &[f64]) -> Result<Vec<QuestionCurve>, ScoreError> {
    let mut ranks = keep.to_vec();
    ranks.sort_by(f64::total_cmp);
    ranks.dedup();
    // Only the order of scores counts, so their ranks are spread over (0, 1).
    let steps = (ranks.len() + 1) as f64;
    let of = |(outcome, score): (&Outcome, &f64)| {
        let rank = ranks.partition_point(|known| known < score);
        let score = Score::new((rank + 1) as f64 / steps)?;
        Ok(query::decided(&outcome.id, answers(outcome), score))
    };
    table.questions.iter().zip(keep).map(of).collect()
}

/// The curves of the best choice: questions that the strong model alone gets right come first,
/// the cheapest first, then those that change nothing, then those that the weak model alone
/// gets right.
pub(super) fn optimal(table: &OutcomeTable) -> Result<Vec<QuestionCurve>, ScoreError> {
    let mut keys = Vec::with_capacity(table.questions.len());
    for outcome in &table.questions {
        let known = query::oracle(&outcome.id, answers(outcome))?;
        let extra = outcome.costs.map_or(0.0, |[weak, strong]| strong - weak);
        keys.push((known.pieces[0].end, extra));
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| {
        keys[a].0.total_cmp(&keys[b].0).then(keys[a].1.total_cmp(&keys[b].1)).then(a.cmp(&b))
    });
    let mut keep = vec![0.0; keys.len()];
    for (rank, &question) in order.iter().enumerate() {
        keep[question] = rank as f64;
    }
    routed(table, &keep)
}
