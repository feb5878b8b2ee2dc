//! From the policies' exact curves to figures: τ is chosen on validation, what
//! it gives is measured on a test split, with bootstrap intervals over questions.

use rayon::prelude::*;
use tokenroute_core::{Curve, Gap, QuestionCurve, Sweepable, Tau, apgr, cpt, mean_offload};

use crate::bootstrap::{Bootstrap, interval};
use crate::report::{BandPoint, Difference, Point, PolicyKind, PolicyResult, SplitResult};

/// Offload ratios at which every policy is read off.
pub const TARGETS: [f64; 6] = [0.01, 0.02, 0.05, 0.07, 0.10, 0.20];

/// One policy's curves.
#[derive(Debug, Clone, Copy)]
pub struct PolicyCurves<'a> {
    /// Name, as in "max-probability".
    pub name: &'a str,
    /// What sort of policy it is.
    pub kind: PolicyKind,
    /// Where τ is chosen.
    pub validation: &'a [QuestionCurve],
    /// Where it is measured; the same questions in the same order for every policy.
    pub test: &'a [QuestionCurve],
}

/// How the intervals are made.
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

/// Why no figures could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    /// The first policy is not a router.
    #[error("the first policy is {got}; expected the router, which the others are held against")]
    NoRouter {
        /// Name of the first policy, or "missing".
        got: String,
    },
    /// A policy was swept on nothing, or a question's curve has no pieces.
    #[error("policy {policy:?} has no curve for {what}; sweep it first")]
    Empty {
        /// The policy.
        policy: String,
        /// What is missing.
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

/// All figures of one test split. The router comes first among `policies`, and
/// the differences are its APGR less theirs.
///
/// # Errors
/// Policies without curves, or with curves of different questions.
pub fn study(
    split: &str,
    policies: &[PolicyCurves<'_>],
    resampling: Resampling,
) -> Result<SplitResult, StudyError> {
    let router = check(policies)?;
    let bootstrap = Bootstrap::new(router.test.len(), resampling.resamples, resampling.seed);
    let gap = Gap::of(&Curve::of(router.test));
    let mut samples: Vec<Samples> = Vec::new();
    let mut results: Vec<PolicyResult> = Vec::new();
    for policy in policies {
        let taus = taus(policy);
        let sample = Samples::draw(policy, &taus, &bootstrap);
        let mut result = result(policy, &taus, &sample, gap);
        if let (Some(router), Some(first)) = (results.first(), samples.first()) {
            let value = router.apgr.zip(result.apgr).map(|(router, other)| router - other);
            result.router_advantage = value
                .zip(paired(&first.apgr, &sample.apgr))
                .map(|(value, interval)| Difference { value, interval });
        }
        samples.push(sample);
        results.push(result);
    }
    let end = |e: usize| interval(samples[0].ends.iter().map(|ends| ends[e]).collect());
    Ok(SplitResult {
        split: split.to_owned(),
        questions: router.test.len() as u64,
        gap,
        slm_interval: end(0),
        llm_interval: end(1),
        policies: results,
    })
}

/// The first policy, once all are known to fit together.
fn check<'a, 'b>(policies: &'b [PolicyCurves<'a>]) -> Result<&'b PolicyCurves<'a>, StudyError> {
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

/// The τ for every target, chosen on validation.
fn taus(policy: &PolicyCurves<'_>) -> [Tau; TARGETS.len()] {
    let validation = Curve::of(policy.validation);
    TARGETS.map(|rho| validation.tau_at_offload(rho))
}

/// Offload ratios of the band: steps of ½% up to 20%, then of 1⅓%.
fn band_offloads() -> Vec<f64> {
    let fine = (0..40u32).map(|i| f64::from(i) / 200.0);
    fine.chain((0..=60u32).map(|i| 0.2 + 0.8 * f64::from(i) / 60.0)).collect()
}

/// What one policy does under every resample.
struct Samples {
    /// Accuracy at τ = 0 and at τ = 1.
    ends: Vec<[f64; 2]>,
    /// Accuracy at the τ of every target.
    points: Vec<[f64; TARGETS.len()]>,
    /// Accuracy at τ(ρ) of the resample's own curve, along [`band_offloads`].
    band: Vec<Vec<f64>>,
    apgr: Vec<Option<f64>>,
}

impl Samples {
    fn draw(policy: &PolicyCurves<'_>, taus: &[Tau; TARGETS.len()], bootstrap: &Bootstrap) -> Self {
        let sweepable = Sweepable::new(policy.test);
        let offloads = band_offloads();
        let draws: Vec<_> = bootstrap
            .weights()
            .par_iter()
            .map(|weights| {
                let curve = sweepable.curve(weights);
                let gap = Gap::of(&curve);
                let points = taus.map(|tau| curve.accuracy(&curve.at(tau)));
                ([gap.slm, gap.llm], points, accuracy_along(&curve, &offloads), apgr(&curve, gap))
            })
            .collect();
        let mut samples =
            Samples { ends: Vec::new(), points: Vec::new(), band: Vec::new(), apgr: Vec::new() };
        for (ends, points, band, apgr) in draws {
            samples.ends.push(ends);
            samples.points.push(points);
            samples.band.push(band);
            samples.apgr.push(apgr);
        }
        samples
    }
}

/// Accuracy at τ(ρ) for rising ρ, in one pass over the curve.
fn accuracy_along(curve: &Curve, offloads: &[f64]) -> Vec<f64> {
    let mut held = 0;
    offloads
        .iter()
        .map(|&rho| {
            while curve.points.get(held).is_some_and(|p| p.offload() <= rho) {
                held += 1;
            }
            curve.accuracy(&curve.points[held.saturating_sub(1)])
        })
        .collect()
}

fn result(
    policy: &PolicyCurves<'_>,
    taus: &[Tau; TARGETS.len()],
    samples: &Samples,
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
                interval: interval(samples.points.iter().map(|p| p[i]).collect())
                    .unwrap_or([accuracy; 2]),
                pgr: gap.pgr(accuracy),
                offloaded_per_question: point.offloaded as f64 / curve.questions.max(1) as f64,
                llm_positions_per_question: point.llm_positions as f64
                    / curve.questions.max(1) as f64,
            }
        })
        .collect();
    let band = band_offloads()
        .into_iter()
        .enumerate()
        .filter_map(|(i, offload)| {
            let [lower, upper] = interval(samples.band.iter().map(|b| b[i]).collect())?;
            Some(BandPoint { offload, lower, upper })
        })
        .collect();
    PolicyResult {
        name: policy.name.to_owned(),
        kind: policy.kind,
        band,
        points,
        apgr: apgr(&curve, gap),
        apgr_interval: interval(samples.apgr.iter().copied().flatten().collect()),
        cpt50: cpt(&curve, gap, 0.5),
        cpt80: cpt(&curve, gap, 0.8),
        router_advantage: None,
        curve,
    }
}

