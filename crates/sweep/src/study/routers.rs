//! Several trained routers on the same questions: the mean over each one's seeds, and its
//! difference to the first router, paired over the resamples.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, Gap};

use super::resampled::{Drawn, Resampled, Resamples};
use super::{
    Comparison, Difference, PolicyResult, Resampling, Splits, StudyError, SweptPolicy, TARGETS,
    check, correct_family, exact_at_the_ends, policy_result,
};
use crate::bootstrap::interval;

/// A router as it was swept with each of its seeds, or a policy without seeds.
#[derive(Debug, Clone)]
pub struct SweptRouter<'a> {
    /// Name.
    pub name: &'a str,
    /// One for each seed; at least one.
    pub seeds: Vec<SweptPolicy<'a>>,
    /// Whether its difference to the first is one of the family of tests.
    pub tested: bool,
}

/// The figures of several routers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterStudy {
    /// Name of the split, as in "test".
    pub split: String,
    /// Number of questions.
    pub questions: u64,
    /// Name of the split that τ is chosen on.
    pub calibration: String,
    /// Number of questions that τ is chosen on.
    pub calibration_questions: u64,
    /// Number of bootstrap resamples behind every interval.
    pub resamples: u64,
    /// Resamples in which the LLM is no better than the SLM. They have no APGR, and count against
    /// every difference that is tested.
    pub resamples_without_gap: u64,
    /// Accuracies of the SLM and the LLM alone.
    pub gap: Gap,
    /// 95% interval of the SLM's accuracy.
    pub slm_interval: Option<[f64; 2]>,
    /// 95% interval of the LLM's accuracy.
    pub llm_interval: Option<[f64; 2]>,
    /// In the order given; differences are to the first.
    pub routers: Vec<ComparedRouter>,
}

/// One router: means over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedRouter {
    /// Name.
    pub name: String,
    /// The figures of each seed.
    pub seeds: Vec<PolicyResult>,
    /// Mean APGR at small budgets; `None` if the LLM is no better than the SLM.
    pub apgr20: Option<f64>,
    /// 95% interval of the mean.
    pub apgr20_interval: Option<[f64; 2]>,
    /// Mean APGR.
    pub apgr: Option<f64>,
    /// 95% interval of the mean.
    pub apgr_interval: Option<[f64; 2]>,
    /// Figures at the offload targets.
    pub points: Vec<MeanPoint>,
    /// The mean APGR at small budgets less the first router's. `None` for the first.
    pub difference20: Option<Comparison>,
    /// The same of APGR over all budgets, which is not tested.
    pub difference: Option<Difference>,
}

/// A router at an offload target, τ chosen on other questions for each seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanPoint {
    /// Offload ratio aimed at.
    pub target: f64,
    /// Mean of the offload ratios measured.
    pub offload: f64,
    /// Mean accuracy.
    pub accuracy: f64,
    /// 95% interval of the mean.
    pub interval: [f64; 2],
}

