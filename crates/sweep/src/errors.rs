//! A router's errors at one τ, beside the labels. A miss is a divergent position whose token is
//! kept. A false alarm is any other position that is offloaded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Score, Tau, TokenClass};

/// First steps of the ranges that positions fall into.
const STEPS: [u32; 7] = [0, 5, 10, 20, 40, 80, 160];
/// Questions with as many misses or more are counted together.
pub const MOST_MISSES: u64 = 3;

/// A judged position, with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecidedRow<'r> {
    /// The question.
    pub question: &'r str,
    /// Number of answer tokens before it.
    pub position: u32,
    /// The class of the SLM's token.
    pub class: TokenClass,
    /// The router's score.
    pub score: Score,
    /// Whether keeping the token loses the answer.
    pub divergent: bool,
    /// The grade that keeping loses.
    pub loss: f32,
    /// Positions that the row stands for.
    pub weight: f32,
}

/// Positions and errors. Each row counts by its weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// All positions.
    pub positions: f64,
    /// Divergent ones.
    pub divergent: f64,
    /// Divergent ones that are kept.
    pub misses: f64,
    /// Others that are offloaded.
    pub false_alarms: f64,
}

impl ErrorCounts {
    fn add(&mut self, row: &DecidedRow<'_>, tau: Tau) {
        let weight = f64::from(row.weight);
        let offloaded = tau.offloads(row.score);
        self.positions += weight;
        if row.divergent {
            self.divergent += weight;
        }
        match (row.divergent, offloaded) {
            (true, false) => self.misses += weight,
            (false, true) => self.false_alarms += weight,
            _ => {}
        }
    }
}

/// The errors of a part of the positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// The class of token, or the range of steps.
    pub name: String,
    /// Its positions.
    pub counts: ErrorCounts,
}

/// Questions with as many misses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MissedQuestions {
    /// Rows that are misses; the last entry counts questions with as many or more.
    pub misses: u64,
    /// The questions.
    pub questions: u64,
    /// False alarms of a question, on average.
    pub false_alarms: f64,
}

/// A miss in its context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostlyMiss {
    /// The question.
    pub question: String,
    /// Number of answer tokens before it.
    pub position: u32,
    /// The answer before it.
    pub context: String,
    /// The SLM's token, which is kept.
    pub slm: String,
    /// The LLM's token.
    pub llm: String,
    /// The router's score.
    pub score: f64,
    /// The grade that keeping loses.
    pub loss: f32,
}

/// A router's errors at one τ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// The split of the rows.
    pub split: String,
    /// The budget that τ was chosen for.
    pub budget: f64,
    /// The threshold.
    pub tau: Tau,
    /// All positions.
    pub total: ErrorCounts,
    /// By class of the SLM's token.
    pub by_class: Vec<ErrorGroup>,
    /// By step of the answer.
    pub by_step: Vec<ErrorGroup>,
    /// By misses of a question.
    pub by_question: Vec<MissedQuestions>,
    /// The costliest misses ([`costliest`]), in context.
    pub costliest: Vec<CostlyMiss>,
}

