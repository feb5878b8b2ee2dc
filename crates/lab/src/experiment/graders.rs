//! What judges answers outside this program, and its checks: a program, or a model on a server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenroute_core::Grader;

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

fn judge(data: &DataSection) -> Result<(), Fault> {
    let graded = data.grader == Some(Grader::Judge);
    let Some(section) = &data.judge else {
        return match graded {
            true => fault("data.grader", "is \"judge\"; name its server in data.judge"),
            false => Ok(()),
        };
    };
    if !graded && data.dataset.is_none() {
        return fault("data.judge", "is not used; set data.grader = \"judge\", or remove it");
    }
    if section.model.is_empty() {
        return fault("data.judge.model", "is empty; expected the model's name on the server");
    }
    if !section.prompt.contains("{answer}") {
        return fault("data.judge.prompt", "has no {answer}; expected it where the answer goes");
    }
    if section.max_tokens == 0 {
        return fault("data.judge.max_tokens", "is 0; expected at least 1");
    }
    seconds("data.judge.seconds", section.seconds)
}

fn command(data: &DataSection) -> Result<(), Fault> {
    let graded = data.grader == Some(Grader::Command);
    let Some(section) = &data.command else {
        return match graded {
            true => fault("data.grader", "is \"command\"; name its program in data.command"),
            false => Ok(()),
        };
    };
    if !graded && data.dataset.is_none() {
        return fault("data.command", "is not used; set data.grader = \"command\", or remove it");
    }
    if section.program.first().is_none_or(String::is_empty) {
        return fault("data.command.program", "is empty; expected a program and its arguments");
    }
    seconds("data.command.seconds", section.seconds)
}