/// All figures of one test split. A router's figure is the mean over its seeds, in the data and in
/// every resample. Its difference to the first router is taken in the same resamples.
///
/// # Errors
/// No router, one without a seed, or curves of different questions.
pub fn compare_routers(
    splits: Splits<'_>,
    routers: &[SweptRouter<'_>],
    resampling: Resampling,
) -> Result<RouterStudy, StudyError> {
    let mut all = Vec::new();
    for router in routers {
        if router.seeds.is_empty() {
            let what = "any seed".to_owned();
            return Err(StudyError::Empty { policy: router.name.to_owned(), what });
        }
        all.extend_from_slice(&router.seeds);
    }
    let lead = check(splits, &all)?;
    let resamples = Resamples::draw(lead.calibration.len(), lead.test.len(), resampling);
    let gap = Gap::of(&Curve::of(lead.test));
    let main = Resampled::draw(lead, &resamples, None);
    let mut first: Option<(Option<f64>, Option<f64>, Vec<Drawn>)> = None;
    let mut compared = Vec::new();
    for router in routers {
        let mut seeds = Vec::new();
        let mut drawn = Vec::new();
        for policy in &router.seeds {
            let resampled = Resampled::draw(policy, &resamples, Some(&main));
            seeds.push(policy_result(policy, &resampled, gap));
            drawn.push(resampled.figures());
        }
        let drawn = mean_of_seeds(&drawn);
        let mut found = averaged(router.name, seeds, &drawn, lead.test.len() as u64);
        match &first {
            None => first = Some((found.apgr20, found.apgr, drawn)),
            Some((apgr20, apgr, reference)) => {
                let less = |of: fn(&Drawn) -> Option<f64>| -> Vec<f64> {
                    let pairs = drawn.iter().zip(reference);
                    pairs.filter_map(|(a, b)| Some(of(a)? - of(b)?)).collect()
                };
                let value = |mine: Option<f64>, other: Option<f64>| Some(mine? - other?);
                found.difference20 = value(found.apgr20, *apgr20).and_then(|value| {
                    let (resampled, of) = (less(|d| d.apgr20), resampling.resamples);
                    Comparison::of(value, resampled, of, router.tested)
                });
                found.difference = value(found.apgr, *apgr)
                    .and_then(|value| Difference::of(value, less(|d| d.apgr)));
            }
        }
        compared.push(found);
    }
    correct_family(compared.iter_mut().filter_map(|router| router.difference20.as_mut()));
    let [slm_interval, llm_interval] = main.ends();
    let questions = lead.test.len() as u64;
    Ok(RouterStudy {
        split: splits.test.to_owned(),
        questions,
        calibration: splits.calibration.to_owned(),
        calibration_questions: lead.calibration.len() as u64,
        resamples: resampling.resamples as u64,
        resamples_without_gap: main.without_gap() as u64,
        gap,
        slm_interval: slm_interval.map(|i| exact_at_the_ends(gap.slm, questions, i)),
        llm_interval: llm_interval.map(|i| exact_at_the_ends(gap.llm, questions, i)),
        routers: compared,
    })
}

/// The mean over the seeds `[seeds][resamples]` in every resample.
fn mean_of_seeds(seeds: &[Vec<Drawn>]) -> Vec<Drawn> {
    let count = seeds.len() as f64;
    let resamples = seeds.first().map_or(0, Vec::len);
    let mean = |of: &dyn Fn(&Drawn) -> Option<f64>, at: usize| -> Option<f64> {
        let sum: Option<f64> = seeds.iter().map(|drawn| of(&drawn[at])).sum();
        sum.map(|sum| sum / count)
    };
    let of = |at: usize| Drawn {
        points: std::array::from_fn(|i| mean(&|d| Some(d.points[i]), at).unwrap_or(f64::NAN)),
        apgr: mean(&|d| d.apgr, at),
        apgr20: mean(&|d| d.apgr20, at),
    };
    (0..resamples).map(of).collect()
}

fn averaged(
    name: &str,
    seeds: Vec<PolicyResult>,
    drawn: &[Drawn],
    questions: u64,
) -> ComparedRouter {
    let count = seeds.len() as f64;
    let mean = |of: &dyn Fn(&PolicyResult) -> Option<f64>| -> Option<f64> {
        let sum: Option<f64> = seeds.iter().map(of).sum();
        sum.map(|sum| sum / count)
    };
    let point = |(i, &target): (usize, &f64)| {
        let mean = |of: fn(&super::Point) -> f64| {
            seeds.iter().filter_map(|seed| seed.points.get(i).map(of)).sum::<f64>() / count
        };
        let accuracy = mean(|point| point.accuracy);
        let resampled = interval(drawn.iter().map(|d| d.points[i]).collect());
        MeanPoint {
            target,
            offload: mean(|point| point.offload),
            accuracy,
            interval: exact_at_the_ends(accuracy, questions, resampled.unwrap_or([accuracy; 2])),
        }
    };
    ComparedRouter {
        name: name.to_owned(),
        apgr20: mean(&|seed| seed.apgr20),
        apgr20_interval: interval(drawn.iter().filter_map(|d| d.apgr20).collect()),
        apgr: mean(&|seed| seed.apgr),
        apgr_interval: interval(drawn.iter().filter_map(|d| d.apgr).collect()),
        points: TARGETS.iter().enumerate().map(point).collect(),
        seeds,
        difference20: None,
        difference: None,
    }
}
