//! From exact curves to figures. τ is chosen on validation; figures are measured on
//! a test split, with bootstrap intervals over questions.

mod resampled;
mod result;
#[cfg(test)]
mod tests;

use tokenroute_core::{Curve, Gap, QuestionCurve, Tau, apgr, cpt, mean_offload};

use crate::bootstrap::Bootstrap;
use crate::policies::PolicyKind;
use resampled::Resampled;
pub use result::{BandPoint, Difference, Point, PolicyResult, SplitResult};

/// Offload ratios aimed at on validation.
pub const TARGETS: [f64; 6] = [0.01, 0.02, 0.05, 0.07, 0.10, 0.20];

/// The target of the headline, one of [`TARGETS`].
pub const HEADLINE_TARGET: f64 = 0.07;

/// One policy as it was swept: the curves to choose τ on and those to measure on.
#[derive(Debug, Clone, Copy)]
pub struct SweptPolicy<'a> {
    /// Name, as in "max-probability".
    pub name: &'a str,
    /// The sort of the policy.
    pub kind: PolicyKind,
    /// τ is chosen on these.
    pub validation: &'a [QuestionCurve],
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
        Resampling { resamples: 1000, seed: 0 }
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
        /// "validation" or "test".
        split: &'static str,
        /// Index of the first question that differs.
        at: usize,
    },
}

/// All figures of one test split. `policies` begin with the router; differences are
/// its APGR less theirs.
///
/// # Errors
/// Policies without curves, or with curves of different questions.
pub fn study(
    split: &str,
    policies: &[SweptPolicy<'_>],
    resampling: Resampling,
) -> Result<SplitResult, StudyError> {
    let router = check(policies)?;
    let bootstrap = Bootstrap::new(router.test.len(), resampling.resamples, resampling.seed);
    let gap = Gap::of(&Curve::of(router.test));
    let mut resampled: Vec<Resampled> = Vec::new();
    let mut results: Vec<PolicyResult> = Vec::new();
    for policy in policies {
        let taus = taus(policy);
        let drawn = Resampled::draw(policy.test, &taus, &bootstrap);
        let mut result = policy_result(policy, &taus, &drawn, gap);
        if let (Some(router), Some(first)) = (results.first(), resampled.first()) {
            let value = router.apgr.zip(result.apgr).map(|(router, other)| router - other);
            result.router_advantage = value
                .zip(first.apgr_less(&drawn))
                .map(|(value, interval)| Difference { value, interval });
        }
        resampled.push(drawn);
        results.push(result);
    }
    let [slm_interval, llm_interval] = resampled.first().map(Resampled::ends).unwrap_or_default();
    Ok(SplitResult {
        split: split.to_owned(),
        questions: router.test.len() as u64,
        gap,
        slm_interval,
        llm_interval,
        policies: results,
    })
}

/// Checks that the policies can be compared, and returns the router.
fn check<'a, 'b>(policies: &'b [SweptPolicy<'a>]) -> Result<&'b SweptPolicy<'a>, StudyError> {
    let router = match policies.first() {
        Some(first) if first.kind == PolicyKind::Router => first,
        first => {
            let got = first.map_or("missing", |p| p.name).to_owned();
            return Err(StudyError::NoRouter { got });
        }
    };
    for policy in policies {
        for (split, mine, theirs) in [
            ("validation", policy.validation, router.validation),
            ("test", policy.test, router.test),
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
                return Err(StudyError::OtherQuestions { policy, split, at });
            }
        }
    }
    Ok(router)
}

/// Chooses τ for every target on validation.
fn taus(policy: &SweptPolicy<'_>) -> [Tau; TARGETS.len()] {
    let validation = Curve::of(policy.validation);
    TARGETS.map(|rho| validation.tau_at_offload(rho))
}

fn policy_result(
    policy: &SweptPolicy<'_>,
    taus: &[Tau; TARGETS.len()],
    resampled: &Resampled,
    gap: Gap,
) -> PolicyResult {
    let curve = Curve::of(policy.test);
    let points = TARGETS
        .iter()
        .zip(taus)
        .enumerate()
        .map(|(i, (&target, &tau))| {
            let point = curve.at(tau);
            let accuracy = curve.accuracy(&point);
            Point {
                target,
                tau,
                offload: point.offload(),
                mean_offload: mean_offload(policy.test, tau),
                accuracy,
                interval: resampled.point(i).unwrap_or([accuracy; 2]),
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
        band: resampled.band(),
        points,
        apgr: apgr(&curve, gap),
        apgr_interval: resampled.apgr(),
        cpt50: cpt(&curve, gap, 0.5),
        cpt80: cpt(&curve, gap, 0.8),
        router_advantage: None,
        curve,
    }
}
