//! Example answers in words.

use serde::Serialize;
use tokenroute_core::Origin;

use crate::report::data::{Example, ExampleRun};
use crate::report::number::tau;

#[derive(Debug, Serialize)]
pub(in crate::report) struct ExampleView {
    pub id: String,
    pub question: String,
    pub choices: Vec<ChoiceView>,
    pub runs: Vec<RunView>,
}

#[derive(Debug, Serialize)]
pub(in crate::report) struct ChoiceView {
    pub label: String,
    pub text: String,
    pub right: bool,
}

#[derive(Debug, Serialize)]
pub(in crate::report) struct RunView {
    pub label: String,
    pub tau: String,
    pub correct: bool,
    pub llm_tokens: usize,
    pub total: usize,
    pub tokens: Vec<TokenView>,
}

#[derive(Debug, Serialize)]
pub(in crate::report) struct TokenView {
    pub text: String,
    pub origin: &'static str,
    pub slm: String,
    pub score: String,
}

impl ExampleView {
    pub(super) fn of(example: &Example) -> ExampleView {
        ExampleView {
            id: example.id.clone(),
            question: example.question.clone(),
            choices: example
                .choices
                .iter()
                .map(|(label, text)| ChoiceView {
                    label: label.clone(),
                    text: text.clone(),
                    right: *label == example.answer_key,
                })
                .collect(),
            runs: example.runs.iter().map(RunView::of).collect(),
        }
    }
}

impl RunView {
    pub(super) fn of(run: &ExampleRun) -> RunView {
        let tokens: Vec<TokenView> = run
            .tokens
            .iter()
            .map(|t| TokenView {
                text: t.text.clone(),
                origin: match t.origin {
                    Origin::Slm => "slm",
                    Origin::Llm => "llm",
                    Origin::Degraded => "degraded",
                },
                slm: t.slm_text.clone(),
                score: format!("{:.3}", t.score),
            })
            .collect();
        RunView {
            label: run.label.clone(),
            tau: tau(run.tau),
            correct: run.correct,
            llm_tokens: run.tokens.iter().filter(|t| t.origin == Origin::Llm).count(),
            total: tokens.len(),
            tokens,
        }
    }
}
