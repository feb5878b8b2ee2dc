//! The grader `command`: a program of the user's judges every answer.
//!
//! The program gets `{"answer": …, "key": …}` on standard input and ends with status 0 (right)
//! or 1 (wrong). Any other end is an error. It runs in the experiment's folder. What it writes
//! to standard output is dropped; standard error goes where ours goes.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokenroute_core::Question;
use tokenroute_store as store;
use wait_timeout::ChildExt;

use crate::experiment::CommandSection;

/// A program that judges answers. Each key with an answer is judged once in a process.
#[derive(Debug)]
pub(crate) struct CommandGrader {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    limit: Duration,
    /// Hash of the command and of the files that it names.
    identity: String,
    /// Verdicts by what the program gets, the key and the answer. Questions of several splits may
    /// have one id.
    known: Mutex<HashMap<(String, String), bool>>,
}

impl CommandGrader {
    /// The program of an experiment in `folder`.
    ///
    /// # Errors
    /// A program with a slash in its name that does not exist.
    pub(crate) fn new(section: &CommandSection, folder: &Path) -> Result<Self> {
        let folder = if folder == Path::new("") { Path::new(".") } else { folder };
        let (name, arguments) = section.program.split_first().context("data.command is empty")?;
        let mut program = PathBuf::from(name);
        if name.contains('/') {
            program = folder.join(name);
            ensure!(
                store::exists(&program),
                "data.command.program names {}, which does not exist; paths are relative to the experiment file",
                program.display()
            );
            // A relative path would be looked up in the program's own folder.
            program = std::path::absolute(&program)?;
        }
        let mut identity = section.program.join("\0");
        for part in &section.program {
            let path = folder.join(part);
            if path.is_file() {
                identity.push('\n');
                identity.push_str(&store::sha256_file(&path)?);
            }
        }
        Ok(CommandGrader {
            program,
            arguments: arguments.to_vec(),
            folder: folder.to_owned(),
            limit: Duration::from_secs_f64(section.seconds),
            identity: store::sha256(identity.as_bytes()),
            known: Mutex::new(HashMap::new()),
        })
    }

    /// Changes if the command changes, or a file that it names.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The command, as an error names it.
    pub(crate) fn shown(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| format!(" {argument}"));
        format!("{}{}", self.program.display(), arguments.collect::<String>())
    }

    /// Whether an answer is right.
    ///
    /// # Errors
    /// A program that cannot be started, ends otherwise than with 0 or 1, or exceeds its time
    /// limit.
    pub(crate) fn judge(&self, question: &Question, answer: &str) -> Result<bool> {
        let place = (question.answer_key.clone(), answer.to_owned());
        if let Some(known) = self.known().get(&place) {
            return Ok(*known);
        }
        let verdict = self.run(question, answer).with_context(|| {
            format!("question {:?} cannot be graded by `{}`", question.id, self.shown())
        })?;
        self.known().insert(place, verdict);
        Ok(verdict)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), bool>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn run(&self, question: &Question, answer: &str) -> Result<bool> {
        let input = serde_json::json!({"answer": answer, "key": question.answer_key}).to_string();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("it cannot be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program may end before it has read everything, which is no fault of its own.
            thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        }
        let Some(status) = child.wait_timeout(self.limit)? else {
            child.kill()?;
            child.wait()?;
            let seconds = self.limit.as_secs_f64();
            bail!("it ran longer than data.command.seconds, {seconds}, and was ended");
        };
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => bail!("it ended with {status}; expected exit status 0 (right) or 1 (wrong)"),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn questions_of_two_splits_with_one_id_are_judged_by_their_own_keys() {
        let program = ["sh", "-c", "grep -q '\"key\":\"A\"'"].map(str::to_owned).to_vec();
        let section = CommandSection { program, seconds: 10.0 };
        let grader = CommandGrader::new(&section, Path::new("")).expect("a program");
        let question = |key: &str| -> Question {
            let json = format!(r#"{{"id": "0", "question": "Which?", "answerKey": "{key}"}}"#);
            serde_json::from_str(&json).expect("a question")
        };
        for (key, right) in [("A", true), ("B", false), ("A", true)] {
            assert_eq!(grader.judge(&question(key), "A it is").expect("a verdict"), right, "{key}");
        }
    }
}
