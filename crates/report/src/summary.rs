//! `summary.json`: the figures of a report under fixed keys, for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Bytes, Counts, Shares, Tau};
use tokenroute_sweep::answer_cost::AnswerCosts;
use tokenroute_sweep::errors::Errors;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{Comparison, Difference, PolicyResult, SplitResult, is_headline};

use crate::cost::CostSummary;
use crate::data::{ReportData, StageCost};
use crate::error::RenderError;

/// Everything in `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The test split's figures, at the top level.
    #[serde(flatten)]
    pub test: SplitSummary,
    /// The same on kinds of questions that the router never trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood: Option<SplitSummary>,
    /// What an answer costs on the test split. Their curves are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_costs: Option<AnswerCosts>,
    /// Shares of labelled positions.
    pub labels: Shares,
    /// The router's errors on labelled positions, at the headline's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
    /// Cost of the router's exact sweep on the test split.
    pub sweep: CostSummary,
    /// Wall time by stage.
    pub seconds: BTreeMap<String, f64>,
    /// Peak memory in bytes by stage, where the system reports it.
    #[serde(default)]
    pub peak_bytes: BTreeMap<String, u64>,
    /// Positions the LLM processed by stage, prefill included.
    #[serde(default)]
    pub llm_positions: BTreeMap<String, u64>,
    /// Bytes to and from an LLM on a server, by stage.
    #[serde(default)]
    pub bytes: BTreeMap<String, Bytes>,
    /// Hashes, seeds, versions.
    pub provenance: BTreeMap<String, serde_json::Value>,
}

impl Summary {
    /// The figures of a report.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn of(data: &ReportData) -> Result<Self, RenderError> {
        let mut counts = Counts::default();
        data.labels.iter().for_each(|part| counts += part.counts);
        let mut provenance: BTreeMap<String, serde_json::Value> =
            data.provenance.iter().map(|f| (f.name.clone(), f.value.clone().into())).collect();
        provenance.insert("sweep_costs".to_owned(), serde_json::to_value(&data.costs)?);
        Ok(Summary {
            test: (&data.test).into(),
            ood: data.ood.as_ref().map(Into::into),
            answer_costs: Some(without_curves(&data.answer_costs)),
            labels: counts.shares(),
            errors: data.errors.clone(),
            sweep: data.cost,
            seconds: by_stage(&data.stages, |s| s.seconds),
            peak_bytes: by_stage(&data.stages, |s| s.peak_bytes),
            llm_positions: by_stage(&data.stages, |s| s.llm_positions),
            bytes: by_stage(&data.stages, |s| s.bytes),
            provenance,
        })
    }

    /// The text of `summary.json`.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, RenderError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The costs at the points alone.
fn without_curves(costs: &AnswerCosts) -> AnswerCosts {
    let mut costs = costs.clone();
    costs.policies.iter_mut().for_each(|policy| policy.curve.clear());
    costs
}

/// The stages that have a figure, with it.
fn by_stage<T>(stages: &[StageCost], of: impl Fn(&StageCost) -> Option<T>) -> BTreeMap<String, T> {
    stages.iter().filter_map(|s| Some((s.stage.clone(), of(s)?))).collect()
}

/// Figures of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Number of questions.
    pub questions: u64,
    /// The questions that τ is chosen on.
    #[serde(default)]
    pub calibration: CalibrationSummary,
    /// Bootstrap resamples behind every interval.
    #[serde(default)]
    pub resamples: u64,
    /// Resamples in which the LLM is no better than the SLM. They have no APGR and no CPT.
    #[serde(default)]
    pub resamples_without_gap: u64,
    /// The SLM alone.
    pub slm: EndSummary,
    /// The LLM alone.
    pub llm: EndSummary,
    /// The router.
    #[serde(flatten)]
    pub router: PolicySummary,
    /// LLM tokens per question at the router's point for 7% offload.
    pub offloaded_tokens_per_question: Option<f64>,
    /// Every other policy.
    pub baselines: BTreeMap<String, PolicySummary>,
    /// The router's APGR less each other policy's.
    pub apgr_differences: BTreeMap<String, Difference>,
    /// The same of APGR[0, .2], with tests of the training-free policies.
    #[serde(default)]
    pub apgr20_differences: BTreeMap<String, Comparison>,
    /// Every router by name, if there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seeds: BTreeMap<String, PolicySummary>,
}

/// The questions that τ is chosen on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationSummary {
    /// Name of their split.
    pub split: String,
    /// Their number.
    pub questions: u64,
}

/// One model alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EndSummary {
    /// Share of right answers.
    pub accuracy: f64,
    /// 95% interval.
    pub ci: Option<[f64; 2]>,
    /// Share of answers that were cut at their most tokens.
    #[serde(default)]
    pub cut: f64,
}

