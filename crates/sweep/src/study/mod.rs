//! From exact curves to figures. τ is chosen on some questions; figures are measured on the
//! test questions. Intervals are bootstrap intervals over both sets of questions, which are
//! resampled independently and identically for all policies, with τ chosen anew each time.

mod compare;
mod offload_met;
pub mod outcomes;
mod resampled;
mod result;
mod routers;
mod steps;
#[cfg(test)]
mod tests;

use tokenroute_core::{Curve, Gap, QuestionCurve, apgr, apgr_to, cpt, mean_offload};

use crate::binomial::clopper_pearson;
use crate::policies::PolicyKind;
use compare::holm;
pub use compare::{Comparison, Difference};
pub use offload_met::offload_met;
use resampled::{CPT, Resampled, Resamples};
pub use result::{BandPoint, Point, PolicyResult, SplitResult};
pub use routers::{ComparedRouter, MeanPoint, RouterStudy, SweptRouter, compare_routers};

/// Offload ratios aimed at, rising.
pub const TARGETS: [f64; 6] = [0.01, 0.02, 0.05, 0.07, 0.10, 0.20];

/// The target of the headline, one of [`TARGETS`].
pub const HEADLINE_TARGET: f64 = 0.07;

/// Whether an offload target is [`HEADLINE_TARGET`].
#[must_use]
pub fn is_headline(target: f64) -> bool {
    (target - HEADLINE_TARGET).abs() < 1e-9
}

/// The greatest of the small budgets, over which APGR is stated besides the one over all: a
/// policy that recovers nothing until most tokens are offloaded has a high APGR over all.
pub const SMALL_BUDGETS: f64 = 0.2;

/// Names of the two sets of questions.
#[derive(Debug, Clone, Copy)]
pub struct Splits<'a> {
    /// The questions that τ is chosen on.
    pub calibration: &'a str,
    /// The questions that figures are measured on.
    pub test: &'a str,
}

/// One policy as it was swept: the curves to choose τ on and those to measure on.
#[derive(Debug, Clone, Copy)]
pub struct SweptPolicy<'a> {
    /// Name, as in "max-probability".
    pub name: &'a str,
    /// The sort of the policy.
    pub kind: PolicyKind,
    /// The seed that a router was trained with, where it is known.
    pub seed: Option<u64>,
    /// The questions that τ is chosen on: for every policy the same in the same order.
    pub calibration: &'a [QuestionCurve],
    /// Figures are measured on these: for every policy the same questions in the
    /// same order.
    pub test: &'a [QuestionCurve],
}

/// Settings of the bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// Number of resamples.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Resampling { resamples: 10_000, seed: 0 }
    }
}

/// Curves that give no figures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    /// The first policy is not a router.
    #[error("the first policy is {got}; expected the router, which the others are compared with")]
    NoRouter {
        /// Name of the first policy, or "missing".
        got: String,
    },
    /// A policy was swept on nothing, or a question's curve has no pieces.
    #[error("policy {policy:?} has no curve for {what}; sweep it first")]
    Empty {
        /// The policy.
        policy: String,
        /// The questions without a curve.
        what: String,
    },
    /// Policies that were swept on different questions cannot be paired.
    #[error(
        "policy {policy:?} was swept on other {split} questions than the router, first at number {at}; sweep both on the same"
    )]
    OtherQuestions {
        /// The policy.
        policy: String,
        /// Name of the split.
        split: String,
        /// Index of the first question that differs.
        at: usize,
    },
}

/// All figures of one test split. `policies` begin with the router; differences are
/// its figures less theirs. Routers of other seeds are measured and not compared.
///
/// # Errors
/// Policies without curves, or with curves of different questions.
pub fn study(
    splits: Splits<'_>,
    policies: &[SweptPolicy<'_>],
    resampling: Resampling,
) -> Result<SplitResult, StudyError> {
    let router = check(splits, policies)?;
    let resamples = Resamples::draw(router.calibration.len(), router.test.len(), resampling);
    let gap = Gap::of(&Curve::of(router.test));
    let main = Resampled::draw(router, &resamples, None);
    let mut results = vec![policy_result(router, &main, gap)];
    for policy in &policies[1..] {
        let drawn = Resampled::draw(policy, &resamples, Some(&main));
        let mut result = policy_result(policy, &drawn, gap);
        if policy.kind != PolicyKind::Router {
            let less = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a - b);
            result.router_advantage = less(results[0].apgr, result.apgr)
                .and_then(|value| Difference::of(value, main.apgr_less(&drawn)));
            let tested = policy.kind == PolicyKind::TrainingFree;
            result.router_advantage20 = less(results[0].apgr20, result.apgr20).and_then(|value| {
                let resampled = main.apgr20_less(&drawn);
                Comparison::of(value, resampled, resampling.resamples, tested)
            });
        }
        results.push(result);
    }
    correct_family(results.iter_mut().filter_map(|result| result.router_advantage20.as_mut()));
    let n = router.test.len() as u64;
    let [slm_interval, llm_interval] = main.ends();
    Ok(SplitResult {
        split: splits.test.to_owned(),
        questions: n,
        calibration: splits.calibration.to_owned(),
        calibration_questions: router.calibration.len() as u64,
        resamples: resampling.resamples as u64,
        resamples_without_gap: main.without_gap() as u64,
        gap,
        slm_interval: slm_interval.map(|i| exact_at_the_ends(gap.slm, n, i)),
        llm_interval: llm_interval.map(|i| exact_at_the_ends(gap.llm, n, i)),
        policies: results,
    })
}

