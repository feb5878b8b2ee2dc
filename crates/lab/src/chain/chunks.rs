//! The sweep in chunks of questions: each is written when it is done, so that a killed sweep
//! resumes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokenroute_core::{LanguageModel, Part, QuestionCurve, Scorer, Tau};
use tokenroute_store::{self as store, Columns, PolicyCurves};
use tokenroute_sweep::policies::{Baseline, PolicyInputs};
use tokenroute_sweep::query::{QueryPolicy, QuestionFacts, RolloutOracle};
use tokenroute_sweep::{Restricted, SharedSteps, SweepCost, SweepOptions};

use super::questions::{Facts, QueryHeads};
use super::shared_answers::SharedAnswers;
use super::sweep::{COSTS, CURVES, Costs, FACTS};
use super::{Asked, Chain};

/// Most questions of a chunk whose prefixes are in memory at the same time. Many fill the
/// models' batches.
const TOGETHER: usize = 24;

/// The policies of a sweep.
struct Policies {
    /// Those that decide by token, with their names.
    by_token: Vec<(String, Box<dyn Scorer>)>,
    /// Values that τ is restricted to; none without a restriction.
    taus: Vec<Tau>,
    /// Whether policies that decide once a question need facts.
    facts: bool,
    /// The heads of some of them.
    heads: QueryHeads,
}

/// Some questions, swept.
#[derive(Default)]
struct Swept {
    /// Curves by policy that decides by token.
    curves: Vec<Vec<QuestionCurve>>,
    costs: BTreeMap<String, SweepCost>,
    facts: Vec<QuestionFacts>,
}

