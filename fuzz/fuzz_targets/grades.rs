//! Grades any text as an answer. The first byte chooses the grader, the answer key ends at a zero
//! byte, and the rest is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Choices, Grader, Question, grade, same_answer};

const GRADERS: [Grader; 8] = [
    Grader::StatedLetter,
    Grader::ChoiceLetter,
    Grader::ChoiceText,
    Grader::Choice,
    Grader::FinalNumber,
    Grader::Text,
    Grader::YesNo,
    Grader::Latex,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (key, answer) = text.split_once('\0').unwrap_or(("A", text));
    let grader = GRADERS[usize::from(first) % GRADERS.len()];
    let choices = match grader.needs_choices() {
        true => ["bank", "the bank", "3", "né"].map(str::to_owned).to_vec(),
        false => Vec::new(),
    };
    let labels = ["A", "B", "C", "D"].map(str::to_owned);
    let question = Question {
        id: "q".to_owned(),
        question: "?".to_owned(),
        choices: Choices { label: labels[..choices.len()].to_vec(), text: choices },
        answer_key: key.to_owned(),
        grader,
        cot: None,
        family: None,
        steps: None,
        operands: None,
        program: None,
    };
    if question.check().is_err() {
        return;
    }
    for ended in [true, false] {
        let _ = grade(&question, answer, ended);
        assert!(same_answer(&question, (answer, ended), (answer, ended)));
    }
});
