//! The report of a comparison: figures of all routers and what they cost.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tokenroute_core::{Tau, TrainingRecord, Trial};
use tokenroute_report::comparison::{
    ComparisonData, RouterFacts, SeedRecord, TrainedFacts, comparison_files,
};
use tokenroute_report::{Fact, ReportFile};
use tokenroute_store::{self as store, Manifest};
use tokenroute_sweep::answer_cost::{
    AnswerCost, AnswerCosts, Decoding, PricedPoint, PricedWay, prompt_tokens,
};
use tokenroute_sweep::study::{
    ComparedRouter, Resampling, RouterStudy, Splits, SweptPolicy, SweptRouter, compare_routers,
};

use super::super::report::copy;
use super::super::timing;
use super::routers::TrainedRouter;
use super::sweeping::{Policy, SweptCurves};
use super::{Candidate, Compare};

/// Goes up when figures of the same curves change, so that older reports are rendered anew.
const STATISTICS: u32 = 1;

impl Compare<'_> {
    /// Renders the report, or finds it rendered, and copies it to `out` if given. Returns whether
    /// rendering was skipped.
    pub(super) fn report(&self, out: Option<&Path>) -> Result<bool> {
        let home = self.report_folder();
        let asked = self.asked()?;
        let policies = self.policies()?;
        let mut swept: Vec<Vec<SweptCurves>> = Vec::new();
        for group in &policies {
            swept.push(
                group.iter().map(|policy| self.swept(policy, &asked)).collect::<Result<_>>()?,
            );
        }
        let mut work = self.report_work(&policies, &swept);
        let done = Manifest::load(&home)?.filter(|done| done.matches(&work));
        let done = match done {
            Some(done) if done.is_whole(&home, &self.chain.hashes)? => Some(done),
            _ => None,
        };
        if done.is_none() {
            self.chain.lock()?;
            let data = self.gather(&policies, &swept, &work)?;
            let files = comparison_files(&data)?;
            store::make_dir(&home)?;
            let view = |file: &'static str, bytes| (file, bytes);
            let views: Vec<(&str, &[u8])> = files
                .iter()
                .map(|ReportFile { name, bytes }| view(name, bytes.as_slice()))
                .collect();
            store::write_all(&home, &views)?;
            for file in &files {
                work.add_output(&home, file.name)?;
            }
            work.save(&home)?;
        }
        if let Some(out) = out.filter(|out| *out != home) {
            copy(done.as_ref().unwrap_or(&work), &home, out)?;
        }
        Ok(done.is_some())
    }

    fn report_work(&self, policies: &[Vec<Policy>], swept: &[Vec<SweptCurves>]) -> Manifest {
        let experiment = &self.chain.experiment;
        let routers: Vec<_> =
            self.candidates.iter().map(|c| json!([c.name, c.changes, c.part_of])).collect();
        let config = json!({
            "title": self.title,
            "routers": routers,
            "resamples": experiment.sweep.resamples,
            "statistics": STATISTICS,
            "prices": experiment.report.prices,
            "network": experiment.report.network,
            "command": self.command(),
        });
        let mut work = self.chain.manifest("comparison", config);
        for (policy, curves) in policies.iter().flatten().zip(swept.iter().flatten()) {
            work = work.with_input(&policy.folder, &curves.hash);
        }
        work
    }

    /// The command that makes the report, the same on every machine.
    fn command(&self) -> String {
        let parts: Vec<_> = self.path.components().rev().take(3).collect();
        let parts: std::path::PathBuf = parts.into_iter().rev().collect();
        let sets = self.chain.experiment.overrides.iter().map(|set| format!(" --set '{set}'"));
        format!("tokenroute compare {}{}", parts.display(), sets.collect::<String>())
    }

    fn gather(
        &self,
        policies: &[Vec<Policy>],
        swept: &[Vec<SweptCurves>],
        work: &Manifest,
    ) -> Result<ComparisonData> {
        self.chain.progress.begin("intervals", policies.len() as u64, "routers");
        let study = self.study(policies, swept)?;
        self.chain.progress.finish();
        let main = swept.first().and_then(|seeds| seeds.first()).context("no router is swept")?;
        let prompts: Vec<u32> = main.test.iter().map(prompt_tokens).collect();
        let mean = |tau, decoding| AnswerCost::mean(&main.test, &prompts, tau, decoding);
        let way = |name: &str, accuracy, cost| PricedWay { name: name.to_owned(), accuracy, cost };
        let (slm, llm) = (study.gap.slm, study.gap.llm);
        let experiment = &self.chain.experiment;
        let costs = AnswerCosts {
            ways: vec![
                way("SLM alone", slm, mean(Tau::SLM_ONLY, Decoding::Blocking)),
                way("LLM alone, streamed", llm, mean(Tau::LLM_ONLY, Decoding::Whole)),
            ],
            policies: Vec::new(),
            prices: experiment.report.prices.as_ref().map(|prices| prices.stated()),
            network: experiment.report.network.map(|network| network.stated()),
        };
        let mut facts = Vec::new();
        for (i, (router, curves)) in study.routers.iter().zip(swept).enumerate() {
            let trained = match self.candidates.get(i) {
                Some(candidate) => Some(self.trained_facts(candidate)?),
                None => None,
            };
            let costs = priced(router, curves, &prompts);
            facts.push(RouterFacts { trained, costs });
        }
        let took = |name: &str| timing::took(&self.folder(name)).seconds;
        let routers = self.candidates.iter().map(|c| took(&format!("routers/{}", c.folder)));
        Ok(ComparisonData {
            name: self.title.clone(),
            study,
            facts,
            costs,
            train_seconds: routers.sum(),
            sweep_seconds: took("curves"),
            provenance: provenance(work),
            command: self.command(),
        })
    }

    fn study(&self, policies: &[Vec<Policy>], swept: &[Vec<SweptCurves>]) -> Result<RouterStudy> {
        let data = &self.chain.experiment.data;
        let names = self.candidates.iter().map(|candidate| candidate.name.as_str());
        let names = names.chain(self.baselines.iter().map(|baseline| baseline.name()));
        let mut routers = Vec::new();
        for (i, (name, (group, curves))) in names.zip(policies.iter().zip(swept)).enumerate() {
            let seeds = group.iter().zip(curves).map(|(policy, curves)| SweptPolicy {
                name,
                kind: policy.kind,
                seed: policy.seed,
                calibration: &curves.calibration,
                test: &curves.test,
            });
            // A point of a learning curve is no claim about a router.
            let tested = self.candidates.get(i).is_none_or(|c| c.part_of.is_none());
            routers.push(SweptRouter { name, seeds: seeds.collect(), tested });
        }
        let splits = Splits { calibration: data.calibration_split(), test: "test" };
        let resamples = self.chain.experiment.sweep.resamples;
        let resampling = Resampling { resamples, seed: self.chain.experiment.seed };
        Ok(compare_routers(splits, &routers, resampling)?)
    }

    fn trained_facts(&self, candidate: &Candidate) -> Result<TrainedFacts> {
        let seeds = self.trained(candidate)?;
        let first = seeds.first().context("a router without a seed")?;
        let record = |trained: &TrainedRouter| {
            let TrainingRecord { auroc, auprc, rows, .. } = trained.scorer.header().training;
            // A published head comes without a record of its training.
            let known = |figure| (rows[0] > 0).then_some(figure);
            SeedRecord { seed: trained.seed, auroc: known(auroc), auprc: known(auprc) }
        };
        Ok(TrainedFacts {
            changes: candidate.changes.clone(),
            settings: settings(candidate, first),
            part_of: candidate.part_of,
            share: candidate.train.share,
            rows: first.scorer.header().training.rows[0],
            parameters: first.scorer.parameters() as u64,
            microseconds: self.step_time(candidate)?.microseconds,
            measured_on: first.scorer.header().training.measured_on.clone(),
            seeds: seeds.iter().map(record).collect(),
        })
    }
}