impl Chain<'_> {
    /// Sweeps all chunks that are not there, or those of one part.
    pub(super) fn sweep_chunks(
        &self,
        asked: &[Asked],
        partial: &Path,
        part: Option<Part>,
    ) -> Result<()> {
        let policies = self.swept_policies(partial)?;
        let rounds = policies.by_token.len() + usize::from(policies.facts);
        let own = |(i, ..): &(usize, &Asked, Range<usize>)| part.is_none_or(|p| p.takes(*i));
        let total: usize = self.shares(asked).filter(own).map(|(.., range)| range.len()).sum();
        self.progress.begin("sweep", (total * rounds) as u64, "question sweeps");
        for (_, asked, range) in self.shares(asked).filter(own) {
            let files = ChunkFiles::new(partial, asked.split, &range);
            if files.are_there(policies.facts) {
                self.progress.advance((range.len() * rounds) as u64);
                continue;
            }
            let mut whole = Swept::default();
            for questions in groups(range) {
                whole.extend(self.sweep_together(&policies, asked, questions)?);
            }
            let names = policies.by_token.iter().map(|(name, _)| name.clone());
            let split = || asked.split.to_owned();
            let made: Vec<PolicyCurves> = names
                .zip(whole.curves)
                .map(|(policy, curves)| PolicyCurves { policy, split: split(), curves })
                .collect();
            store::write_curves(&files.curves, &made)?;
            if policies.facts {
                write_json(&files.facts, &whole.facts)?;
            }
            write_json(&files.costs, &whole.costs)?;
        }
        Ok(())
    }

    fn swept_policies(&self, partial: &Path) -> Result<Policies> {
        let (facts, heads) = (self.reads_facts(), self.query_heads(partial)?);
        let (by_token, taus) = (self.policies_by_token()?, self.restricted_taus()?);
        Ok(Policies { by_token, taus, facts, heads })
    }

    /// The routers and the baselines that decide by token, with their names.
    pub fn policies_by_token(&self) -> Result<Vec<(String, Box<dyn Scorer>)>> {
        let mut by_token: Vec<(String, Box<dyn Scorer>)> = Vec::new();
        for (router, scorer, _) in self.routers(usize::MAX)? {
            by_token.push((router.policy, Box::new(scorer)));
        }
        by_token.extend(self.build_baselines(&self.baselines())?);
        Ok(by_token)
    }

    /// Baselines that decide by token, with their names.
    pub(super) fn build_baselines(
        &self,
        baselines: &[Baseline],
    ) -> Result<Vec<(String, Box<dyn Scorer>)>> {
        let mut rows = Vec::new();
        if baselines.iter().any(|b| b.needs().rows) {
            rows = self.label_rows(Columns::Scalars)?.1;
            rows.retain(|row| row.split == "router-train");
        }
        let vocabulary = self.named.info.vocabulary;
        let phrasing = self.phrasing_tokens()?;
        let seed = self.experiment.seed;
        let mut routers = Vec::new();
        for _ in baselines.iter().filter(|b| b.needs().router) {
            routers.extend(self.routers(1)?);
        }
        let routers = RefCell::new(routers);
        let router = || {
            let (_, scorer, _) = routers.borrow_mut().pop()?;
            Some(Box::new(scorer) as Box<dyn Scorer + Send>)
        };
        let (rows, phrasing) = (&rows[..], &phrasing[..]);
        let inputs = PolicyInputs { seed, vocabulary, rows, phrasing, router: &router };
        let built = |b: &Baseline| {
            let scorer =
                b.build(&inputs).with_context(|| format!("{} needs a router", b.name()))?;
            Ok((b.name().to_owned(), scorer))
        };
        baselines.iter().map(built).collect()
    }

    /// Sweeps every policy over a few questions. What a model says after a prefix does not
    /// depend on the policy, so the policies share it. Each policy's cost is that of a sweep
    /// alone, with the new positions beside it.
    fn sweep_together(
        &self,
        policies: &Policies,
        part: &Asked,
        questions: Range<usize>,
    ) -> Result<Swept> {
        let slm = SharedSteps::new(&self.pair()?.slm);
        let llm = SharedAnswers::new(self.cloud()?, self.experiment.sweep.llm_top());
        let by_token: Vec<(&str, &dyn Scorer)> =
            policies.by_token.iter().map(|(name, s)| (name.as_str(), s.as_ref())).collect();
        let mut done =
            self.sweep_sharing(&slm, &llm, &by_token, &policies.taus, part, questions.clone())?;
        if policies.facts {
            let (count, heads) = (questions.len() as u64, &policies.heads);
            let (facts, walks) = self.question_facts(&slm, &llm, part, questions, heads)?;
            done.facts = facts;
            if walks != SweepCost::default() {
                done.costs.insert(RolloutOracle::NAME.to_owned(), walks);
            }
            self.progress.advance(count);
        }
        Ok(done)
    }

    /// Sweeps policies that decide by token over a few questions, one after the other.
    fn sweep_sharing<S: LanguageModel>(
        &self,
        slm: &SharedSteps<'_, S>,
        llm: &SharedAnswers<'_>,
        policies: &[(&str, &dyn Scorer)],
        taus: &[Tau],
        part: &Asked,
        questions: Range<usize>,
    ) -> Result<Swept> {
        let mut done = Swept::default();
        for &(name, scorer) in policies {
            let before = (slm.processed(), llm.processed());
            let restricted = Restricted::new(scorer, taus);
            let swept = self.sweep_part(
                slm,
                &llm.as_if_alone(),
                if taus.is_empty() { scorer } else { &restricted },
                part,
                questions.clone(),
                &SweepOptions::default(),
            )?;
            let mut cost: SweepCost = swept.iter().map(|s| s.cost).sum();
            cost.new_slm_positions = slm.processed() - before.0;
            cost.new_llm_positions = llm.processed() - before.1;
            done.costs.insert(name.to_owned(), cost);
            done.curves.push(swept.into_iter().map(|s| s.curve).collect());
        }
        Ok(done)
    }

    /// The curves of policies over some questions of a split, in the order of the policies. What
    /// the models say after a prefix is asked for once.
    pub(super) fn curves_of(
        &self,
        policies: &[(&str, &dyn Scorer)],
        asked: &Asked,
        range: Range<usize>,
    ) -> Result<(Vec<Vec<QuestionCurve>>, SweepCost)> {
        let taus = self.restricted_taus()?;
        let mut whole = Swept::default();
        for questions in groups(range) {
            let slm = SharedSteps::new(&self.pair()?.slm);
            let llm = SharedAnswers::new(self.cloud()?, self.experiment.sweep.llm_top());
            whole.extend(self.sweep_sharing(&slm, &llm, policies, &taus, asked, questions)?);
        }
        Ok((whole.curves, whole.costs.into_values().sum()))
    }

    fn restricted_taus(&self) -> Result<Vec<Tau>> {
        let taus: Result<_, _> =
            self.experiment.sweep.taus.iter().map(|&tau| Tau::new(tau)).collect();
        Ok(taus?)
    }

    /// Joins all chunks into the sweep's files. Returns the files' names.
    pub(super) fn join_chunks(
        &self,
        asked: &[Asked],
        partial: &Path,
        folder: &Path,
    ) -> Result<Vec<&'static str>> {
        let mut joined: Vec<PolicyCurves> = Vec::new();
        let (mut costs, mut facts) = (Costs::new(), Facts::new());
        for part in asked {
            let begin = joined.len();
            for range in chunks(part.questions.len(), self.experiment.sweep.chunk) {
                let files = ChunkFiles::new(partial, part.split, &range);
                for (i, more) in store::read_curves(&files.curves)?.into_iter().enumerate() {
                    match joined.get_mut(begin + i) {
                        Some(known) => known.curves.extend(more.curves),
                        None => joined.push(more),
                    }
                }
                let known = costs.entry(part.split.to_owned()).or_default();
                for (policy, cost) in read_json::<BTreeMap<String, SweepCost>>(&files.costs)? {
                    *known.entry(policy).or_default() += cost;
                }
                if self.reads_facts() {
                    let more: Vec<QuestionFacts> = read_json(&files.facts)?;
                    facts.entry(part.split.to_owned()).or_default().extend(more);
                }
            }
        }
        store::write_curves(&folder.join(CURVES), &joined)?;
        write_json(&folder.join(COSTS), &costs)?;
        let mut written = vec![CURVES, COSTS];
        if self.reads_facts() {
            write_json(&folder.join(FACTS), &facts)?;
            written.push(FACTS);
        }
        Ok(written)
    }
}

