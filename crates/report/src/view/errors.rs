//! A router's errors in words.

use serde::Serialize;
use tokenroute_sweep::errors::{
    CostlyMiss, ErrorCounts, ErrorGroup, Errors, MOST_MISSES, MissedQuestions,
};

use crate::number::{count, decimal, percent, target, tau};

/// The section of errors.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorsView {
    pub split: String,
    pub budget: String,
    pub tau: String,
    pub total: ErrorRow,
    pub by_class: Vec<ErrorRow>,
    pub by_step: Vec<ErrorRow>,
    pub by_question: Vec<QuestionRow>,
    pub costliest: Vec<MissView>,
}

/// Errors of a part of the positions.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorRow {
    pub name: String,
    pub positions: String,
    pub divergent: String,
    pub misses: String,
    /// Of the divergent positions.
    pub miss_share: String,
    pub false_alarms: String,
    /// Of the other positions.
    pub alarm_share: String,
}

/// Questions with as many misses.
#[derive(Debug, Serialize)]
pub(crate) struct QuestionRow {
    pub misses: String,
    pub questions: String,
    pub share: String,
    pub false_alarms: String,
}

/// A miss in its context.
#[derive(Debug, Serialize)]
pub(crate) struct MissView {
    pub question: String,
    pub position: String,
    pub context: String,
    pub slm: String,
    pub llm: String,
    pub score: String,
    pub loss: String,
}

impl ErrorsView {
    pub(crate) fn of(errors: &Errors) -> Self {
        let questions: u64 = errors.by_question.iter().map(|group| group.questions).sum();
        let question = |group: &MissedQuestions| QuestionRow {
            misses: match group.misses {
                MOST_MISSES => format!("{MOST_MISSES} and more"),
                misses => misses.to_string(),
            },
            questions: count(group.questions),
            share: share(group.questions as f64, questions as f64),
            false_alarms: decimal(Some(group.false_alarms), 2),
        };
        let rows = |groups: &[ErrorGroup]| {
            groups.iter().map(|group| row(&group.name, &group.counts)).collect()
        };
        ErrorsView {
            split: errors.split.clone(),
            budget: target(errors.budget),
            tau: tau(errors.tau),
            total: row("all", &errors.total),
            by_class: rows(&errors.by_class),
            by_step: rows(&errors.by_step),
            by_question: errors.by_question.iter().map(question).collect(),
            costliest: errors.costliest.iter().map(miss).collect(),
        }
    }
}

fn row(name: &str, counts: &ErrorCounts) -> ErrorRow {
    let whole = |x: f64| count(x.round() as u64);
    ErrorRow {
        name: name.to_owned(),
        positions: whole(counts.positions),
        divergent: whole(counts.divergent),
        misses: whole(counts.misses),
        miss_share: share(counts.misses, counts.divergent),
        false_alarms: whole(counts.false_alarms),
        alarm_share: share(counts.false_alarms, counts.positions - counts.divergent),
    }
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { percent(part / whole) } else { "–".to_owned() }
}

fn miss(miss: &CostlyMiss) -> MissView {
    MissView {
        question: miss.question.clone(),
        position: miss.position.to_string(),
        context: miss.context.clone(),
        slm: miss.slm.clone(),
        llm: miss.llm.clone(),
        score: decimal(Some(miss.score), 4),
        loss: decimal(Some(f64::from(miss.loss)), 2),
    }
}
