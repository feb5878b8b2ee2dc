//! The sweep stage: exact curves of every policy on every evaluated split, in
//! chunks of questions that survive a kill.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tokenroute_core::{LanguageModel, Llm, QuestionCurve, Scorer, Tau, TokenId, grade};
use tokenroute_runtime::{Pair, Request};
use tokenroute_store::{self as store, Columns, Manifest, PolicyCurves};
use tokenroute_sweep::examples::Examples;
use tokenroute_sweep::policies::{Baseline, BaselineInputs};
use tokenroute_sweep::{Restricted, SharedSteps, SweepCost, SweepOptions, SweptQuestion, sweep};

use super::shared_answers::SharedAnswers;
use super::{Asked, Chain, examples, questions_hash, timing};

/// Where the curves lie, under `run/`.
pub const FOLDER: &str = "sweep";
/// The router's name among the policies.
pub const ROUTER: &str = "router";
pub(super) const CURVES: &str = "curves.parquet";
/// Goes up when a column of the curves is new or changes, so that those without it are made
/// anew.
const COLUMNS: u32 = 3;
const COSTS: &str = "costs.json";
const PARTIAL: &str = "partial";

/// Costs by split and policy.
pub type Costs = BTreeMap<String, BTreeMap<String, SweepCost>>;

/// Positions the LLM processed for all of them, each as if it had been swept alone.
pub fn llm_positions(costs: &Costs) -> u64 {
    costs.values().flat_map(BTreeMap::values).map(|cost| cost.llm_positions).sum()
}

/// How many SLM and LLM positions were processed, and how many the policies alone would take:
/// the policies share what the models say after a prefix.
pub fn shared_line(costs: &Costs) -> String {
    let sum: SweepCost = costs.values().flat_map(BTreeMap::values).copied().sum();
    let model = |name, new: u64, alone: u64| {
        let share = 100.0 * (1.0 - new as f64 / alone.max(1) as f64);
        format!("{new} {name} positions processed, {share:.1}% fewer than each policy alone")
    };
    let slm = model("SLM", sum.new_slm_positions, sum.slm_positions);
    format!("{slm}; {}", model("LLM", sum.new_llm_positions, sum.llm_positions))
}

