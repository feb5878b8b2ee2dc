//! The grader `judge`: a language model on a chat server judges every answer.
//!
//! It gets the experiment's prompt and must begin its reply with yes (right) or no (wrong). Any
//! other reply is an error. Verdicts are kept in the run folder, so that a killed stage asks for
//! none twice.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokenroute_core::{Question, Vocabulary, template};
use tokenroute_llm::http::{Http, HttpConfig, TextApi};
use tokenroute_llm::{ApiKey, JUDGE_KEY};
use tokenroute_store as store;

use crate::experiment::JudgeSection;

/// Most characters of a reply that an error shows.
const SHOWN: usize = 100;

/// A model that judges answers. Each answer to a question is judged once.
#[derive(Debug)]
pub(crate) struct JudgeGrader {
    http: Http,
    section: JudgeSection,
    /// Hash of the model's name, the prompt and the length of the reply.
    identity: String,
    verdicts: Mutex<Verdicts>,
}

/// Verdicts by the hash of what was asked.
#[derive(Debug)]
struct Verdicts {
    known: HashMap<String, bool>,
    folder: PathBuf,
    /// Where this process adds its own, once it has one.
    file: Option<File>,
}

/// A line of a file of verdicts.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    asked: String,
    right: bool,
}

impl JudgeGrader {
    /// The judge of an experiment. Verdicts are kept in `folder`. Nothing is sent yet.
    ///
    /// # Errors
    /// A URL that cannot be asked, a key that cannot be sent, or a folder that cannot be read.
    pub(crate) fn new(section: &JudgeSection, folder: PathBuf) -> Result<Self> {
        let time = Duration::from_secs_f64(section.seconds);
        let mut config = HttpConfig::new(&section.url);
        config.text = Some(TextApi::ChatContinue);
        config.model = Some(section.model.clone());
        config.key = ApiKey::from_env(JUDGE_KEY)?;
        (config.first_byte, config.total) = (time, time);
        ensure!(
            config.key.is_none() || !HttpConfig::exposes_key(&section.url),
            "data.judge.url is {}: plain http would show {JUDGE_KEY} to the network; use https",
            section.url
        );
        let none = Vocabulary::new(Vec::new(), Vec::new(), String::new());
        let http = Http::new(config, none, None).context("data.judge.url")?;
        let identity = [&section.model, &section.prompt, &section.max_tokens.to_string()];
        let identity = store::sha256(identity.map(|part| format!("{part}\0")).concat().as_bytes());
        let known = read(&folder)?;
        let verdicts = Mutex::new(Verdicts { known, folder, file: None });
        Ok(JudgeGrader { http, section: section.clone(), identity, verdicts })
    }

    /// Changes if the model's name, the prompt or the length of the reply changes.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether an answer is right.
    ///
    /// # Errors
    /// A server that does not answer, or whose reply is no verdict; a verdict that cannot be kept.
    pub(crate) fn judge(&self, question: &Question, answer: &str) -> Result<bool> {
        let message = message(&self.section.prompt, question, answer);
        let asked = store::sha256(format!("{}\0{message}", self.identity).as_bytes());
        if let Some(right) = self.verdicts().known.get(&asked) {
            return Ok(*right);
        }
        let right = self.ask(&message).with_context(|| {
            let JudgeSection { model, url, .. } = &self.section;
            format!("question {:?} cannot be judged by {model:?} at {url}", question.id)
        })?;
        self.verdicts().keep(asked, right)?;
        Ok(right)
    }

    fn ask(&self, message: &str) -> Result<bool> {
        let reply = self.http.chat(message, self.section.max_tokens)?;
        let Some(right) = verdict(&reply) else {
            let shown: String = reply.chars().take(SHOWN).collect();
            bail!("the reply is {shown:?}; expected one that begins with yes or no");
        };
        Ok(right)
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdicts {
    /// Adds a verdict to this process's file, in one write.
    fn keep(&mut self, asked: String, right: bool) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.folder)?),
        };
        let verdict = Verdict { asked, right };
        let line = format!("{}\n", serde_json::to_string(&verdict)?);
        file.write_all(line.as_bytes())
            .with_context(|| format!("no verdict can be kept in {}", self.folder.display()))?;
        self.known.insert(verdict.asked, right);
        Ok(())
    }
}

/// A file of this process alone, since several may work on parts of one experiment.
fn create(folder: &Path) -> Result<File> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = folder.join(format!("{}-{since}.jsonl", std::process::id()));
    let named = || format!("{} cannot be made", path.display());
    std::fs::create_dir_all(folder).with_context(named)?;
    OpenOptions::new().append(true).create_new(true).open(&path).with_context(named)
}

/// The verdicts of earlier processes. The last line of a killed process may be cut; it is left
/// out.
fn read(folder: &Path) -> Result<HashMap<String, bool>> {
    let mut known = HashMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(known) };
    for entry in entries {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let verdicts = text.lines().filter_map(|line| serde_json::from_str::<Verdict>(line).ok());
        known.extend(verdicts.map(|verdict| (verdict.asked, verdict.right)));
    }
    Ok(known)
}

/// The prompt for an answer. What stands in the question or the answer is no placeholder.
fn message(prompt: &str, question: &Question, answer: &str) -> String {
    let choices = question.choices.label.iter().zip(&question.choices.text);
    let choices: Vec<String> = choices.map(|(label, text)| format!("{label}. {text}")).collect();
    let choices = choices.join("\n");
    let values = [
        ("question", question.question.as_str()),
        ("choices", &choices),
        ("key", &question.answer_key),
        ("answer", answer),
    ];
    template::fill(prompt, &values)
}

/// The verdict that a reply begins with.
fn verdict(reply: &str) -> Option<bool> {
    let word: String = reply
        .trim_start_matches(|c: char| !c.is_alphanumeric())
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match word.as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_begins_with_its_verdict() {
        for (reply, right) in [
            ("yes", Some(true)),
            ("**No**, the key is 5.", Some(false)),
            ("\n Yes.", Some(true)),
            ("nothing", None),
            ("It is right: yes", None),
            ("", None),
        ] {
            assert_eq!(verdict(reply), right, "{reply:?}");
        }
    }

    #[test]
    fn placeholders_in_an_answer_stay_as_they_are() {
        let json = r#"{"id": "q", "question": "Why {key}?", "answerKey": "42", "grader": "judge"}"#;
        let question: Question = serde_json::from_str(json).expect("a question");
        let prompt = "Q: {question}\n{choices}K: {key}\nA: {answer} {{ok}}";
        let expected = "Q: Why {key}?\nK: 42\nA: {question} {ok}";
        assert_eq!(message(prompt, &question, "{question}"), expected);
    }
}
