//! The sweep of a comparison. A chunk of questions is swept for all policies that lack it, on
//! one store of steps and answers, and kept for each policy by itself.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use tokenroute_core::{QuestionCurve, Scorer};
use tokenroute_store::{self as store, Manifest, PolicyCurves};
use tokenroute_sweep::SweepCost;
use tokenroute_sweep::policies::{Baseline, PolicyKind};

use super::super::chunks::{ChunkFiles, chunks};
use super::super::sweep::{COLUMNS, CURVES, shared_words};
use super::super::{Asked, questions_hash};
use super::Compare;

/// A policy to sweep.
pub(super) struct Policy {
    /// Name of its folder.
    pub(super) folder: String,
    pub(super) kind: PolicyKind,
    pub(super) seed: Option<u64>,
    scorer: Box<dyn Scorer>,
    /// What its scores depend on besides the step: a name and a hash.
    inputs: Vec<(&'static str, String)>,
}

/// A policy that is not swept yet, its folder and its work.
struct Due<'p> {
    policy: &'p Policy,
    folder: PathBuf,
    partial: PathBuf,
    work: Manifest,
}

/// The curves of one policy on both splits, and their hash.
pub(super) struct SweptCurves {
    pub(super) calibration: Vec<QuestionCurve>,
    pub(super) test: Vec<QuestionCurve>,
    pub(super) hash: String,
}