impl Chain<'_> {
    /// Sweeps and decodes the examples, or finds both there. Returns whether it was
    /// skipped.
    pub fn sweep(&self) -> Result<bool> {
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
        let partial = folder.join(PARTIAL);
        if !Manifest::load(&partial)?.is_some_and(|begun| begun.matches(&work)) {
            store::remove(&partial)?;
            timing::forget(folder)?;
            store::make_dir(&partial)?;
            work.save(&partial)?;
        }
        self.pair()?;
        self.timed(folder, || {
            self.sweep_chunks(asked, &partial)?;
            self.join_chunks(asked, &partial, folder)?;
            work.add_output(folder, CURVES)?;
            work.add_output(folder, COSTS)?;
            work.save(folder)?;
            Ok(store::remove(&partial)?)
        })?;
        self.progress.finish();
        Ok(work)
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
    fn kept_curves(&self, work: &Manifest, folder: &Path) -> Result<Option<Manifest>> {
        let Some(found) = Manifest::load(folder)?.filter(|found| found.matches(work)) else {
            return Ok(None);
        };
        let whole = found.holds(folder, CURVES, &self.hashes)?
            && found.holds(folder, COSTS, &self.hashes)?;
        Ok(whole.then_some(found))
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

    /// The baselines that the experiment names.
    pub fn baselines(&self) -> Result<Vec<Baseline>> {
        let names = &self.experiment.sweep.baselines;
        let known = || Baseline::ALL.map(Baseline::name).join(", ");
        names
            .iter()
            .map(|name| {
                Baseline::from_name(name).ok_or_else(|| {
                    anyhow!("sweep.baselines has {name:?}; expected some of {}", known())
                })
            })
            .collect()
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
        let judge = |i: usize, ids: &[TokenId]| {
            let (text, ended) = self.answer_text(ids);
            grade(&questions[i], &text, ended)
        };
        let pair = Pair::new(slm, cloud, &self.slm().vocabulary);
        Ok(sweep(pair, scorer, &requests, &judge, options, self.progress)?)
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

    fn sweep_work(&self, asked: &[Asked]) -> Result<Manifest> {
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

    fn sweep_chunks(&self, asked: &[Asked], partial: &Path) -> Result<()> {
        let routers = self.routers(usize::MAX)?;
        let baselines = self.baselines()?;
        let mut rows = Vec::new();
        if baselines.iter().any(|b| b.needs_rows()) {
            rows = self.label_rows(Columns::Scalars)?.1;
            rows.retain(|row| row.split == "router-train");
        }
        let vocabulary = self.named.info.vocabulary;
        let phrasing = self.phrasing_tokens()?;
        let seed = self.experiment.seed;
        let inputs = BaselineInputs { seed, vocabulary, rows: &rows, phrasing: &phrasing };
        let mut policies: Vec<(String, Box<dyn Scorer>)> = Vec::new();
        for (router, scorer, _) in routers {
            policies.push((router.policy, Box::new(scorer)));
        }
        policies.extend(baselines.iter().map(|b| (b.name().to_owned(), b.build(&inputs))));

        let taus: Result<Vec<Tau>, _> =
            self.experiment.sweep.taus.iter().map(|&tau| Tau::new(tau)).collect();
        let taus = taus?;
        let total: usize = asked.iter().map(|a| a.questions.len()).sum();
        self.progress.begin("sweep", (total * policies.len()) as u64, "question sweeps");
        for part in asked {
            for (chunk, range) in chunks(part.questions.len(), self.experiment.sweep.chunk) {
                let [curves, costs] = chunk_files(partial, part.split, chunk);
                if store::exists(&curves) && store::exists(&costs) {
                    self.progress.advance((range.len() * policies.len()) as u64);
                    continue;
                }
                let mut made: Vec<PolicyCurves> = policies
                    .iter()
                    .map(|(name, _)| PolicyCurves {
                        policy: name.clone(),
                        split: part.split.to_owned(),
                        curves: Vec::new(),
                    })
                    .collect();
                let mut spent: BTreeMap<String, SweepCost> = BTreeMap::new();
                for questions in groups(range) {
                    let swept = self.sweep_together(&policies, &taus, part, questions)?;
                    for (curves, swept) in made.iter_mut().zip(swept) {
                        *spent.entry(curves.policy.clone()).or_default() += swept.cost;
                        curves.curves.extend(swept.curves);
                    }
                }
                store::write_curves(&curves, &made)?;
                store::write(&costs, &serde_json::to_vec(&spent)?)?;
            }
        }
        Ok(())
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

    /// Sweeps every policy over a few questions. What a model says after a prefix does not
    /// depend on the policy, so the policies share it. Each policy's cost is that of a sweep
    /// alone, with the new positions beside it.
    fn sweep_together(
        &self,
        policies: &[(String, Box<dyn Scorer>)],
        taus: &[Tau],
        part: &Asked,
        questions: Range<usize>,
    ) -> Result<Vec<SweptGroup>> {
        let slm = SharedSteps::new(&self.pair()?.slm);
        let llm = SharedAnswers::new(self.cloud()?);
        let mut done = Vec::with_capacity(policies.len());
        for (_, scorer) in policies {
            let before = (slm.processed(), llm.processed());
            let restricted = Restricted::new(scorer.as_ref(), taus);
            let swept = self.sweep_part(
                &slm,
                &llm.as_if_alone(),
                if taus.is_empty() { scorer.as_ref() } else { &restricted },
                part,
                questions.clone(),
                &SweepOptions::default(),
            )?;
            let mut cost: SweepCost = swept.iter().map(|s| s.cost).sum();
            cost.new_slm_positions = slm.processed() - before.0;
            cost.new_llm_positions = llm.processed() - before.1;
            let curves = swept.into_iter().map(|s| s.curve).collect();
            done.push(SweptGroup { curves, cost });
        }
        Ok(done)
    }

    fn join_chunks(&self, asked: &[Asked], partial: &Path, folder: &Path) -> Result<()> {
        let mut joined: Vec<PolicyCurves> = Vec::new();
        let mut costs = Costs::new();
        for part in asked {
            let begin = joined.len();
            for (chunk, _) in chunks(part.questions.len(), self.experiment.sweep.chunk) {
                let [curves, spent] = chunk_files(partial, part.split, chunk);
                for (i, more) in store::read_curves(&curves)?.into_iter().enumerate() {
                    match joined.get_mut(begin + i) {
                        Some(known) => known.curves.extend(more.curves),
                        None => joined.push(more),
                    }
                }
                let spent: BTreeMap<String, SweepCost> =
                    serde_json::from_slice(&store::read(&spent)?)?;
                let known = costs.entry(part.split.to_owned()).or_default();
                for (policy, cost) in spent {
                    *known.entry(policy).or_default() += cost;
                }
            }
        }
        store::write_curves(&folder.join(CURVES), &joined)?;
        let mut json = serde_json::to_vec_pretty(&costs)?;
        json.push(b'\n');
        Ok(store::write(&folder.join(COSTS), &json)?)
    }
}

fn chunk_files(partial: &Path, split: &str, chunk: usize) -> [PathBuf; 2] {
    ["parquet", "json"].map(|end| partial.join(format!("{split}-{chunk:05}.{end}")))
}

/// One policy over the questions that are swept together.
struct SweptGroup {
    curves: Vec<QuestionCurve>,
    cost: SweepCost,
}

/// Questions of a chunk whose prefixes are in memory at the same time.
const TOGETHER: usize = 8;

fn groups(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(TOGETHER).map(move |first| first..end.min(first + TOGETHER))
}

fn chunks(count: usize, size: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (0..count.div_ceil(size)).map(move |i| (i, i * size..count.min((i + 1) * size)))
}
