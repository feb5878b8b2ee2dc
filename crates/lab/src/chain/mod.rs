//! The stages of an experiment over one loaded pair. Each skips itself when its
//! manifest still matches, and says whether it did.

mod examples;
mod experiment_llm;
pub mod labels;
pub mod latency;
pub mod report;
pub mod router;
pub mod sweep;
mod timing;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use tokenroute_core::{LanguageModel, ModelInfo, Progress, Question, TokenId};
use tokenroute_hub::reference;
use tokenroute_model::{
    Format, LoadOptions, LoadedModel, cache_folder, load_model, process_memory as memory,
};
use tokenroute_store::{self as store, Dataset, Manifest};

use crate::experiment::{Experiment, Override};
use crate::llm_usage::LlmUsage;
use crate::prompts::Prompter;
pub use experiment_llm::ExperimentLlm;
use timing::Took;

/// An experiment with its pair loaded.
pub struct Chain<'a> {
    /// The file.
    pub experiment: Experiment,
    /// The small model.
    pub slm: LoadedModel,
    /// The large one.
    pub llm: ExperimentLlm,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// Questions of one split with their prompts.
pub struct Asked {
    /// Name of the split.
    pub split: &'static str,
    /// The questions.
    pub questions: Vec<Question>,
    /// Their prompts in tokens.
    pub prompts: Vec<Vec<TokenId>>,
}

impl<'a> Chain<'a> {
    /// Reads the experiment and loads its pair.
    pub fn open(path: &Path, overrides: &[Override], progress: &'a dyn Progress) -> Result<Self> {
        let experiment = Experiment::load(path, overrides)?;
        let (named, quantize) = (&experiment.pair.slm, experiment.pair.slm_quantize);
        let top_k = experiment.train.top_k.max(8);
        let options = load_options(named, top_k, quantize);
        let slm = load_model(&experiment.source(named, progress)?, &options)?;
        let llm = ExperimentLlm::open(&experiment, &slm, top_k, progress)?;
        Ok(Chain { experiment, slm, llm, progress })
    }

    /// The first questions of a split, as many as the experiment wants.
    pub fn questions(&self, split: &'static str) -> Result<Asked> {
        let data = &self.experiment.data;
        let wanted = data.wanted(split);
        let mut questions = Vec::new();
        if wanted > 0 {
            questions = self.all_questions(split)?;
            anyhow::ensure!(
                questions.len() >= wanted,
                "the experiment wants {wanted} questions of {split}; the data set has {}",
                questions.len()
            );
            questions.truncate(wanted);
        }
        let folder = self.experiment.source(&self.experiment.pair.slm, self.progress)?;
        let prompter = Prompter::new(&data.prompt, &folder)?;
        if !data.allow_special_tokens {
            questions.iter().try_for_each(|q| Prompter::check_plain(q, &self.slm.tokenizer))?;
        }
        let prompts = questions
            .iter()
            .map(|q| prompter.prompt(q, &self.slm.tokenizer))
            .collect::<Result<_>>()?;
        Ok(Asked { split, questions, prompts })
    }

    fn all_questions(&self, split: &str) -> Result<Vec<Question>> {
        let data = &self.experiment.data;
        if let Some(dataset) = &data.dataset {
            return Ok(Dataset::open(&self.experiment.path(dataset))?.questions(split)?);
        }
        let source = data.files.get(split).context("the split has no file")?;
        let schema = data.schema.context("the experiment has no data.schema")?;
        let path = self.experiment.source(&source.file, self.progress)?;
        let mut questions = store::load_questions(&path, schema, data.grader)?;
        questions.drain(..source.skip.min(questions.len()));
        Ok(questions)
    }

    /// Text of tokens; a token that is no text by itself shows as U+FFFD.
    pub fn text(&self, ids: &[TokenId]) -> String {
        text(&self.slm, ids)
    }

    /// Text of an answer, its end token left out.
    pub fn answer_text(&self, ids: &[TokenId]) -> String {
        answer_text(&self.slm, ids)
    }

    /// A manifest with the pair's hashes among its inputs.
    pub fn manifest(&self, stage: &str, config: Value) -> Manifest {
        Manifest::new(stage, config, self.experiment.seed)
            .with_input("slm", &info(&self.slm.decoder).weights_hash)
            .with_input("llm", self.llm.hash())
            .with_input("tokenizer", self.slm.vocabulary.hash())
    }

    /// Runs a stage's work and records beside it what it took, added to what a run
    /// before it that came to no end had taken.
    pub fn timed<T>(&self, folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        store::make_dir(folder)?;
        let (before, asked) = (timing::took(folder), self.llm.paid());
        let begun = Instant::now();
        memory::reset_peak();
        let result = work();
        let paid = self.llm.paid().zip(asked).map(|(now, asked)| now.since(asked));
        let took = Took {
            seconds: before.seconds + begun.elapsed().as_secs_f64(),
            peak_bytes: memory::peak().max(before.peak_bytes),
            paid: paid.map(|paid| paid.with(before.paid.unwrap_or_default())),
        };
        timing::record(folder, took).context("cannot record what the stage took")?;
        result
    }

    /// What the stage in a folder under `run/` asked of an LLM on a server.
    pub fn paid(&self, stage: &str) -> Option<LlmUsage> {
        timing::took(&self.experiment.run(stage)).paid
    }
}

/// How to load a named model.
fn load_options(named: &Path, top_k: usize, quantize: Option<Format>) -> LoadOptions {
    let (name, cache) = (reference(named).map(str::to_owned), cache_folder());
    LoadOptions { name, top_k, quantize, cache, ..LoadOptions::default() }
}

/// As [`Chain::text`].
fn text(model: &LoadedModel, ids: &[TokenId]) -> String {
    model.tokenizer.decode(ids).unwrap_or_else(|_| "\u{fffd}".to_owned())
}

/// As [`Chain::answer_text`].
fn answer_text(model: &LoadedModel, ids: &[TokenId]) -> String {
    let ends = ids.last().is_some_and(|&last| model.vocabulary.is_end(last));
    text(model, &ids[..ids.len() - usize::from(ends)])
}

/// Facts about a model.
pub fn info(model: &impl LanguageModel) -> &ModelInfo {
    model.info()
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
