//! The sweep stage: exact curves of every policy on every evaluated split, in
//! chunks of questions that survive a kill.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tokenroute_core::{LanguageModel, Llm, Scorer, TokenId};
use tokenroute_runtime::{Pair, Request};
use tokenroute_store::{self as store, Manifest, PolicyCurves};
use tokenroute_sweep::examples::Examples;
use tokenroute_sweep::policies::Baseline;
use tokenroute_sweep::{SweepCost, SweepOptions, SweptQuestion, sweep};

use super::grading::Graded;
use super::questions::Facts;
use super::{Asked, Chain, examples, questions_hash, timing};

/// Where the curves lie, under `run/`.
pub const FOLDER: &str = "sweep";
/// The router's name among the policies.
pub const ROUTER: &str = "router";
pub(super) const CURVES: &str = "curves.parquet";
/// Goes up when a column of the curves is new or changes, so that those without it are made
/// anew.
pub(super) const COLUMNS: u32 = 4;
pub(super) const COSTS: &str = "costs.json";
/// What policies that decide once a question read.
pub(super) const FACTS: &str = "questions.json";
pub(crate) const PARTIAL: &str = "partial";

/// Costs by split and policy.
pub type Costs = BTreeMap<String, BTreeMap<String, SweepCost>>;

/// Positions the LLM processed for all of them, each as if it had been swept alone.
pub fn llm_positions(costs: &Costs) -> u64 {
    costs.values().flat_map(BTreeMap::values).map(|cost| cost.llm_positions).sum()
}

/// How many SLM and LLM positions were processed, and how many the policies alone would take:
/// the policies share what the models say after a prefix.
pub fn shared_line(costs: &Costs) -> String {
    shared_words(costs.values().flat_map(BTreeMap::values).copied().sum())
}

pub(super) fn shared_words(sum: SweepCost) -> String {
    let model = |name, new: u64, alone: u64| {
        let share = 100.0 * (1.0 - new as f64 / alone.max(1) as f64);
        format!("{new} {name} positions processed, {share:.1}% fewer than each policy alone")
    };
    let slm = model("SLM", sum.new_slm_positions, sum.slm_positions);
    format!("{slm}; {}", model("LLM", sum.new_llm_positions, sum.llm_positions))
}