/// One policy's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicySummary {
    /// The seed that a router was trained with, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// At the offload targets.
    pub points: Vec<PointSummary>,
    /// Area under the PGR curve; null if the LLM is no better than the SLM.
    pub apgr: Option<f64>,
    /// 95% interval.
    pub apgr_ci: Option<[f64; 2]>,
    /// Mean PGR over the offload ratios up to .2.
    #[serde(default)]
    pub apgr20: Option<f64>,
    /// 95% interval.
    #[serde(default)]
    pub apgr20_ci: Option<[f64; 2]>,
    /// Least offload with PGR ≥ ½.
    pub cpt50: Option<f64>,
    /// 95% interval; null where some resamples never reach it.
    #[serde(default)]
    pub cpt50_ci: Option<[f64; 2]>,
    /// Least offload with PGR ≥ ⅘.
    pub cpt80: Option<f64>,
    /// 95% interval; null where some resamples never reach it.
    #[serde(default)]
    pub cpt80_ci: Option<[f64; 2]>,
}

/// A policy at one offload target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// Offload ratio aimed at.
    pub target: f64,
    /// The τ chosen for it, on other questions.
    pub tau: Tau,
    /// Offload ratio measured, over all tokens.
    pub offload: f64,
    /// Mean of the questions' own offload ratios.
    pub mean_offload: f64,
    /// Accuracy measured.
    pub accuracy: f64,
    /// 95% interval of the accuracy.
    pub ci: [f64; 2],
    /// Share of answers that were cut at their most tokens.
    #[serde(default)]
    pub cut: f64,
    /// Performance gap recovered.
    pub pgr: Option<f64>,
    /// LLM tokens per question.
    pub offloaded_tokens_per_question: f64,
    /// Positions the LLM processes per question, prefill included.
    #[serde(default)]
    pub llm_positions_per_question: f64,
}

impl From<&PolicyResult> for PolicySummary {
    fn from(policy: &PolicyResult) -> Self {
        let points = policy.points.iter().map(|p| PointSummary {
            target: p.target,
            tau: p.tau,
            offload: p.offload,
            mean_offload: p.mean_offload,
            accuracy: p.accuracy,
            ci: p.interval,
            cut: p.cut,
            pgr: p.pgr,
            offloaded_tokens_per_question: p.offloaded_per_question,
            llm_positions_per_question: p.llm_positions_per_question,
        });
        PolicySummary {
            seed: policy.seed,
            points: points.collect(),
            apgr: policy.apgr,
            apgr_ci: policy.apgr_interval,
            apgr20: policy.apgr20,
            apgr20_ci: policy.apgr20_interval,
            cpt50: policy.cpt50,
            cpt50_ci: policy.cpt50_interval,
            cpt80: policy.cpt80,
            cpt80_ci: policy.cpt80_interval,
        }
    }
}