/// The head and the features of a router, in words.
fn settings(candidate: &Candidate, router: &TrainedRouter) -> String {
    let header = router.scorer.header();
    let selection = header.training.selection.as_ref();
    if let Some(chosen) = selection.and_then(|s| s.tried.get(s.chosen)) {
        return chosen.settings();
    }
    Trial {
        architecture: header.architecture.clone(),
        features: header.features.clone(),
        l2: candidate.train.l2,
        dropout: candidate.train.dropout,
        validation_loss: header.training.validation_loss,
        auroc: header.training.auroc,
        auprc: header.training.auprc,
    }
    .settings()
}

/// What an answer costs at each target, of the router of the first seed.
fn priced(router: &ComparedRouter, curves: &[SweptCurves], prompts: &[u32]) -> Vec<PricedPoint> {
    let (Some(first), Some(curves)) = (router.seeds.first(), curves.first()) else {
        return Vec::new();
    };
    // A comparison has no policy whose price needs another's curve.
    let Some(decoding) = Decoding::of(&first.name, first.kind, &BTreeMap::new()) else {
        return Vec::new();
    };
    let point = |point: &tokenroute_sweep::study::Point| PricedPoint {
        target: point.target,
        offload: point.offload,
        accuracy: point.accuracy,
        cost: AnswerCost::mean(&curves.test, prompts, point.tau, decoding),
    };
    first.points.iter().map(point).collect()
}

/// Hashes of the pair and versions. The hashes of all curves are in the manifest.
fn provenance(work: &Manifest) -> Vec<Fact> {
    let pair = ["slm", "llm", "tokenizer"];
    let hashes = pair.iter().filter_map(|name| Some((*name, work.inputs.get(*name)?.as_str())));
    let versions = work.versions.iter().map(|(name, version)| (name.as_str(), version.as_str()));
    let fact =
        |(name, value): (&str, &str)| Fact { name: name.to_owned(), value: value.to_owned() };
    let mut facts: Vec<Fact> = hashes.chain(versions).map(fact).collect();
    facts.push(fact(("seed", &work.seed.to_string())));
    facts
}
