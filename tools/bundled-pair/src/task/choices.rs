//! Makes the five choices: the answer and four results of typical mistakes.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::build::{Build, Calc, Op, Operand, Solution};

/// Number of choices.
pub(super) const CHOICES: usize = 5;

/// The answer and four distinct wrong texts, or `None` if the story does not give enough of them.
pub(super) fn distractors(b: &mut Build<'_>) -> Option<(String, Vec<String>)> {
    let answer = b.answer.take()?;
    match answer {
        Solution::Word(right, pool) => {
            let mut wrong: Vec<String> = Vec::new();
            for word in pool {
                if word != right && !wrong.contains(&word) && wrong.len() < CHOICES - 1 {
                    wrong.push(word);
                }
            }
            (wrong.len() == CHOICES - 1).then_some((right, wrong))
        }
        Solution::Number(right) => {
            let numbers: Vec<i64> = b
                .key
                .iter()
                .filter_map(|o| if let Operand::Number(n) = o { Some(*n) } else { None })
                .collect();
            let mut wrong = mistakes(&b.calcs, &numbers, right);
            wrong.shuffle(b.rng);
            let mut digits = vec![right % 10];
            wrong.retain(|w| {
                digits.len() < CHOICES - 1 && !digits.contains(&(w % 10)) && {
                    digits.push(w % 10);
                    true
                }
            });
            fill_with_slips(&mut wrong, right, b.rng);
            Some((right.to_string(), wrong.iter().map(ToString::to_string).collect()))
        }
    }
}

/// Final results after one wrong operator, one skipped step or one wrong operand.
fn mistakes(calcs: &[Calc], numbers: &[i64], right: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut push = |value: Option<i64>| {
        if let Some(v) = value
            && v != right
            && (1..=99).contains(&v)
            && !found.contains(&v)
        {
            found.push(v);
        }
    };
    for (k, calc) in calcs.iter().enumerate() {
        let confused: &[Op] = match calc.op {
            Op::Add => &[Op::Sub],
            Op::Sub => &[Op::Add],
            Op::Mul => &[Op::Add],
            Op::Div => &[Op::Sub],
        };
        for &op in confused {
            push(replay(calcs, k, |a, b| op.apply(a, b)));
        }
        push(replay(calcs, k, |a, _| Some(a)));
        for &n in numbers {
            if calc.lhs.from.is_none() {
                push(replay(calcs, k, |_, b| calc.op.apply(n, b)));
            }
            if calc.rhs.from.is_none() {
                push(replay(calcs, k, |a, _| calc.op.apply(a, n)));
            }
        }
    }
    found
}

/// The final result with the `k`th calculation replaced by `wrong`.
fn replay(calcs: &[Calc], k: usize, wrong: impl Fn(i64, i64) -> Option<i64>) -> Option<i64> {
    let mut results: Vec<i64> = Vec::with_capacity(calcs.len());
    for (i, calc) in calcs.iter().enumerate() {
        let lhs = calc.lhs.from.map_or(calc.lhs.value, |j| results[j]);
        let rhs = calc.rhs.from.map_or(calc.rhs.value, |j| results[j]);
        let value = if i == k { wrong(lhs, rhs) } else { calc.op.apply(lhs, rhs) }?;
        results.push(value);
    }
    results.last().copied()
}

/// Adds results that are off by one to four until there are four wrong ones. All choices end in
/// different digits, so that one look finds a choice's letter.
fn fill_with_slips(wrong: &mut Vec<i64>, right: i64, rng: &mut ChaCha8Rng) {
    while wrong.len() < CHOICES - 1 {
        let size = [1, 1, 1, 2, 2, 3, 3, 4][rng.random_range(0..8)];
        let slip = if rng.random_bool(0.5) { right + size } else { right - size };
        let alike = wrong.iter().any(|w| w % 10 == slip % 10);
        if (1..=99).contains(&slip) && !alike {
            wrong.push(slip);
        }
    }
}
