//! The stages of an experiment over its pair. A stage whose manifest still matches is
//! skipped, and loads no model.

mod answers;
mod chunks;
pub mod compare;
mod diagnostics;
mod errors;
mod estimate;
mod examples;
mod experiment_llm;
mod given_states;
mod grading;
mod hashes;
pub mod labels;
pub mod latency;
mod llm_server;
mod other_tokenizer;
mod pair;
mod parts;
mod questions;
pub mod report;
pub mod router;
mod shared_answers;
pub mod sweep;
mod timing;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde_json::Value;
use tokenroute_core::{Part, Progress, Question, TokenId, common_prefix};
use tokenroute_llm::http::HttpConfig;
use tokenroute_model::{ModelCard, process_memory as memory};
use tokenroute_store::{self as store, Dataset, FolderLock, Manifest};

use crate::experiment::{Experiment, Override, SPLITS};
use crate::llm_usage::{LlmUsage, TextUsage};
use crate::prompts::Prompter;
pub use estimate::LabelEstimate;
pub use experiment_llm::ExperimentLlm;
use grading::Grading;
use hashes::Hashes;
pub use pair::LoadedPair;
use pair::NamedPair;
pub use parts::Merged;
use timing::Took;

/// An experiment and its pair. The models are loaded when a stage first decodes.
pub struct Chain<'a> {
    /// The file.
    pub experiment: Experiment,
    /// Receives the progress of long work.
    pub progress: &'a dyn Progress,
    hashes: Hashes,
    named: NamedPair,
    grading: Grading,
    /// Where an engine's hidden states of the SLM lie, for the first label round, if anywhere.
    states: Option<PathBuf>,
    /// Where judgements are kept beside the experiment file, if anywhere.
    judgements: Option<PathBuf>,
    loaded: OnceLock<LoadedPair>,
    /// The part of a stage's work that is done here, if not all of it.
    part: Option<Part>,
    /// The lock of the place where it writes, once a stage has work to do.
    lock: OnceLock<FolderLock>,
    splits: [OnceLock<Asked>; SPLITS.len()],
}

/// Questions of one split with their prompts.
#[derive(Clone)]
pub struct Asked {
    /// Name of the split.
    pub split: &'static str,
    /// The questions.
    pub questions: Vec<Question>,
    /// Their prompts in tokens.
    pub prompts: Vec<Vec<TokenId>>,
}

/// Tokens at the end of a prompt that show whether it ends within a model's thinking.
const PROMPT_END: usize = 16;

impl<'a> Chain<'a> {
    /// Reads the experiment and what names its pair. No model is loaded.
    pub fn open(path: &Path, overrides: &[Override], progress: &'a dyn Progress) -> Result<Self> {
        Self::of(Experiment::load(path, overrides)?, progress)
    }

    /// Reads what names the pair of an experiment. No model is loaded.
    pub fn of(experiment: Experiment, progress: &'a dyn Progress) -> Result<Self> {
        let hashes = Hashes::of(&experiment);
        let named = NamedPair::read(&experiment, &hashes, progress)?;
        let (loaded, lock, splits) = (OnceLock::new(), OnceLock::new(), Default::default());
        let judgements = experiment.label.judgements.as_ref().map(|kept| experiment.path(kept));
        let (part, grading) = (None, Grading::of(&experiment)?);
        Ok(Chain {
            experiment,
            progress,
            hashes,
            named,
            grading,
            states: None,
            judgements,
            loaded,
            part,
            lock,
            splits,
        })
    }

    /// The same experiment, of which `label` and `sweep` do one part. [`Chain::merge_labels`] and
    /// [`Chain::merge_sweep`] join the parts.
    #[must_use]
    pub fn of_part(self, part: Part) -> Self {
        Chain { part: Some(part), ..self }
    }