impl Compare<'_> {
    /// All policies, in groups: the seeds of each candidate, then each baseline.
    pub(super) fn policies(&self) -> Result<Vec<Vec<Policy>>> {
        let mut groups = Vec::new();
        for candidate in &self.candidates {
            let mut seeds = Vec::new();
            for trained in self.trained(candidate)? {
                seeds.push(Policy {
                    folder: format!("{}-seed-{}", candidate.folder, trained.seed),
                    kind: PolicyKind::Router,
                    seed: Some(trained.seed),
                    scorer: Box::new(trained.scorer),
                    inputs: vec![("router", trained.hash)],
                });
            }
            groups.push(seeds);
        }
        let built = self.chain.build_baselines(&self.baselines)?;
        for (baseline, (name, scorer)) in self.baselines.iter().zip(built) {
            let (folder, kind) = (format!("baseline-{name}"), Baseline::kind(*baseline));
            let mut inputs = Vec::new();
            if baseline.needs().rows {
                let trained = self.chain.train_work_of(&self.chain.train_config())?;
                inputs.extend(trained.inputs.get("labels").map(|hash| ("labels", hash.clone())));
            }
            groups.push(vec![Policy { folder, kind, seed: None, scorer, inputs }]);
        }
        Ok(groups)
    }

    /// Sweeps all policies that are not swept. Returns whether all were.
    pub(super) fn sweep(&self) -> Result<bool> {
        let asked = self.asked()?;
        let policies: Vec<Policy> = self.policies()?.into_iter().flatten().collect();
        let mut due = Vec::new();
        for policy in &policies {
            let (folder, work) = (self.curves_folder(policy), self.sweep_work(policy, &asked)?);
            if work.finished(&folder, &self.chain.hashes)?.is_none() {
                due.push((policy, folder, work));
            }
        }
        if due.is_empty() {
            return Ok(true);
        }
        self.chain.lock()?;
        let mut begun = Vec::new();
        for (policy, folder, work) in due {
            let partial = self.chain.begin_sweep(&work, &folder)?;
            begun.push(Due { policy, folder, partial, work });
        }
        self.chain.pair()?;
        let cost = self.chain.timed(&self.folder("curves"), || {
            let cost = self.sweep_chunks(&asked, &begun)?;
            begun.into_iter().try_for_each(|due| self.join(&asked, due))?;
            Ok(cost)
        })?;
        self.chain.progress.finish();
        self.chain.progress.note(&shared_words(cost));
        Ok(false)
    }

    fn sweep_chunks(&self, asked: &[Asked], all: &[Due<'_>]) -> Result<SweepCost> {
        let questions: usize = asked.iter().map(|part| part.questions.len()).sum();
        let progress = self.chain.progress;
        progress.begin("sweep", (questions * all.len()) as u64, "question sweeps");
        let mut sum = SweepCost::default();
        for (_, part, range) in self.chain.shares(asked) {
            let of = |due: &Due<'_>| ChunkFiles::new(&due.partial, part.split, &range).curves;
            let lacking: Vec<&Due<'_>> =
                all.iter().filter(|due| !store::exists(&of(due))).collect();
            progress.advance(((all.len() - lacking.len()) * range.len()) as u64);
            if lacking.is_empty() {
                continue;
            }
            let scorers: Vec<(&str, &dyn Scorer)> = lacking
                .iter()
                .map(|due| (due.policy.folder.as_str(), due.policy.scorer.as_ref()))
                .collect();
            let (curves, cost) = self.chain.curves_of(&scorers, part, range.clone())?;
            sum += cost;
            for (due, curves) in lacking.iter().zip(curves) {
                let (policy, split) = (due.policy.folder.clone(), part.split.to_owned());
                store::write_curves(&of(due), &[PolicyCurves { policy, split, curves }])?;
            }
        }
        Ok(sum)
    }

    /// Joins the chunks of a policy.
    fn join(&self, asked: &[Asked], due: Due<'_>) -> Result<()> {
        let Due { folder, partial, mut work, .. } = due;
        let mut joined: Vec<PolicyCurves> = Vec::new();
        for part in asked {
            for range in chunks(part.questions.len(), self.chain.experiment.sweep.chunk) {
                let files = ChunkFiles::new(&partial, part.split, &range);
                for more in store::read_curves(&files.curves)? {
                    match joined.last_mut().filter(|known| known.split == more.split) {
                        Some(known) => known.curves.extend(more.curves),
                        None => joined.push(more),
                    }
                }
            }
        }
        store::write_curves(&folder.join(CURVES), &joined)?;
        work.add_output(&folder, CURVES)?;
        work.save(&folder)?;
        Ok(store::remove(&partial)?)
    }

    /// The finished curves of a policy.
    pub(super) fn swept(&self, policy: &Policy, asked: &[Asked]) -> Result<SweptCurves> {
        let folder = self.curves_folder(policy);
        let done = self
            .sweep_work(policy, asked)?
            .finished(&folder, &self.chain.hashes)?
            .with_context(|| format!("the curves of {} are missing or stale", policy.folder))?;
        let mut read = store::read_curves(&folder.join(CURVES))?.into_iter();
        let mut next = || Some(read.next()?.curves);
        let (calibration, test) = (next(), next());
        let missing = || format!("a split is missing in {}", folder.join(CURVES).display());
        Ok(SweptCurves {
            calibration: calibration.with_context(missing)?,
            test: test.with_context(missing)?,
            hash: done.outputs_hash(),
        })
    }

    /// The questions that τ is chosen on, then those that figures are measured on.
    pub(super) fn asked(&self) -> Result<Vec<Asked>> {
        let chain = &self.chain;
        let splits = [chain.experiment.data.calibration_split(), "test"];
        splits.into_iter().map(|split| chain.questions(split)).collect()
    }

    fn sweep_work(&self, policy: &Policy, asked: &[Asked]) -> Result<Manifest> {
        let experiment = &self.chain.experiment;
        let config = json!({
            "policy": policy.folder,
            "max_tokens": experiment.data.max_tokens,
            "phrasing": experiment.sweep.phrasing,
            "taus": experiment.sweep.taus,
            "columns": COLUMNS,
        });
        let questions = questions_hash(&asked.iter().collect::<Vec<_>>())?;
        let mut work = self.chain.manifest("sweep", config).with_input("questions", &questions);
        for (name, hash) in &policy.inputs {
            work = work.with_input(name, hash);
        }
        Ok(work)
    }

    fn curves_folder(&self, policy: &Policy) -> PathBuf {
        self.folder("curves").join(&policy.folder)
    }
}