impl From<&SplitResult> for SplitSummary {
    fn from(split: &SplitResult) -> Self {
        let others = || split.policies.iter().filter(|p| p.kind != PolicyKind::Router);
        let [slm, llm] = split.cut_alone();
        let router = split.router().map(PolicySummary::from).unwrap_or_default();
        let seeds: BTreeMap<String, PolicySummary> =
            split.routers().map(|r| (r.name.clone(), r.into())).collect();
        SplitSummary {
            questions: split.questions,
            calibration: CalibrationSummary {
                split: split.calibration.clone(),
                questions: split.calibration_questions,
            },
            resamples: split.resamples,
            resamples_without_gap: split.resamples_without_gap,
            slm: EndSummary { accuracy: split.gap.slm, ci: split.slm_interval, cut: slm },
            llm: EndSummary { accuracy: split.gap.llm, ci: split.llm_interval, cut: llm },
            offloaded_tokens_per_question: router
                .points
                .iter()
                .find(|p| is_headline(p.target))
                .map(|p| p.offloaded_tokens_per_question),
            router,
            baselines: others().map(|p| (p.name.clone(), p.into())).collect(),
            apgr_differences: others()
                .filter_map(|p| Some((p.name.clone(), p.router_advantage?)))
                .collect(),
            apgr20_differences: others()
                .filter_map(|p| Some((p.name.clone(), p.router_advantage20?)))
                .collect(),
            seeds: if seeds.len() > 1 { seeds } else { BTreeMap::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::{Piece, QuestionCurve};
    use tokenroute_sweep::study::{Resampling, Splits, SweptPolicy, study};

    #[test]
    fn the_file_has_its_keys_and_reads_back() {
        let piece = |end, correct, offloaded| Piece {
            end,
            correct,
            cut: offloaded == 0,
            offloaded,
            generated: 20,
            llm_positions: 3 * offloaded,
        };
        let curves: Vec<QuestionCurve> = (0..20)
            .map(|i| QuestionCurve {
                question: i.to_string(),
                pieces: vec![piece(0.5, i % 2 == 0, 0), piece(0.7, true, 1), piece(1.0, true, 20)],
            })
            .collect();
        let policy = |name, kind| SweptPolicy {
            name,
            kind,
            seed: None,
            calibration: &curves,
            test: &curves,
        };
        let policies = [
            policy("router", PolicyKind::Router),
            policy("margin", PolicyKind::TrainingFree),
            SweptPolicy { seed: Some(2), ..policy("router, seed 2", PolicyKind::Router) },
        ];
        let splits = Splits { calibration: "validation", test: "test" };
        let resampling = Resampling { resamples: 50, seed: 1 };
        let split = study(splits, &policies, resampling).expect("two policies");
        let counts = Counts { identical: 85, neutral: 6, both_wrong: 3, divergent: 5, unjudged: 1 };
        let summary = Summary {
            answer_costs: None,
            test: SplitSummary::from(&split),
            ood: None,
            labels: counts.shares(),
            errors: None,
            sweep: CostSummary::default(),
            seconds: [("label".to_owned(), 1.5)].into(),
            peak_bytes: [("label".to_owned(), 9)].into(),
            llm_positions: [("sweep".to_owned(), 7)].into(),
            bytes: [("sweep".to_owned(), Bytes { up: 5, down: 6 })].into(),
            provenance: [("seed".to_owned(), 7.into())].into(),
        };
        let json = serde_json::to_value(&summary).expect("plain values");
        for (pointer, expected) in [
            ("/questions", 20.into()),
            ("/slm/accuracy", 0.5.into()),
            ("/llm/accuracy", 1.0.into()),
            ("/slm/cut", 1.0.into()),
            ("/llm/cut", 0.0.into()),
            ("/points/2/cut", 0.0.into()),
            ("/baselines/margin/points/0/cut", 1.0.into()),
            ("/points/2/target", 0.05.into()),
            ("/points/2/offload", 0.05.into()),
            ("/points/2/accuracy", 1.0.into()),
            ("/points/2/pgr", 1.0.into()),
            ("/points/2/llm_positions_per_question", 3.0.into()),
            ("/points/2/ci/1", 1.0.into()),
            ("/apgr", 0.95.into()),
            ("/cpt50", 0.05.into()),
            ("/cpt80", 0.05.into()),
            ("/cpt80_ci/1", 0.05.into()),
            ("/seeds/router, seed 2/seed", 2.into()),
            ("/seeds/router/apgr", 0.95.into()),
            ("/baselines/margin/apgr", 0.95.into()),
            ("/baselines/margin/points/0/target", 0.01.into()),
            ("/baselines/margin/cpt80", 0.05.into()),
            ("/apgr_differences/margin/value", 0.0.into()),
            ("/calibration/split", "validation".into()),
            ("/calibration/questions", 20.into()),
            ("/resamples", 50.into()),
            ("/apgr20_differences/margin/value", 0.0.into()),
            ("/apgr20_differences/margin/detectable", 0.0.into()),
            ("/apgr20_differences/margin/p", 1.0.into()),
            ("/apgr20_differences/margin/holm_p", 1.0.into()),
            ("/labels/identical", 0.85.into()),
            ("/labels/neutral", 0.09.into()),
            ("/labels/divergent", 0.05.into()),
            ("/sweep/decoded_tokens", 0.into()),
            ("/sweep/slm_only_tokens", 0.into()),
            ("/sweep/cost_ratio", 0.0.into()),
            ("/sweep/llm_cost_ratio", 0.0.into()),
            ("/offloaded_tokens_per_question", 1.0.into()),
            ("/seconds/label", 1.5.into()),
            ("/peak_bytes/label", 9.into()),
            ("/llm_positions/sweep", 7.into()),
            ("/bytes/sweep/down", 6.into()),
            ("/provenance/seed", 7.into()),
        ] {
            let found: Option<&serde_json::Value> = json.pointer(pointer);
            assert_eq!(found, Some(&expected), "{pointer}");
        }
        for pointer in ["/apgr20", "/baselines/margin/apgr20", "/seeds/router/apgr20"] {
            let found = json.pointer(pointer).and_then(serde_json::Value::as_f64);
            assert!(found.is_some_and(|x| (x - 0.75).abs() < 1e-9), "{pointer}: {found:?}");
        }
        let tau = json.pointer("/points/2/tau").and_then(serde_json::Value::as_f64);
        assert_eq!(tau, Some(0.7));
        let read: Summary = serde_json::from_value(json).expect("its own keys");
        assert_eq!(read, summary);
    }
}