    /// The pair, loaded if need be. All questions are read first, so that a fault in them
    /// comes before the wait for the models.
    pub fn pair(&self) -> Result<&LoadedPair> {
        if let Some(pair) = self.loaded.get() {
            return Ok(pair);
        }
        self.check_commands()?;
        let mut longest = 0;
        for split in SPLITS {
            let asked = self.questions(split)?;
            longest = asked.prompts.iter().map(Vec::len).fold(longest, usize::max);
        }
        let pair = self.named.load(&self.experiment, &self.workplace(), self.progress)?;
        if let Some(context) = pair.llm.server_context() {
            // The last token of an answer is not read.
            let needed = longest + self.experiment.data.max_tokens.saturating_sub(1);
            anyhow::ensure!(
                needed <= context,
                "the LLM's server reads {context} tokens, and the longest prompt with its answer has {needed}; start the server with a longer context, or lower data.max_tokens"
            );
        }
        let asked = || self.splits.iter().filter_map(OnceLock::get);
        pair.llm.announce(&self.experiment.data, asked())?;
        pair.read(common_prefix(asked().flat_map(|a| a.prompts.iter().map(Vec::as_slice))))?;
        Ok(self.loaded.get_or_init(|| pair))
    }

    /// Configuration and tokenizer of the small model.
    pub fn slm(&self) -> &ModelCard {
        &self.named.slm
    }

    /// The first questions of a split, as many as the experiment takes.
    pub fn questions(&self, split: &'static str) -> Result<Asked> {
        let place = SPLITS.iter().position(|known| *known == split);
        let place = place.with_context(|| format!("{split:?} is no split"))?;
        if let Some(asked) = self.splits[place].get() {
            return Ok(asked.clone());
        }
        let asked = self.read_questions(split)?;
        Ok(self.splits[place].get_or_init(|| asked).clone())
    }

    fn read_questions(&self, split: &'static str) -> Result<Asked> {
        let data = &self.experiment.data;
        let wanted = data.wanted(split);
        let mut questions = Vec::new();
        if wanted > 0 {
            questions = self.all_questions(split)?;
            anyhow::ensure!(
                questions.len() >= wanted,
                "the experiment takes {wanted} questions of {split}; the data set has {}",
                questions.len()
            );
            questions.truncate(wanted);
        }
        self.grading.mark(&mut questions)?;
        let folder = self.experiment.source(&self.experiment.pair.slm, self.progress)?;
        let prompter = Prompter::new(&data.prompt, &folder)?;
        if !data.allow_special_tokens {
            questions.iter().try_for_each(|q| Prompter::check_plain(q, &self.slm().tokenizer))?;
        }
        let prompts = questions
            .iter()
            .map(|q| prompter.prompt(q, &self.slm().tokenizer))
            .collect::<Result<Vec<_>>>()?;
        if let Some(first) = prompts.first() {
            self.grading.follow(self.text(&first[first.len().saturating_sub(PROMPT_END)..]));
        }
        Ok(Asked { split, questions, prompts })
    }

    fn all_questions(&self, split: &str) -> Result<Vec<Question>> {
        let data = &self.experiment.data;
        if let Some(dataset) = &data.dataset {
            return Ok(Dataset::open(&self.experiment.path(dataset))?.questions(split)?);
        }
        let source = data.files.get(split).context("the split has no file")?;
        let path = self.experiment.source(&source.file, self.progress)?;
        let mut questions = match (&data.columns, data.schema) {
            (Some(columns), _) => store::load_mapped(&path, columns, data.grader)?,
            (None, Some(schema)) => store::load_questions(&path, schema, data.grader)?,
            (None, None) => {
                anyhow::bail!("the experiment has neither data.schema nor data.columns")
            }
        };
        questions.drain(..source.skip.min(questions.len()));
        Ok(questions)
    }

    /// Text of tokens; a token that is no text by itself shows as U+FFFD.
    pub fn text(&self, ids: &[TokenId]) -> String {
        text(self.slm(), ids)
    }

    /// Text of an answer up to its end, and whether it has one.
    pub fn answer_text(&self, ids: &[TokenId]) -> (String, bool) {
        answer_text(self.slm(), ids)
    }