/// Holm's correction over the family: those comparisons that are tested.
fn correct_family<'c>(compared: impl Iterator<Item = &'c mut Comparison>) {
    let mut family: Vec<&mut Comparison> = compared.filter(|c| c.p.is_some()).collect();
    let p: Vec<f64> = family.iter().filter_map(|compared| compared.p).collect();
    for (compared, holm_p) in family.iter_mut().zip(holm(&p)) {
        compared.holm_p = Some(holm_p);
    }
}

/// Where all answers are right, or none, a bootstrap finds nothing else in any resample. The
/// interval is then at least the exact one (Clopper-Pearson).
fn exact_at_the_ends(accuracy: f64, questions: u64, bootstrap: [f64; 2]) -> [f64; 2] {
    let right = if accuracy <= 0.0 {
        0
    } else if accuracy >= 1.0 {
        questions
    } else {
        return bootstrap;
    };
    let exact = clopper_pearson(right, questions, 0.95);
    [bootstrap[0].min(exact[0]), bootstrap[1].max(exact[1])]
}

/// Checks that the policies can be compared, and returns the router.
fn check<'a, 'b>(
    splits: Splits<'_>,
    policies: &'b [SweptPolicy<'a>],
) -> Result<&'b SweptPolicy<'a>, StudyError> {
    let router = match policies.first() {
        Some(first) if first.kind == PolicyKind::Router => first,
        first => {
            let got = first.map_or("missing", |p| p.name).to_owned();
            return Err(StudyError::NoRouter { got });
        }
    };
    for policy in policies {
        for (split, mine, theirs) in [
            (splits.calibration, policy.calibration, router.calibration),
            (splits.test, policy.test, router.test),
        ] {
            let policy = policy.name.to_owned();
            if mine.is_empty() {
                return Err(StudyError::Empty { policy, what: format!("the {split} questions") });
            }
            if let Some(q) = mine.iter().find(|q| q.pieces.is_empty()) {
                let what = format!("question {:?}", q.question);
                return Err(StudyError::Empty { policy, what });
            }
            let same = mine.iter().zip(theirs).take_while(|(a, b)| a.question == b.question);
            let at = same.count();
            if at < mine.len().max(theirs.len()) {
                return Err(StudyError::OtherQuestions { policy, split: split.to_owned(), at });
            }
        }
    }
    Ok(router)
}

fn policy_result(policy: &SweptPolicy<'_>, resampled: &Resampled, gap: Gap) -> PolicyResult {
    let calibration = Curve::of(policy.calibration);
    let curve = Curve::of(policy.test);
    let points = TARGETS
        .iter()
        .enumerate()
        .map(|(i, &target)| {
            let tau = calibration.tau_at_offload(target);
            let point = curve.at(tau);
            let accuracy = curve.accuracy(&point);
            Point {
                target,
                tau,
                offload: point.offload(),
                mean_offload: mean_offload(policy.test, tau),
                accuracy,
                cut: curve.cut_share(&point),
                interval: exact_at_the_ends(
                    accuracy,
                    curve.questions,
                    resampled.point(i).unwrap_or([accuracy; 2]),
                ),
                pgr: gap.pgr(accuracy),
                offloaded_per_question: point.offloaded as f64 / curve.questions.max(1) as f64,
                llm_positions_per_question: point.llm_positions as f64
                    / curve.questions.max(1) as f64,
            }
        })
        .collect();
    PolicyResult {
        name: policy.name.to_owned(),
        kind: policy.kind,
        seed: policy.seed,
        band: resampled.band(),
        points,
        apgr: apgr(&curve, gap),
        apgr_interval: resampled.apgr(),
        apgr20: apgr_to(&curve, gap, SMALL_BUDGETS),
        apgr20_interval: resampled.apgr20(),
        cpt50: cpt(&curve, gap, CPT[0]),
        cpt50_interval: resampled.cpt(0),
        cpt80: cpt(&curve, gap, CPT[1]),
        cpt80_interval: resampled.cpt(1),
        router_advantage: None,
        router_advantage20: None,
        curve,
    }
}