impl Chain<'_> {
    /// Sweeps and decodes the examples, or finds both there. Returns whether it was
    /// skipped. A chain of a part sweeps its share of the questions.
    pub fn sweep(&self) -> Result<bool> {
        if let Some(part) = self.part {
            return self.sweep_share(part);
        }
        let folder = self.experiment.run(FOLDER);
        let asked = self.swept_questions()?;
        let work = self.sweep_work(&asked)?;
        let found = self.kept_curves(&work, &folder)?;
        let mut done = match &found {
            Some(found) => found.clone(),
            None => self.sweep_curves(&asked, work, &folder)?,
        };
        if self.kept_examples(&done, &folder)?.is_some() {
            return Ok(found.is_some());
        }
        // Sweeps of earlier versions kept no examples; a report that is there needs none.
        let never_kept = found.is_some() && !done.outputs.contains_key(examples::FILE);
        if never_kept && self.is_reported(&done.outputs_hash())? {
            return Ok(true);
        }
        self.pair()?;
        self.timed(&folder, || {
            self.make_examples(&asked, &folder)?;
            done.add_output(&folder, examples::FILE)?;
            Ok(done.save(&folder)?)
        })?;
        self.progress.finish();
        Ok(false)
    }

    /// Sweeps every policy, in chunks, and keeps the curves and their costs.
    fn sweep_curves(&self, asked: &[Asked], mut work: Manifest, folder: &Path) -> Result<Manifest> {
        self.lock()?;
        let partial = self.begin_sweep(&work, folder)?;
        self.pair()?;
        self.timed(folder, || {
            self.sweep_chunks(asked, &partial, None)?;
            for file in self.join_chunks(asked, &partial, folder)? {
                work.add_output(folder, file)?;
            }
            work.save(folder)?;
            Ok(store::remove(&partial)?)
        })?;
        self.progress.finish();
        Ok(work)
    }

    /// The folder of an unfinished sweep's chunks, with its manifest. Those of other work are
    /// removed.
    pub(super) fn begin_sweep(&self, work: &Manifest, folder: &Path) -> Result<PathBuf> {
        let partial = folder.join(PARTIAL);
        if !Manifest::load(&partial)?.is_some_and(|begun| begun.matches(work)) {
            store::remove(&partial)?;
            timing::forget(folder)?;
            store::make_dir(&partial)?;
            work.save(&partial)?;
        }
        Ok(partial)
    }

    /// The finished curves, their costs and the hash of both.
    pub fn swept(&self) -> Result<(Vec<PolicyCurves>, Costs, String)> {
        let folder = self.experiment.run(FOLDER);
        let mut done = self.finished_sweep(&folder)?;
        let curves = store::read_curves(&folder.join(CURVES))?;
        let costs = serde_json::from_slice(&store::read(&folder.join(COSTS))?)?;
        // The examples are made from the curves and do not change them.
        done.outputs.remove(examples::FILE);
        Ok((curves, costs, done.outputs_hash()))
    }

    /// What policies that decide once a question read, of a finished sweep.
    pub(super) fn facts(&self) -> Result<Facts> {
        if !self.reads_facts() {
            return Ok(Facts::new());
        }
        let path = self.experiment.run(FOLDER).join(FACTS);
        Ok(serde_json::from_slice(&store::read(&path)?)?)
    }

    /// The finished examples.
    pub fn examples(&self) -> Result<Examples> {
        let folder = self.experiment.run(FOLDER);
        let done = self.finished_sweep(&folder)?;
        self.kept_examples(&done, &folder)?.context(
            "the example answers are missing or stale; run `tokenroute sweep` first, which keeps the curves",
        )
    }

    fn finished_sweep(&self, folder: &Path) -> Result<Manifest> {
        self.kept_curves(&self.sweep_work(&self.swept_questions()?)?, folder)?
            .context("the curves are missing or stale; run `tokenroute sweep` first")
    }

    /// The manifest in a folder if it is of this work and its curves and costs are whole.
    /// The examples may be missing.
    pub(super) fn kept_curves(&self, work: &Manifest, folder: &Path) -> Result<Option<Manifest>> {
        let Some(found) = Manifest::load(folder)?.filter(|found| found.matches(work)) else {
            return Ok(None);
        };
        let facts = self.reads_facts().then_some(FACTS);
        for file in [CURVES, COSTS].into_iter().chain(facts) {
            if !found.holds(folder, file, &self.hashes)? {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// The splits that are swept, empty ones left out.
    pub fn swept_questions(&self) -> Result<Vec<Asked>> {
        let mut asked = Vec::new();
        for split in [self.experiment.data.calibration_split(), "test", "test-ood"] {
            let part = self.questions(split)?;
            if !part.questions.is_empty() {
                asked.push(part);
            }
        }
        Ok(asked)
    }

    /// The baselines that the experiment names and that decide by token.
    pub fn baselines(&self) -> Vec<Baseline> {
        let names = &self.experiment.sweep.baselines;
        names.iter().filter_map(|name| Baseline::from_name(name)).collect()
    }

    /// The LLM, which answers each question once.
    pub fn cloud(&self) -> Result<Box<dyn Llm + '_>> {
        Ok(self.pair()?.llm.called(0))
    }

    /// Sweeps one policy over some questions of a split.
    pub fn sweep_part<S: LanguageModel>(
        &self,
        slm: &S,
        cloud: &dyn Llm,
        scorer: &dyn Scorer,
        asked: &Asked,
        range: Range<usize>,
        options: &SweepOptions,
    ) -> Result<Vec<SweptQuestion>> {
        let questions = &asked.questions[range.clone()];
        let requests = self.requests(asked, range);
        let graded = Graded::new(&self.grading);
        let judge = |i: usize, ids: &[TokenId]| {
            let (text, ended) = self.answer_text(ids);
            graded.grade(&questions[i], &text, ended)
        };
        let pair = Pair::new(slm, cloud, &self.slm().vocabulary);
        let swept = sweep(pair, scorer, &requests, &judge, options, self.progress)?;
        graded.check()?;
        Ok(swept)
    }

    /// Requests for some questions of a split.
    pub fn requests<'q>(&self, asked: &'q Asked, range: Range<usize>) -> Vec<Request<'q>> {
        let max_tokens = self.experiment.data.max_tokens;
        asked.questions[range.clone()]
            .iter()
            .zip(&asked.prompts[range])
            .map(|(question, prompt)| Request { question: &question.id, prompt, max_tokens })
            .collect()
    }

    pub(super) fn sweep_work(&self, asked: &[Asked]) -> Result<Manifest> {
        let routers = self.routers(usize::MAX)?;
        let mut config = serde_json::json!({
            "baselines": self.experiment.sweep.baselines,
            "max_tokens": self.experiment.data.max_tokens,
            "columns": COLUMNS,
        });
        if !self.experiment.sweep.phrasing.is_empty() {
            config["phrasing"] = serde_json::json!(self.experiment.sweep.phrasing);
        }
        if !self.experiment.sweep.taus.is_empty() {
            config["taus"] = serde_json::json!(self.experiment.sweep.taus);
        }
        let parts: Vec<&Asked> = asked.iter().collect();
        let mut work =
            self.manifest("sweep", config).with_input("questions", &questions_hash(&parts)?);
        // The tables are learnt from the labels, which the router's hash pins.
        for (router, _, hash) in &routers {
            work = work.with_input(&router.policy, hash);
        }
        Ok(work)
    }

    /// The tokens whose text is one of the experiment's phrasing words.
    pub fn phrasing_tokens(&self) -> Result<Vec<TokenId>> {
        let words = &self.experiment.sweep.phrasing;
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let is_word = |id: &TokenId| {
            let text = self.text(&[*id]);
            words.iter().any(|word| word == text.trim())
        };
        let found: Vec<TokenId> =
            (0..self.named.info.vocabulary as TokenId).filter(is_word).collect();
        for word in words {
            if !found.iter().any(|&id| self.text(&[id]).trim() == word) {
                return Err(anyhow!(
                    "sweep.phrasing has {word:?}, which is no single token of the pair; expected words that are"
                ));
            }
        }
        Ok(found)
    }
}