    /// A manifest with the pair's hashes among its inputs. Its configuration names the text
    /// that ends an answer, where there is one, a pair that shares text alone, and devices other
    /// than the kernels.
    pub fn manifest(&self, stage: &str, mut config: Value) -> Manifest {
        if let Some(separator) = self.slm().vocabulary.separator() {
            config["separator"] = separator.into();
        }
        if self.experiment.pair.through_text {
            config["through_text"] = true.into();
        }
        let devices = self.experiment.pair.other_devices();
        for (key, device) in ["slm_device", "llm_device"].into_iter().zip(devices) {
            if let Some(device) = device {
                config[key] = device.into();
            }
        }
        let hashes = self.named.hashes();
        Manifest::new(stage, config, self.experiment.seed)
            .with_input("slm", hashes.slm)
            .with_input("llm", hashes.llm)
            .with_input("tokenizer", hashes.tokenizer)
    }

    /// Locks `run/`, or the folder of a part, before work is written there. The lock holds until
    /// the chain is dropped.
    fn lock(&self) -> Result<()> {
        if self.lock.get().is_none() {
            let holder = format!("process {}", std::process::id());
            let lock = FolderLock::take(&self.workplace(), &holder)?;
            self.lock.get_or_init(|| lock);
        }
        Ok(())
    }

    /// Runs a stage's work and records its cost beside it, added to the cost of earlier
    /// runs that were killed. The time is recorded while it runs, calls at its end.
    pub fn timed<T>(&self, folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.lock()?;
        store::make_dir(folder)?;
        let (before, asked) = (timing::took(folder), self.usage());
        let written = self.text_usage();
        memory::reset_peak();
        let so_far = |seconds| Took {
            seconds: before.seconds + seconds,
            peak_bytes: memory::peak().max(before.peak_bytes),
            usage: before.usage,
            text: before.text,
        };
        let (result, seconds) = timing::noted(timing::PERIOD, work, |seconds| {
            // A record that fails is written again; the last one must not fail.
            let _ = timing::record(folder, so_far(seconds));
        });
        let usage = self.usage().zip(asked).map(|(now, asked)| now.since(asked));
        let usage = usage.map(|usage| usage.with(before.usage.unwrap_or_default()));
        let text = self.text_usage().and_then(|now| {
            let new = now.since(written.unwrap_or_default());
            if new.answers > 0 {
                self.progress.note(&new.to_string());
            }
            let all = new.with(before.text.unwrap_or_default());
            (all.answers > 0).then_some(all)
        });
        if let Some(bill) = self.loaded.get().and_then(|pair| pair.llm.bill()) {
            self.progress.note(&bill.to_string());
        }
        timing::record(folder, Took { usage, text, ..so_far(seconds) })
            .context("cannot record the cost of the stage")?;
        result
    }

    /// Calls to an LLM on a server so far; `None` for one in process.
    fn usage(&self) -> Option<LlmUsage> {
        HttpConfig::url_of(&self.experiment.pair.llm)?;
        Some(self.loaded.get().and_then(|pair| pair.llm.usage()).unwrap_or_default())
    }

    /// What answers took so far in tokens of an LLM that has its own.
    fn text_usage(&self) -> Option<TextUsage> {
        self.loaded.get()?.llm.text_usage()
    }

    /// Calls to an LLM on a server by the stage in a folder under `run/`.
    pub fn usage_of(&self, stage: &str) -> Option<LlmUsage> {
        timing::took(&self.experiment.run(stage)).usage
    }
}

/// As [`Chain::text`].
fn text(model: &ModelCard, ids: &[TokenId]) -> String {
    model.tokenizer.decode(ids).unwrap_or_else(|_| "\u{fffd}".to_owned())
}

/// As [`Chain::answer_text`].
fn answer_text(model: &ModelCard, ids: &[TokenId]) -> (String, bool) {
    let Ok(read) = model.vocabulary.read(ids, |ids| Ok::<_, Infallible>(text(model, ids)));
    read
}

/// A hash over questions, as an input of a stage.
pub fn questions_hash(asked: &[&Asked]) -> Result<String> {
    let mut text = String::new();
    for part in asked {
        text.push_str(part.split);
        for question in &part.questions {
            text.push('\n');
            text.push_str(&serde_json::to_string(question)?);
        }
    }
    Ok(store::sha256(text.as_bytes()))
}
