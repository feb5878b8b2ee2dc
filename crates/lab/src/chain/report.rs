//! The report stage: curves and labels to pages, figures, CSV and summary.json.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokenroute_core::{LabelRow, Relation, Tally, TokenClass, TrainingRecord};
use tokenroute_report::{
    self as report, ClassCount, CostSummary, Fact, LabelCounts, ReportData, ReportFile, StageCost,
};
use tokenroute_store::{self as store, Columns, Manifest, PolicyCurves};
use tokenroute_sweep::examples::RandomWeights;
use tokenroute_sweep::policies::{Baseline, PolicyKind};
use tokenroute_sweep::study::{Resampling, SplitResult, Splits, SweptPolicy, study};

use super::latency::KEPT;
use super::sweep::{Costs, FOLDER as SWEEP, ROUTER, llm_positions};
use super::timing::{self, Took};
use super::{Chain, labels, router};

/// Where the report's manifest lies, under `run/`.
pub const FOLDER: &str = "report";
/// Goes up when figures of the same curves change, so that older reports are rendered anew.
const STATISTICS: u32 = 7;
/// A figure that only a report with a network study has.
const LATENCY_FIGURE: &str = "latency.svg";

impl Chain<'_> {
    /// Renders the report, or finds it rendered, and copies it to `out` if given. Returns
    /// whether rendering was skipped.
    ///
    /// A network study that is not under `run/` is taken from the report before, in the
    /// report's folder or in `out`.
    pub fn report(&self, out: Option<&Path>) -> Result<bool> {
        let (folder, home) = (self.experiment.run(FOLDER), self.report_folder());
        let (curves, costs, hash) = self.swept()?;
        let mut work = self.report_work(&hash);
        let homes: Vec<&Path> = [Some(home.as_path()), out].into_iter().flatten().collect();
        let latency = self.network_study(&homes)?;
        if let Some(kept) = &latency {
            work.inputs.insert("latency".to_owned(), kept.work.outputs_hash());
        } else if let Some(out) = out.filter(|out| store::exists(&out.join(LATENCY_FIGURE))) {
            bail!(
                "{} has a network study, and none of this pair and router is at hand; run \
                 `tokenroute latency` first, or remove that report",
                out.display()
            );
        }
        let done = Manifest::load(&folder)?.filter(|done| done.matches(&work));
        let skipped = match &done {
            Some(done) => done.is_whole(&home, &self.hashes)?,
            None => false,
        };
        if !skipped {
            self.lock()?;
            timing::forget(&folder)?;
            let mut data = self.timed(&folder, || self.gather(&curves, &costs, &work))?;
            data.stages = self.stages(&costs)?;
            data.latency = latency.as_ref().map(|kept| kept.study.clone());
            let mut files = report::files(&data)?;
            if let Some(kept) = &latency {
                files.push(ReportFile { name: KEPT, bytes: kept.to_json()? });
            }
            store::make_dir(&home)?;
            let views: Vec<(&str, &[u8])> =
                files.iter().map(|file| (file.name, file.bytes.as_slice())).collect();
            store::write_all(&home, &views)?;
            for file in &files {
                work.add_output(&home, file.name)?;
            }
            work.save(&folder)?;
        }
        if let Some(out) = out.filter(|out| *out != home) {
            copy(done.filter(|_| skipped).as_ref().unwrap_or(&work), &home, out)?;
        }
        Ok(skipped)
    }

    /// The report's manifest before the work, without a network study.
    fn report_work(&self, curves: &str) -> Manifest {
        let config = json!({
            "title": self.experiment.title,
            "resamples": self.experiment.sweep.resamples,
            "statistics": STATISTICS,
            "examples": self.experiment.report.examples,
            "prices": self.experiment.report.prices,
            "network": self.experiment.report.network,
        });
        self.manifest("report", config).with_input("curves", curves)
    }

    /// Whether the report of these curves is rendered, with or without a network study.
    pub(super) fn is_reported(&self, curves: &str) -> Result<bool> {
        let Some(done) = Manifest::load(&self.experiment.run(FOLDER))? else { return Ok(false) };
        let mut work = self.report_work(curves);
        if let Some(latency) = done.inputs.get("latency") {
            work.inputs.insert("latency".to_owned(), latency.clone());
        }
        Ok(done.matches(&work) && done.is_whole(&self.report_folder(), &self.hashes)?)
    }

    /// Where the report goes.
    pub fn report_folder(&self) -> PathBuf {
        self.experiment.report_folder()
    }

    fn gather(
        &self,
        curves: &[PolicyCurves],
        costs: &Costs,
        work: &Manifest,
    ) -> Result<ReportData> {
        let (labels_hash, rows) = self.label_rows(Columns::All)?;
        let (scorer, router_hash) = self.router()?;
        let curves = &[curves.to_vec(), self.query_curves(curves, &self.facts()?)?].concat();
        let with_ood = self.experiment.data.test_ood > 0;
        self.progress.begin("intervals", 1 + u64::from(with_ood), "splits");
        let test = self.study(curves, "test")?;
        self.progress.advance(1);
        let ood = if with_ood { Some(self.study(curves, "test-ood")?) } else { None };
        self.progress.advance(u64::from(with_ood));
        self.progress.finish();
        let examples = self.examples()?;
        let spent = costs.get("test").and_then(|c| c.get(ROUTER)).context("no cost on test")?;
        let curve = &test.router().context("no curve of the router")?.curve;
        let cost = CostSummary::of(spent, curve);
        // Test rows fitted nothing; without them the calibration questions must serve.
        let measured = if self.experiment.label.test {
            "test"
        } else {
            self.experiment.data.calibration_split()
        };
        Ok(ReportData {
            name: self.experiment.title.clone(),
            ood,
            labels: label_counts(&rows),
            divergent_classes: self.divergent_classes(&rows),
            diagnostics: Some(self.diagnostics(&scorer, &rows, measured)?),
            errors: self.errors(&scorer, &rows, measured, &test)?,
            cost,
            costs: costs.clone(),
            answer_costs: self.answer_costs(&test, curves, &rows),
            latency: None,
            notices: self.notices(examples.random, &scorer.header().training, curves),
            examples: examples.questions,
            stages: Vec::new(),
            provenance: self.provenance_facts(work, &labels_hash, &router_hash),
            command: self.experiment.command(),
            test,
        })
    }

    fn study(&self, curves: &[PolicyCurves], split: &str) -> Result<SplitResult> {
        let splits = Splits { calibration: self.experiment.data.calibration_split(), test: split };
        let of = |policy: &str, split: &str| {
            curves
                .iter()
                .find(|c| c.policy == policy && c.split == split)
                .map(|c| c.curves.as_slice())
                .with_context(|| format!("no curve of {policy} on {split}"))
        };
        let calibration = self.experiment.data.calibration_split();
        let routers = self.seeded_routers();
        let mut policies = Vec::new();
        for router in &routers {
            policies.push(SweptPolicy {
                name: &router.policy,
                kind: PolicyKind::Router,
                seed: Some(router.seed),
                calibration: of(&router.policy, calibration)?,
                test: of(&router.policy, split)?,
            });
        }
        for baseline in self.baselines() {
            policies.push(SweptPolicy {
                name: Baseline::name(baseline),
                kind: baseline.kind(),
                seed: None,
                calibration: of(baseline.name(), calibration)?,
                test: of(baseline.name(), split)?,
            });
        }
        for policy in self.query_policies() {
            let (name, kind) = (policy.name(), policy.kind());
            if !curves.iter().any(|c| c.policy == name) {
                continue;
            }
            let (calibration, test) = (of(name, calibration)?, of(name, split)?);
            policies.push(SweptPolicy { name, kind, seed: None, calibration, test });
        }
        let resampling =
            Resampling { resamples: self.experiment.sweep.resamples, seed: self.experiment.seed };
        Ok(study(splits, &policies, resampling)?)
    }

    fn divergent_classes(&self, rows: &[LabelRow]) -> Vec<ClassCount> {
        let mut counts: BTreeMap<TokenClass, u64> = BTreeMap::new();
        for row in rows.iter().filter(|r| r.relation == Relation::Divergent) {
            *counts.entry(TokenClass::of(&self.text(&[row.slm_token]))).or_default() += 1;
        }
        let mut classes: Vec<ClassCount> = counts
            .into_iter()
            .map(|(class, count)| ClassCount { class: class.name().to_owned(), count })
            .collect();
        classes.sort_by_key(|c| std::cmp::Reverse(c.count));
        classes
    }

    fn stages(&self, costs: &Costs) -> Result<Vec<StageCost>> {
        let labelled = self.label_positions()?;
        Ok([
            (labels::FOLDER, Some(labelled)),
            (router::FOLDER, None),
            (SWEEP, Some(llm_positions(costs))),
            (FOLDER, None),
        ]
        .map(|(stage, llm_positions)| {
            let Took { seconds, peak_bytes, usage, .. } = timing::took(&self.experiment.run(stage));
            let bytes = usage.map(|usage| usage.bytes);
            let seconds = (seconds > 0.0).then_some(seconds);
            StageCost { stage: stage.to_owned(), seconds, peak_bytes, llm_positions, bytes }
        })
        .to_vec())
    }

    /// Sentences that stand before the numbers.
    fn notices(
        &self,
        random: RandomWeights,
        training: &TrainingRecord,
        curves: &[PolicyCurves],
    ) -> Vec<String> {
        let mut notices = Vec::new();
        for (role, random) in [("small", random.slm), ("large", random.llm)] {
            if random {
                notices.push(format!(
                    "The weights of the {role} model are random. Its accuracy is chance; only times and memory are meaningful."
                ));
            }
        }
        if training.loses_to_max_probability {
            notices.push(format!(
                "On the {} labels, maximum probability finds divergent positions better than the router.",
                training.measured_on
            ));
        }
        notices.extend(self.text_notice());
        for policy in self.query_policies() {
            if !curves.iter().any(|c| c.policy == policy.name()) {
                notices.push(format!(
                    "{} is left out: the questions that it is fitted on are of one class.",
                    policy.name()
                ));
            }
        }
        let taus = &self.experiment.sweep.taus;
        if !taus.is_empty() {
            let taus: Vec<String> = taus.iter().map(f64::to_string).collect();
            notices.push(format!(
                "τ was restricted to {}. The curves hold at these values alone.",
                taus.join(", ")
            ));
        }
        notices
    }

    /// What a second tokenizer cost, if there is one.
    fn text_notice(&self) -> Option<String> {
        let folder = self.experiment.run(SWEEP);
        let own = self.own_answers(&folder)?;
        let mut notice = format!(
            "The models share text alone (through_text). \
             In its own tokens the LLM answers {} of {} test questions right, \
             with {} tokens and {} positions. \
             What it answers here (τ = 1) passes through the small model's tokens. \
             LLM positions below are counted in these.",
            own.right, own.questions, own.tokens, own.positions
        );
        for (stage, name) in [(labels::FOLDER, "labels"), (SWEEP, "sweep")] {
            if let Some(text) = timing::took(&self.experiment.run(stage)).text {
                notice += &format!(" Of the {name}: {text}.");
            }
        }
        Some(notice)
    }

    fn provenance_facts(&self, work: &Manifest, labels: &str, router: &str) -> Vec<Fact> {
        let mut facts: Vec<Fact> = work
            .inputs
            .iter()
            .map(|(name, hash)| (name.as_str(), hash.as_str()))
            .chain([("labels", labels), ("router", router)])
            .chain(work.versions.iter().map(|(name, version)| (name.as_str(), version.as_str())))
            .map(|(name, value)| Fact { name: name.to_owned(), value: value.to_owned() })
            .collect();
        let seed = self.experiment.seed.to_string();
        facts.push(Fact { name: "seed".to_owned(), value: seed });
        facts
    }
}

/// Copies the files that a manifest lists.
pub(super) fn copy(done: &Manifest, from: &Path, to: &Path) -> Result<()> {
    store::make_dir(to)?;
    let mut files = Vec::new();
    for name in done.outputs.keys() {
        files.push((name.as_str(), store::read(&from.join(name))?));
    }
    let views: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Ok(store::write_all(to, &views)?)
}

fn label_counts(rows: &[LabelRow]) -> Vec<LabelCounts> {
    let mut found: BTreeMap<(u32, &str), Tally> = BTreeMap::new();
    for row in rows {
        found.entry((row.round, &row.split)).or_default().add(row);
    }
    found
        .into_iter()
        .map(|((round, split), tally)| {
            let mut name = format!("{split}, round {round}");
            if tally.counts.unjudged > 0 {
                name += &format!(" (the judged stand for {} unjudged)", tally.counts.unjudged);
            }
            LabelCounts { split: name, counts: tally.weighted() }
        })
        .collect()
}
