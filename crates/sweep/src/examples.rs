//! Example answers: questions decoded at a few τ and kept token by token, and the
//! file that holds them.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use tokenroute_core::{LanguageModel, Llm, Origin, Progress, Question, Scorer, Tau, TokenId};
use tokenroute_runtime::{DEFAULT_BATCH, Pair, Request, RuntimeError, decode};

/// Version of the file. Goes up when a field changes its meaning.
const FORMAT: u32 = 1;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    format: u32,
    /// Number of questions asked for. The split may have fewer.
    pub wanted: usize,
    /// The models of the pair whose weights are random.
    pub random: RandomWeights,
    /// The questions with their answers.
    pub questions: Vec<ExampleQuestion>,
}

/// Which models of a pair have random weights: their accuracy is chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomWeights {
    /// The SLM has.
    pub slm: bool,
    /// The LLM has.
    pub llm: bool,
}

/// One question and the pair's answers at some thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleQuestion {
    /// Id of the question.
    pub id: String,
    /// The question.
    pub question: String,
    /// Letter and text of every choice.
    pub choices: Vec<(String, String)>,
    /// Letter of the right one.
    pub answer_key: String,
    /// One answer for each threshold.
    pub answers: Vec<ExampleAnswer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleAnswer {
    /// What the threshold stands for, as in "SLM alone".
    pub label: String,
    /// The threshold.
    pub tau: Tau,
    /// Whether the answer is right.
    pub correct: bool,
    /// The tokens, without the end token.
    pub tokens: Vec<AnswerToken>,
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerToken {
    /// Its text, spaces included.
    pub text: String,
    /// The model that made it.
    pub origin: Origin,
    /// Text of the SLM's token at this position.
    pub slm_text: String,
    /// The router's score.
    pub score: f64,
}

/// A file of examples that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError {
    /// The file is no JSON, or fields are missing or unknown.
    #[error("the examples cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The file is of another version.
    #[error("the examples have format {got}; expected {FORMAT}")]
    Format {
        /// The file's version.
        got: u32,
    },
}

impl Examples {
    /// The content of a file of this version.
    #[must_use]
    pub fn new(wanted: usize, random: RandomWeights, questions: Vec<ExampleQuestion>) -> Self {
        Examples { format: FORMAT, wanted, random, questions }
    }

    /// The file's text.
    ///
    /// # Errors
    /// A score that JSON cannot hold.
    pub fn to_json(&self) -> Result<Vec<u8>, ExamplesError> {
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads what [`Examples::to_json`] wrote.
    ///
    /// # Errors
    /// A file of another version, or with other fields.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ExamplesError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format: got } = serde_json::from_slice(bytes)?;
        if got != FORMAT {
            return Err(ExamplesError::Format { got });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// How answers are read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Text of tokens.
    pub text: &'a dyn Fn(&[TokenId]) -> String,
    /// Whether a text is a right answer; it ended by itself or was cut.
    pub grade: &'a dyn Fn(&Question, &str, bool) -> bool,
}

/// Decodes every question at each threshold, `thresholds` being labels and values
/// of τ. `requests` are the questions' requests in the same order. `progress` advances by
/// one for every threshold.
///
/// # Errors
/// As [`decode`].
pub fn decode_examples<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    questions: &[Question],
    requests: &[Request<'_>],
    thresholds: &[(&str, Tau)],
    reading: Reading<'_>,
    progress: &dyn Progress,
) -> Result<Vec<ExampleQuestion>, RuntimeError> {
    let Reading { text, grade } = reading;
    let mut examples: Vec<ExampleQuestion> = questions.iter().map(unanswered).collect();
    for &(label, tau) in thresholds {
        let traces = decode(pair, scorer, tau, requests, DEFAULT_BATCH)?;
        for ((example, question), trace) in examples.iter_mut().zip(questions).zip(traces) {
            let shown: Vec<_> =
                trace.tokens.iter().filter(|t| !pair.vocabulary.is_end(t.token)).collect();
            let ids: Vec<TokenId> = trace.ids().collect();
            let Ok(read) = pair.vocabulary.read(&ids, |ids| Ok::<_, Infallible>(text(ids)));
            example.answers.push(ExampleAnswer {
                label: label.to_owned(),
                tau,
                correct: grade(question, &read.0, read.1),
                tokens: shown
                    .into_iter()
                    .map(|t| AnswerToken {
                        text: text(&[t.token]),
                        origin: t.origin,
                        slm_text: text(&[t.slm_token]),
                        score: t.score,
                    })
                    .collect(),
            });
        }
        progress.advance(1);
    }
    Ok(examples)
}

fn unanswered(question: &Question) -> ExampleQuestion {
    let choices = &question.choices;
    ExampleQuestion {
        id: question.id.clone(),
        question: question.question.clone(),
        choices: choices.label.iter().cloned().zip(choices.text.iter().cloned()).collect(),
        answer_key: question.answer_key.clone(),
        answers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_and_another_version_is_refused() {
        let token = AnswerToken {
            text: " 18".into(),
            origin: Origin::Llm,
            slm_text: "\u{fffd}".into(),
            score: 0.1 + f64::EPSILON,
        };
        let answer = ExampleAnswer {
            label: "LLM alone".into(),
            tau: Tau::LLM_ONLY,
            correct: true,
            tokens: vec![token],
        };
        let question = ExampleQuestion {
            id: "q".into(),
            question: "How many?".into(),
            choices: vec![("A".into(), "18".into())],
            answer_key: "A".into(),
            answers: vec![answer],
        };
        let random = RandomWeights { slm: true, llm: false };
        let examples = Examples::new(3, random, vec![question]);
        let json = examples.to_json().expect("JSON");
        assert_eq!(Examples::from_json(&json).expect("its own text"), examples);

        let text = String::from_utf8(json).expect("UTF-8");
        for (from, to, error) in [
            ("\"format\":1", "\"format\":2", "format 2; expected 1"),
            ("\"wanted\"", "\"asked\"", "unknown field `asked`"),
            ("\"tau\":1.0", "\"tau\":1.5", "expected a number from 0"),
        ] {
            assert!(text.contains(from), "{from}");
            let spoilt = text.replacen(from, to, 1);
            let refused = Examples::from_json(spoilt.as_bytes()).expect_err(to);
            assert!(refused.to_string().contains(error), "{refused}");
        }
    }
}
