//! What judges answers outside this program, and its checks: a program, or a model on a server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenroute_core::Grader;
use tokenroute_core::template::places;

use super::DataSection;
use super::check::{Fault, fault};

/// Greatest time limit in seconds: a day.
const LONGEST: f64 = 86_400.0;

/// The program of the grader `command`. It gets `{"answer", "key"}` as JSON on standard input, and
/// ends with status 0 (right) or 1 (wrong). It runs with `--allow-commands` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSection {
    /// The program and its arguments. It runs in the folder of the experiment file.
    pub program: Vec<String>,
    /// Most seconds for one answer. A program that takes longer is ended, which is an error.
    #[serde(default = "default_seconds")]
    pub seconds: f64,
}

fn default_seconds() -> f64 {
    10.0
}

/// The server of the grader `judge`. Its key is read from `TOKENROUTE_JUDGE_KEY`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeSection {
    /// URL of a server with `/v1/chat/completions`.
    pub url: String,
    /// The model's name on the server.
    pub model: String,
    /// The message. `{question}`, `{choices}`, `{key}` and `{answer}` are replaced. The reply must
    /// begin with yes (right) or no (wrong).
    #[serde(default = "default_prompt")]
    pub prompt: String,
    /// Most tokens of a reply.
    #[serde(default = "default_reply")]
    pub max_tokens: usize,
    /// Most seconds for one answer, further attempts included.
    #[serde(default = "default_judge_seconds")]
    pub seconds: f64,
}

fn default_prompt() -> String {
    "Question: {question}\n{choices}\nReference answer: {key}\n\nAnswer to judge:\n{answer}\n\n\
     Does the answer come to the reference answer? Reply with yes or no alone."
        .to_owned()
}

fn default_reply() -> usize {
    8
}

fn default_judge_seconds() -> f64 {
    60.0
}

pub(super) fn check(data: &DataSection) -> Result<(), Fault> {
    command(data)?;
    judge(data)
}

fn seconds(key: &str, seconds: f64) -> Result<(), Fault> {
    if seconds > 0.0 && seconds <= LONGEST {
        return Ok(());
    }
    fault(key, format!("is {seconds}; expected more than 0, at most {LONGEST}"))
}

/// The section of a grader that is asked, if it is in use. `names` is what the section names.
fn used<'d, T>(
    data: &DataSection,
    grader: Grader,
    section: Option<&'d T>,
    [name, names]: [&str; 2],
) -> Result<Option<&'d T>, Fault> {
    let graded = data.grader == Some(grader);
    let (key, what) = match section {
        None if graded => {
            ("data.grader".to_owned(), format!("is \"{name}\"; name its {names} in data.{name}"))
        }
        Some(_) if !graded && data.dataset.is_none() => (
            format!("data.{name}"),
            format!("is not used; set data.grader = \"{name}\", or remove it"),
        ),
        section => return Ok(section),
    };
    Err((key, what))
}

fn judge(data: &DataSection) -> Result<(), Fault> {
    let judge = used(data, Grader::Judge, data.judge.as_ref(), ["judge", "server"])?;
    let Some(section) = judge else { return Ok(()) };
    if section.model.is_empty() {
        return fault("data.judge.model", "is empty; expected the model's name on the server");
    }
    match places(&section.prompt, &["question", "choices", "key", "answer"]) {
        Ok(found) if found.contains(&"answer") => {}
        Ok(_) => {
            return fault(
                "data.judge.prompt",
                "has no {answer}; expected it where the answer goes",
            );
        }
        Err(what) => return fault("data.judge.prompt", what),
    }
    if section.max_tokens == 0 {
        return fault("data.judge.max_tokens", "is 0; expected at least 1");
    }
    seconds("data.judge.seconds", section.seconds)
}

fn command(data: &DataSection) -> Result<(), Fault> {
    let command = used(data, Grader::Command, data.command.as_ref(), ["command", "program"])?;
    let Some(section) = command else { return Ok(()) };
    if section.program.first().is_none_or(String::is_empty) {
        return fault("data.command.program", "is empty; expected a program and its arguments");
    }
    seconds("data.command.seconds", section.seconds)
}