impl Errors {
    /// Counts the errors of some rows. The costliest are left to the caller, who knows the texts.
    #[must_use]
    pub fn of(split: &str, budget: f64, tau: Tau, rows: &[DecidedRow<'_>]) -> Self {
        let mut total = ErrorCounts::default();
        let mut classes: BTreeMap<TokenClass, ErrorCounts> = BTreeMap::new();
        let mut steps: BTreeMap<usize, ErrorCounts> = BTreeMap::new();
        let mut questions: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
        for row in rows {
            total.add(row, tau);
            classes.entry(row.class).or_default().add(row, tau);
            let range = STEPS.partition_point(|&first| first <= row.position) - 1;
            steps.entry(range).or_default().add(row, tau);
            let (misses, alarms) = questions.entry(row.question).or_default();
            let mut one = ErrorCounts::default();
            one.add(row, tau);
            *misses += u64::from(one.misses > 0.0);
            *alarms += one.false_alarms;
        }
        let group = |name: String, counts| ErrorGroup { name, counts };
        let by_class = classes.into_iter().map(|(class, c)| group(class.name().to_owned(), c));
        let by_step = steps.into_iter().map(|(range, c)| group(range_name(range), c));
        Errors {
            split: split.to_owned(),
            budget,
            tau,
            total,
            by_class: by_class.collect(),
            by_step: by_step.collect(),
            by_question: by_misses(questions.values().copied()),
            costliest: Vec::new(),
        }
    }
}

/// As in "5 to 9".
fn range_name(range: usize) -> String {
    match STEPS.get(range + 1) {
        Some(next) => format!("{} to {}", STEPS[range], next - 1),
        None => format!("{} and more", STEPS[range]),
    }
}

/// Questions by their misses, from their misses and false alarms.
fn by_misses(questions: impl Iterator<Item = (u64, f64)>) -> Vec<MissedQuestions> {
    let mut groups: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    for (misses, alarms) in questions {
        let (count, sum) = groups.entry(misses.min(MOST_MISSES)).or_default();
        *count += 1;
        *sum += alarms;
    }
    let group = |(misses, (questions, sum)): (u64, (u64, f64))| MissedQuestions {
        misses,
        questions,
        false_alarms: sum / questions as f64,
    };
    groups.into_iter().map(group).collect()
}

/// The places of the misses that lose the greatest grade, those with the highest score first among
/// equals: the router was surest of them.
#[must_use]
pub fn costliest(rows: &[DecidedRow<'_>], tau: Tau, most: usize) -> Vec<usize> {
    let missed = |row: &DecidedRow<'_>| row.divergent && !tau.offloads(row.score);
    let mut places: Vec<usize> = (0..rows.len()).filter(|&i| missed(&rows[i])).collect();
    places.sort_by(|&a, &b| {
        let (a, b) = (&rows[a], &rows[b]);
        let order = b.loss.total_cmp(&a.loss).then(b.score.get().total_cmp(&a.score.get()));
        order.then_with(|| (a.question, a.position).cmp(&(b.question, b.position)))
    });
    places.truncate(most);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(question: &str, position: u32, score: f64, divergent: bool) -> DecidedRow<'_> {
        let class = if position < 10 { TokenClass::Digit } else { TokenClass::Word };
        let score = Score::new(score).expect("a number");
        let loss = f32::from(u8::from(divergent)) / (1.0 + position as f32);
        DecidedRow { question, position, class, score, divergent, loss, weight: 2.0 }
    }

    #[test]
    fn misses_and_false_alarms_are_counted_in_every_group() {
        let tau = Tau::new(0.5).expect("in range");
        let rows = [
            row("a", 3, 0.9, true),  // a miss
            row("a", 12, 0.2, true), // found
            row("b", 4, 0.1, false), // a false alarm
            row("b", 5, 0.5, false), // kept: s = τ
            row("b", 300, 0.8, true),
            row("c", 0, 0.7, false),
        ];
        let found = Errors::of("test", 0.07, tau, &rows);
        let counts = |positions, divergent, misses, false_alarms| ErrorCounts {
            positions,
            divergent,
            misses,
            false_alarms,
        };
        assert_eq!(found.total, counts(12.0, 6.0, 4.0, 2.0));
        let names =
            |groups: &[ErrorGroup]| groups.iter().map(|g| g.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&found.by_class), ["digit", "word"]);
        assert_eq!(found.by_class[0].counts, counts(8.0, 2.0, 2.0, 2.0));
        assert_eq!(names(&found.by_step), ["0 to 4", "5 to 9", "10 to 19", "160 and more"]);
        assert_eq!(found.by_step[0].counts, counts(6.0, 2.0, 2.0, 2.0));
        let questions: Vec<(u64, u64, f64)> =
            found.by_question.iter().map(|q| (q.misses, q.questions, q.false_alarms)).collect();
        assert_eq!(questions, [(0, 1, 0.0), (1, 2, 1.0)]);
        assert_eq!(costliest(&rows, tau, 10), [0, 4], "the greatest loss first");
        assert_eq!(costliest(&rows, tau, 1), [0]);
    }
}