impl Swept {
    /// Appends the next questions.
    fn extend(&mut self, more: Swept) {
        self.curves.resize_with(more.curves.len(), Vec::new);
        for (known, more) in self.curves.iter_mut().zip(more.curves) {
            known.extend(more);
        }
        for (policy, cost) in more.costs {
            *self.costs.entry(policy).or_default() += cost;
        }
        self.facts.extend(more.facts);
    }
}

/// The files of a chunk, named by its questions: a chunk of another size is another one.
pub(super) struct ChunkFiles {
    pub(super) curves: PathBuf,
    facts: PathBuf,
    /// Written last.
    costs: PathBuf,
}

impl ChunkFiles {
    pub(super) fn new(partial: &Path, split: &str, &Range { start, end }: &Range<usize>) -> Self {
        let file = |kind| partial.join(format!("{split}-{start:05}-{end:05}.{kind}"));
        ChunkFiles { curves: file("parquet"), facts: file("facts.json"), costs: file("json") }
    }

    fn are_there(&self, facts: bool) -> bool {
        self.needed(facts).all(|file| store::exists(file))
    }

    /// The files that a chunk has, with or without facts.
    pub(super) fn needed(&self, facts: bool) -> impl Iterator<Item = &PathBuf> {
        let needed = [(&self.curves, true), (&self.facts, facts), (&self.costs, true)];
        needed.into_iter().filter(|(_, needed)| *needed).map(|(file, _)| file)
    }
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(store::write(path, &json)?)
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&store::read(path)?)?)
}

/// Parts of a chunk that differ by one question at most.
fn groups(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (start, count) = (range.start, range.len());
    let parts = count.div_ceil(TOGETHER);
    (0..parts).map(move |i| start + i * count / parts..start + (i + 1) * count / parts)
}

pub(super) fn chunks(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |first| first..count.min(first + size))
}
