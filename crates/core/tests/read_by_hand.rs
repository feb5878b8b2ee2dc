//! Answers of Qwen2.5-Coder 0.5B and 1.5B, read by hand: 25 of each model to questions of
//! CommonsenseQA, and 25 of each to questions of GSM8K.

use serde::Deserialize;
use tokenroute_core::{Choices, Grader, Question, grade};

#[derive(Deserialize)]
struct Read {
    grader: Grader,
    #[serde(default)]
    choices: Vec<String>,
    answer: String,
    ended: bool,
    /// What a reader takes for the answer; `None` where there is none.
    reads: Option<String>,
}

fn asked(read: &Read, key: &str) -> Question {
    let letters = ["A", "B", "C", "D", "E"];
    let label = letters.iter().take(read.choices.len()).map(|&l| l.to_owned()).collect();
    let text = read.choices.clone();
    let mut question: Question =
        serde_json::from_str(r#"{"id": "q", "question": "?", "answerKey": "A"}"#).expect("JSON");
    question.choices = Choices { label, text };
    question.grader = read.grader;
    key.clone_into(&mut question.answer_key);
    question
}

#[test]
fn the_graders_read_what_a_reader_reads() {
    let lines = include_str!("fixtures/read-by-hand.jsonl").lines();
    let all: Vec<Read> = lines.map(|l| serde_json::from_str(l).expect("a line")).collect();
    assert_eq!(all.len(), 100);
    for (number, read) in all.iter().enumerate() {
        let keys = match read.grader {
            Grader::FinalNumber => ["76800", "18"].as_slice(),
            _ => &["A", "B", "C", "D", "E"],
        };
        let right = |key: &str| grade(&asked(read, key), &read.answer, read.ended);
        if let Some(key) = &read.reads {
            assert!(right(key), "line {}: {:?} is not read as {key}", number + 1, read.answer);
        }
        for key in keys.iter().copied().filter(|&key| Some(key) != read.reads.as_deref()) {
            assert!(!right(key), "line {}: {:?} is read as {key}", number + 1, read.answer);
        }
    }
}
