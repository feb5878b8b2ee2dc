//! Tests of the task: rationales, splits, purity, settings.

use std::collections::HashSet;

use tokenroute_core::Question;

use super::words::{COMPASS, DAYS, MONTHS};
use super::{Generator, TaskConfig, TaskSplit, families, key};

/// Checks one expression and returns its result as text.
fn result(expression: &str) -> String {
    if let Some((numbers, name)) = expression.split_once(", so ") {
        let (both, numbers) = numbers.split_once("? ").unwrap();
        assert!(numbers.split(['<', '>']).all(|n| both.split(" or ").any(|m| m == n)));
        let (sign, holds): (char, fn(i64, i64) -> bool) =
            if numbers.contains('>') { ('>', |a, b| a > b) } else { ('<', |a, b| a < b) };
        let (a, b) = numbers.split_once(sign).unwrap();
        assert!(holds(a.parse().unwrap(), b.parse().unwrap()), "{expression}");
        return name.to_owned();
    }
    let Some((left, right)) = expression.split_once('=') else {
        return String::new();
    };
    for circle in [&DAYS[..], &MONTHS[..], &COMPASS[..]] {
        if let Some(start) = circle.iter().position(|w| left.starts_with(w)) {
            let step = match &left[circle[start].len()..] {
                "+right" => 1,
                "+left" => circle.len() - 1,
                "+back" => 2,
                n if n.starts_with('+') => n[1..].parse::<usize>().unwrap(),
                n => 2 * circle.len() - n[1..].parse::<usize>().unwrap(),
            };
            assert_eq!(circle[(start + step) % circle.len()], right, "{expression}");
            return right.to_owned();
        }
    }
    let sign = left.find(|c: char| !c.is_ascii_digit()).unwrap();
    let op = left[sign..].chars().next().unwrap();
    let (a, b): (i64, i64) =
        (left[..sign].parse().unwrap(), left[sign + op.len_utf8()..].parse().unwrap());
    let value = match op {
        '+' => a + b,
        '-' => a - b,
        '×' => a * b,
        '÷' => {
            assert_eq!(a % b, 0, "{expression}");
            a / b
        }
        other => panic!("{other} in {expression}"),
    };
    assert_eq!(value.to_string(), right, "{expression}");
    assert!((1..=TaskConfig::default().max_result).contains(&value), "{expression}");
    value.to_string()
}

fn check(question: &Question) {
    question.check().unwrap();
    let cot = question.cot.as_deref().unwrap();
    let mut sentences: Vec<&str> = cot.strip_suffix('.').unwrap().split(". ").collect();
    let last = sentences.pop().unwrap();
    assert_eq!(sentences.len(), question.steps.unwrap() as usize, "{cot}");
    let results: Vec<String> =
        sentences.iter().map(|s| result(s.split_once(": ").unwrap().1)).collect();
    let at = question.choices.label.iter().position(|l| *l == question.answer_key).unwrap();
    let answer = &question.choices.text[at];
    assert_eq!(results.last().unwrap(), answer, "{question:?}");
    let end = format!(" the answer is {answer} ({})", question.answer_key);
    assert!(last.ends_with(&end), "{cot}");
    let distinct: HashSet<_> = question.choices.text.iter().collect();
    assert_eq!(distinct.len(), 5, "{question:?}");
}

#[test]
fn rationales_are_right_and_end_in_the_answer() {
    let generator = Generator::new(7);
    let mut keys = [0_u32; 5];
    for index in 0..4000 {
        let question = generator.sample(TaskSplit::PairTrain, index, 4);
        check(&question);
        keys[usize::from(question.answer_key.as_bytes()[0] - b'A')] += 1;
    }
    assert!(keys.iter().all(|n| (700..=900).contains(n)), "{keys:?}");
}

#[test]
fn names_in_the_rationale_come_from_the_story() {
    let generator = Generator::new(8);
    for index in 0..1000 {
        let question = generator.sample(TaskSplit::PairTrain, index, 4);
        for name in super::words::NAMES {
            if question.cot.as_deref().unwrap().contains(name) {
                assert!(question.question.contains(name), "{question:?}");
            }
        }
    }
}

#[test]
fn no_two_splits_share_a_key() {
    let generator = Generator::new(1);
    let mut held: HashSet<String> = HashSet::new();
    for split in TaskSplit::FINITE {
        let questions = generator.split(split);
        assert_eq!(Some(questions.len()), split.size());
        for question in &questions {
            let family = families().iter().find(|f| f.name == question.family.as_deref().unwrap());
            assert_eq!(family.unwrap().held_out, split == TaskSplit::TestOod);
            assert!(held.insert(key(question)), "{} twice", key(question));
        }
    }
    let held = &held;
    std::thread::scope(|scope| {
        for half in 0..2_u64 {
            let generator = &generator;
            scope.spawn(move || {
                for index in half * 100_000..(half + 1) * 100_000 {
                    let question = generator.sample(TaskSplit::PairTrain, index, 4);
                    assert!(!held.contains(&key(&question)), "{question:?}");
                }
            });
        }
    });
}

#[test]
fn a_sample_is_a_pure_function_of_its_arguments() {
    let (a, b) = (Generator::new(3), Generator::new(3));
    assert_eq!(a.sample(TaskSplit::Test, 5, 4), b.sample(TaskSplit::Test, 5, 4));
    assert_ne!(a.sample(TaskSplit::Test, 5, 4), Generator::new(4).sample(TaskSplit::Test, 5, 4));
    assert_eq!(a.split(TaskSplit::TestOod), b.split(TaskSplit::TestOod));
    for most in 1..=4 {
        assert!((0..200).all(|i| a.sample(TaskSplit::PairTrain, i, most).steps.unwrap() <= most));
    }
}

#[test]
fn every_family_appears_with_every_number_of_steps_it_has() {
    let generator = Generator::new(2);
    let seen: HashSet<(String, u32)> = (0..4000)
        .map(|i| generator.sample(TaskSplit::PairTrain, i, 4))
        .map(|q| (q.family.unwrap(), q.steps.unwrap()))
        .collect();
    for family in families() {
        for steps in family.steps.0..=family.steps.1 {
            assert!(seen.contains(&(family.name.to_owned(), steps as u32)), "{family:?} {steps}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let with = |change: fn(&mut TaskConfig)| {
        let mut config = TaskConfig::default();
        change(&mut config);
        Generator::with_config(1, config).map(|_| ()).map_err(|e| e.to_string())
    };
    assert!(with(|_| ()).is_ok());
    assert!(with(|c| c.max_operand = 2).unwrap_err().contains("max_operand is 2"));
    assert!(with(|c| c.max_result = 100).unwrap_err().contains("max_result is 100"));
    assert!(with(|c| c.step_mix = [0.0; 4]).unwrap_err().contains("step_mix"));
    assert!(with(|c| c.irrelevant_share = 1.5).unwrap_err().contains("irrelevant_share is 1.5"));
}
