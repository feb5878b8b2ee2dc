//! What policies that decide once a question read: the SLM's own answer, its state before the
//! first token, and the walk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokenroute_core::{LanguageModel, Llm, Position, Score, ScoreError, Scorer, Tau, TokenId};
use tokenroute_runtime::{Pair, Request, RuntimeError, decode};

use super::Walked;
use crate::policies::Entropy;

/// A fact that a policy reads beyond both answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// [`QuestionFacts::certainty`]
    Certainty,
    /// [`QuestionFacts::keep`]
    Keep,
    /// [`QuestionFacts::agreement`]
    Agreement,
    /// [`QuestionFacts::walked`]
    Walk,
}

/// Facts about a question. A policy without its fact has no curve.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QuestionFacts {
    /// Id of the question.
    pub question: String,
    /// Mean of 1 − H / ln V over the tokens of the SLM's own answer.
    pub certainty: Option<f64>,
    /// Probability that the SLM's answer loses nothing, from the state before its first token.
    pub keep: Option<f64>,
    /// Probability that both models' answers agree, from the same state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// The walk.
    pub walked: Option<Walked>,
}

/// The SLM's own answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct SlmAnswer {
    /// Its tokens, the end token included.
    pub tokens: Vec<TokenId>,
    /// As [`QuestionFacts::certainty`].
    pub certainty: f64,
    /// The hidden state `[hidden]` before the first token.
    pub hidden: Arc<[f32]>,
}

/// Decodes with the SLM alone. The LLM of the pair is not called.
///
/// # Errors
/// Errors of the SLM, and an empty prompt.
pub fn slm_answers<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    requests: &[Request<'_>],
) -> Result<Vec<SlmAnswer>, RuntimeError> {
    let entropy = Entropy { vocabulary: pair.slm.info().vocabulary };
    let recorder = Recorder { entropy, first: Mutex::default() };
    let traces = decode(pair, &recorder, Tau::SLM_ONLY, requests, requests.len().max(1))?;
    let mut first = recorder.first.into_inner().unwrap_or_else(PoisonError::into_inner);
    let answer = |(request, trace): (&Request<'_>, tokenroute_core::Trace)| SlmAnswer {
        certainty: trace.tokens.iter().map(|t| t.score).sum::<f64>()
            / trace.tokens.len().max(1) as f64,
        hidden: first.remove(request.question).unwrap_or_default(),
        tokens: trace.ids().collect(),
    };
    Ok(requests.iter().zip(traces).map(answer).collect())
}

/// The entropy policy, which keeps the state at the first position of each question.
struct Recorder {
    entropy: Entropy,
    first: Mutex<HashMap<String, Arc<[f32]>>>,
}

impl Scorer for Recorder {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        if position.index == 0 {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.insert(position.question.to_owned(), Arc::clone(&position.step.hidden));
        }
        self.entropy.score(position)
    }
}
