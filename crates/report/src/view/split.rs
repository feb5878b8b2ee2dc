//! One split in words: headline, points, policies.

use serde::Serialize;
use tokenroute_core::Tau;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{HEADLINE_TARGET, Point, PolicyResult, SplitResult};

use super::cut::CutView;
use super::statistics::{DifferencesView, SeedsView};
use crate::names::kind_name;
use crate::number::{count, decimal, offload, percent, percent_interval, target, tau};

/// One split.
#[derive(Debug, Serialize)]
pub(crate) struct SplitView {
    pub split: String,
    pub questions: String,
    /// The split that τ is chosen on, and its number of questions.
    pub calibration: String,
    pub calibration_questions: String,
    pub resamples: String,
    pub lead: Option<Lead>,
    pub ends: Vec<EndView>,
    pub points: Vec<PointView>,
    /// The router and the policies it is compared with.
    pub policies: Vec<PolicyView>,
    pub differences: Option<DifferencesView>,
    pub seeds: Option<SeedsView>,
    /// Targets shown as columns of the table of policies.
    pub columns: Vec<String>,
    /// Answers that were cut, if any was.
    pub cut: Option<CutView>,
}

/// The headline: the router at the target nearest 7%.
#[derive(Debug, Serialize)]
pub(crate) struct Lead {
    pub target: String,
    pub offload: String,
    pub accuracy: String,
    pub interval: String,
    pub pgr: String,
    pub slm: String,
    pub llm: String,
    pub factor: String,
    pub best_other: Option<[String; 2]>,
}

/// SLM-only or LLM-only.
#[derive(Debug, Serialize)]
pub(crate) struct EndView {
    pub name: &'static str,
    pub tau: &'static str,
    pub offload: &'static str,
    pub accuracy: String,
    pub interval: String,
    pub pgr: &'static str,
    pub llm_positions: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct PointView {
    pub target: String,
    pub tau: String,
    pub offload: String,
    pub accuracy: String,
    pub interval: String,
    pub pgr: String,
    pub mean_offload: String,
    pub per_question: String,
    pub llm_positions: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct PolicyView {
    pub name: String,
    pub kind: &'static str,
    pub router: bool,
    pub apgr20: String,
    pub apgr20_interval: String,
    pub apgr: String,
    pub apgr_interval: String,
    pub cpt50: String,
    pub cpt50_interval: String,
    pub cpt80: String,
    pub cpt80_interval: String,
    /// Accuracy at the split's `columns`.
    pub accuracies: Vec<String>,
}

impl SplitView {
    pub(super) fn of(split: &SplitResult) -> SplitView {
        let router = split.router();
        let positions = router.map_or(0.0, |r| {
            let all = r.curve.at(Tau::LLM_ONLY).llm_positions;
            all as f64 / r.curve.questions.max(1) as f64
        });
        let end = |name, tau, offload, pgr, accuracy, interval: Option<[f64; 2]>| EndView {
            llm_positions: if tau == "0" { "0".to_owned() } else { format!("{positions:.1}") },
            name,
            tau,
            offload,
            pgr,
            accuracy: percent(accuracy),
            interval: interval.map(percent_interval).unwrap_or_default(),
        };
        let points: &[Point] = router.map_or(&[], |r| &r.points);
        SplitView {
            split: split.split.clone(),
            questions: count(split.questions),
            calibration: split.calibration.clone(),
            calibration_questions: count(split.calibration_questions),
            resamples: count(split.resamples),
            lead: lead(split),
            ends: vec![
                end("SLM alone", "0", "0%", "0.00", split.gap.slm, split.slm_interval),
                end("LLM alone", "1", "100%", "1.00", split.gap.llm, split.llm_interval),
            ],
            points: points.iter().map(PointView::of).collect(),
            policies: split
                .policies
                .iter()
                .enumerate()
                .filter(|(i, p)| *i == 0 || p.kind != PolicyKind::Router)
                .map(|(_, p)| policy_view(p, points))
                .collect(),
            differences: DifferencesView::of(split),
            seeds: SeedsView::of(split),
            columns: points.iter().map(|p| target(p.target)).collect(),
            cut: CutView::of(split),
        }
    }
}

/// The router at the target nearest 7%, beside the best training-free policy.
fn lead(split: &SplitResult) -> Option<Lead> {
    let nearest = |points: &[Point]| {
        points.iter().copied().min_by(|a, b| {
            let off = |p: &Point| (p.target - HEADLINE_TARGET).abs();
            off(a).total_cmp(&off(b))
        })
    };
    let point = nearest(&split.router()?.points)?;
    let best_other = split
        .policies
        .iter()
        .filter(|p| matches!(p.kind, PolicyKind::TrainingFree | PolicyKind::Lookup))
        .filter_map(|p| Some((p.name.clone(), nearest(&p.points)?.accuracy)))
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .map(|(name, accuracy)| [name, percent(accuracy)]);
    Some(Lead {
        target: target(point.target),
        offload: offload(point.offload),
        accuracy: percent(point.accuracy),
        interval: percent_interval(point.interval),
        pgr: decimal(point.pgr, 2),
        slm: percent(split.gap.slm),
        llm: percent(split.gap.llm),
        factor: decimal((split.gap.slm > 0.0).then(|| point.accuracy / split.gap.slm), 2),
        best_other,
    })
}

impl PointView {
    pub(super) fn of(point: &Point) -> PointView {
        PointView {
            target: target(point.target),
            tau: tau(point.tau),
            offload: offload(point.offload),
            mean_offload: offload(point.mean_offload),
            accuracy: percent(point.accuracy),
            interval: percent_interval(point.interval),
            pgr: decimal(point.pgr, 2),
            per_question: format!("{:.2}", point.offloaded_per_question),
            llm_positions: format!("{:.1}", point.llm_positions_per_question),
        }
    }
}

fn policy_view(policy: &PolicyResult, columns: &[Point]) -> PolicyView {
    let accuracy_at = |column: &Point| {
        let same = policy.points.iter().find(|p| (p.target - column.target).abs() < 1e-9);
        same.map_or_else(|| "–".to_owned(), |p| percent(p.accuracy))
    };
    let ratio = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), offload);
    let numbers = |interval: Option<[f64; 2]>| {
        let [low, high] = interval?.map(|x| decimal(Some(x), 3));
        Some(format!("{low}–{high}"))
    };
    let ratios = |interval: Option<[f64; 2]>| {
        let [low, high] = interval?.map(offload);
        Some(format!("{low}–{high}"))
    };
    PolicyView {
        name: policy.name.clone(),
        kind: kind_name(policy.kind),
        router: policy.kind == PolicyKind::Router,
        apgr20: decimal(policy.apgr20, 3),
        apgr20_interval: numbers(policy.apgr20_interval).unwrap_or_default(),
        apgr: decimal(policy.apgr, 3),
        apgr_interval: numbers(policy.apgr_interval).unwrap_or_default(),
        cpt50: ratio(policy.cpt50),
        cpt50_interval: ratios(policy.cpt50_interval).unwrap_or_default(),
        cpt80: ratio(policy.cpt80),
        cpt80_interval: ratios(policy.cpt80_interval).unwrap_or_default(),
        accuracies: columns.iter().map(accuracy_at).collect(),
    }
}
