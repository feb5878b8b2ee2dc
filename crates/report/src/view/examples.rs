//! Example answers in words.

use serde::Serialize;
use tokenroute_core::Origin;
use tokenroute_sweep::examples::{ExampleAnswer, ExampleQuestion};

use crate::number::tau;

#[derive(Debug, Serialize)]
pub(crate) struct ExampleView {
    pub id: String,
    pub question: String,
    pub choices: Vec<ChoiceView>,
    pub answers: Vec<AnswerView>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChoiceView {
    pub label: String,
    pub text: String,
    pub right: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct AnswerView {
    pub label: String,
    pub tau: String,
    pub correct: bool,
    pub llm_tokens: usize,
    pub total: usize,
    pub tokens: Vec<TokenView>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TokenView {
    pub text: String,
    pub origin: &'static str,
    pub slm: String,
    pub score: String,
}

impl ExampleView {
    pub(super) fn of(example: &ExampleQuestion) -> ExampleView {
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
            answers: example.answers.iter().map(AnswerView::of).collect(),
        }
    }
}

impl AnswerView {
    pub(super) fn of(answer: &ExampleAnswer) -> AnswerView {
        let tokens: Vec<TokenView> = answer
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
        AnswerView {
            label: answer.label.clone(),
            tau: tau(answer.tau),
            correct: answer.correct,
            llm_tokens: answer.tokens.iter().filter(|t| t.origin == Origin::Llm).count(),
            total: tokens.len(),
            tokens,
        }
    }
}