/// Interval of the difference over the resamples in which both exist.
fn paired(router: &[Option<f64>], other: &[Option<f64>]) -> Option<[f64; 2]> {
    interval(router.iter().zip(other).filter_map(|(r, o)| Some((*r)? - (*o)?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::Piece;

    /// Questions of ten tokens that the SLM gets wrong and the LLM right from
    /// `needed` offloaded tokens on; easy ones are always right.
    fn questions(count: usize, easy: usize, needed: u32) -> Vec<QuestionCurve> {
        (0..count)
            .map(|i| QuestionCurve {
                question: format!("q{i}"),
                pieces: (0..=10)
                    .map(|offloaded| Piece {
                        end: 0.05 + 0.095 * offloaded as f32,
                        correct: i < easy || offloaded >= needed,
                        offloaded,
                        generated: 10,
                        llm_positions: 7 * offloaded,
                    })
                    .collect(),
            })
            .map(|mut q| {
                q.pieces[10].end = 1.0;
                q
            })
            .collect()
    }

    fn curves<'a>(
        name: &'a str,
        kind: PolicyKind,
        questions: &'a [QuestionCurve],
    ) -> PolicyCurves<'a> {
        PolicyCurves { name, kind, validation: questions, test: questions }
    }

    const FEW: Resampling = Resampling { resamples: 200, seed: 3 };

    #[test]
    fn figures_of_a_hand_made_pair() {
        let (sharp, blunt) = (questions(100, 40, 1), questions(100, 40, 6));
        let policies = [
            curves("router", PolicyKind::Router, &sharp),
            curves("random", PolicyKind::TrainingFree, &blunt),
        ];
        let split = study("test", &policies, FEW).expect("two policies");
        assert_eq!((split.gap.slm, split.gap.llm), (0.4, 1.0));
        assert_eq!(split.llm_interval, Some([1.0, 1.0]));
        let [low, high] = split.slm_interval.expect("an interval");
        assert!(low < 0.4 && high > 0.4 && low > 0.25 && high < 0.55, "{low} {high}");

        let router = split.router().expect("the first");
        // At 7% nothing may be offloaded, at 10% one token in ten.
        let (at7, at10) = (router.points[3], router.points[4]);
        assert_eq!((at7.target, at7.offload, at7.accuracy), (0.07, 0.0, 0.4));
        assert_eq!((at10.offload, at10.accuracy, at10.pgr), (0.1, 1.0, Some(1.0)));
        assert_eq!((at10.offloaded_per_question, at10.llm_positions_per_question), (1.0, 7.0));
        assert!((at10.mean_offload - 0.1).abs() < 1e-9);
        assert_eq!(at10.interval, [1.0, 1.0]);
        assert!((router.apgr.expect("a gap") - 0.9).abs() < 1e-9);
        assert_eq!((router.cpt50, router.cpt80), (Some(0.1), Some(0.1)));

        let random = &split.policies[1];
        assert!((random.apgr.expect("a gap") - 0.4).abs() < 1e-9);
        let advantage = random.router_advantage.expect("both have an APGR");
        assert!((advantage.value - 0.5).abs() < 1e-9);
        assert!(advantage.interval.iter().all(|x| (x - 0.5).abs() < 1e-9), "{advantage:?}");
        assert_eq!(router.router_advantage, None);

        let band = &router.band;
        assert_eq!((band[0].offload, band[band.len() - 1].offload), (0.0, 1.0));
        assert!(band.is_sorted_by(|a, b| a.offload < b.offload));
        assert_eq!([band[0].lower, band[0].upper], [low, high]);
        assert_eq!(band[band.len() - 1].lower, 1.0);
        assert_eq!(study("test", &policies, FEW), Ok(split), "seeded");
    }

    #[test]
    fn no_gap_no_apgr() {
        let same = questions(10, 10, 1);
        let split =
            study("test", &[curves("router", PolicyKind::Router, &same)], FEW).expect("one policy");
        let router = &split.policies[0];
        assert_eq!((router.apgr, router.apgr_interval, router.cpt50), (None, None, None));
        assert_eq!(router.points[0].pgr, None);
    }

    #[test]
    fn policies_must_fit_together() {
        let (ten, nine) = (questions(10, 4, 1), questions(9, 4, 1));
        let router = curves("router", PolicyKind::Router, &ten);
        let margin = |q| curves("margin", PolicyKind::TrainingFree, q);
        assert_eq!(
            study("test", &[margin(&ten)], FEW),
            Err(StudyError::NoRouter { got: "margin".into() })
        );
        assert_eq!(
            study("test", &[router, margin(&nine)], FEW),
            Err(StudyError::OtherQuestions { policy: "margin".into(), split: "validation", at: 9 })
        );
        assert!(matches!(
            study("test", &[router, margin(&[])], FEW),
            Err(StudyError::Empty { .. })
        ));
    }
}
