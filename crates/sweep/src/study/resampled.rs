//! One policy in every resample of the questions that τ is chosen on and of the test
//! questions, and the intervals of its figures.

use rayon::prelude::*;

use super::result::BandPoint;
use super::steps::{ChosenTaus, Steps};
use super::{Resampling, SMALL_BUDGETS, SweptPolicy, TARGETS};
use crate::bootstrap::{Bootstrap, interval};

/// Points of the band.
const BAND: usize = 101;

/// Shares of the gap whose least offload is a figure.
pub(super) const CPT: [f64; 2] = [0.5, 0.8];

/// Offload ratios of the band: steps of ½% up to 20%, then of 1⅓%.
fn band_offloads() -> [f64; BAND] {
    std::array::from_fn(|i| match i {
        0..40 => i as f64 / 200.0,
        _ => 0.2 + 0.8 * (i - 40) as f64 / 60.0,
    })
}

/// The same resamples for every policy: two independent sets of questions.
pub(super) struct Resamples {
    calibration: Bootstrap,
    test: Bootstrap,
}

impl Resamples {
    /// Draws resamples of this many questions of each set.
    pub fn draw(calibration: usize, test: usize, resampling: Resampling) -> Resamples {
        let Resampling { resamples, seed } = resampling;
        Resamples {
            calibration: Bootstrap::on_stream(calibration, resamples, seed, 1),
            test: Bootstrap::on_stream(test, resamples, seed, 0),
        }
    }

    /// Something of every resample, in order. `of` gets the resample's index, the weights of
    /// the questions that τ is chosen on, and those of the test questions.
    pub fn map<T: Send>(&self, of: impl Fn(usize, &[u32], &[u32]) -> T + Sync) -> Vec<T> {
        let pairs = self.calibration.weights().par_iter().zip(self.test.weights());
        pairs.enumerate().map(|(i, (calibration, test))| of(i, calibration, test)).collect()
    }
}

/// The figures of one policy in every resample.
pub(super) struct Resampled {
    /// The SLM's accuracy and the LLM's.
    ends: Vec<[f64; 2]>,
    draws: Vec<Draw>,
}

/// The figures of one resample.
struct Draw {
    /// Accuracy at the τ chosen for each target.
    points: [f64; TARGETS.len()],
    /// Accuracy at τ(ρ) of the resample's own curve, along [`band_offloads`].
    band: [f64; BAND],
    /// `None` without a gap.
    areas: Option<Areas>,
}

/// The figures that are shares of a gap.
struct Areas {
    apgr: f64,
    apgr20: f64,
    /// Least offload for each of [`CPT`].
    cpt: [f64; CPT.len()],
}

impl Resampled {
    /// Chooses τ in every resample of the one set of questions and measures on the test
    /// questions of the same resample. The gap of each is the router's, or the policy's own
    /// without one.
    pub fn draw(
        policy: &SweptPolicy<'_>,
        resamples: &Resamples,
        router: Option<&Resampled>,
    ) -> Self {
        let (calibration, test) = (Steps::new(policy.calibration), Steps::new(policy.test));
        let chosen = ChosenTaus::new(&calibration, &test);
        let drawn = resamples.map(|i, chosen_on, measured_on| {
            let at = chosen.pieces(chosen_on, &TARGETS);
            let ends = router.map_or_else(|| test.ends(measured_on), |router| router.ends[i]);
            (ends, draw(&test, measured_on, &at, ends))
        });
        let (ends, draws) = drawn.into_iter().unzip();
        Resampled { ends, draws }
    }

    /// Number of resamples in which the LLM is no better than the SLM.
    pub fn without_gap(&self) -> usize {
        self.draws.iter().filter(|d| d.areas.is_none()).count()
    }

    /// Interval of the accuracy at τ = 0 and at τ = 1.
    pub fn ends(&self) -> [Option<[f64; 2]>; 2] {
        [0, 1].map(|e| interval(self.ends.iter().map(|ends| ends[e]).collect()))
    }

    /// Interval of the accuracy at the target of that index.
    pub fn point(&self, i: usize) -> Option<[f64; 2]> {
        interval(self.draws.iter().map(|d| d.points[i]).collect())
    }

    /// Interval of the accuracy along [`band_offloads`].
    pub fn band(&self) -> Vec<BandPoint> {
        let offloads = band_offloads();
        (0..BAND)
            .into_par_iter()
            .filter_map(|i| {
                let [lower, upper] = interval(self.draws.iter().map(|d| d.band[i]).collect())?;
                Some(BandPoint { offload: offloads[i], lower, upper })
            })
            .collect()
    }

    /// Interval of the APGR, over the resamples that have one.
    pub fn apgr(&self) -> Option<[f64; 2]> {
        self.share(|a| a.apgr)
    }

    /// Interval of the APGR at small budgets.
    pub fn apgr20(&self) -> Option<[f64; 2]> {
        self.share(|a| a.apgr20)
    }

    /// Interval of the least offload for the share of that index in [`CPT`].
    pub fn cpt(&self, i: usize) -> Option<[f64; 2]> {
        // A policy that recovers less than this share in some resamples has no upper end.
        self.share(|a| a.cpt[i]).filter(|ends| ends.iter().all(|x| x.is_finite()))
    }

    fn share(&self, of: impl Fn(&Areas) -> f64) -> Option<[f64; 2]> {
        interval(self.draws.iter().filter_map(|d| d.areas.as_ref()).map(of).collect())
    }

    /// This policy's APGR less the other's, in the resamples in which both have one.
    pub fn apgr_less(&self, other: &Resampled) -> Vec<f64> {
        self.less(other, |a| a.apgr)
    }

    /// This policy's APGR at small budgets less the other's.
    pub fn apgr20_less(&self, other: &Resampled) -> Vec<f64> {
        self.less(other, |a| a.apgr20)
    }

    fn less(&self, other: &Resampled, of: impl Fn(&Areas) -> f64) -> Vec<f64> {
        let pairs = self.draws.iter().zip(&other.draws);
        pairs.filter_map(|(a, b)| Some(of(a.areas.as_ref()?) - of(b.areas.as_ref()?))).collect()
    }
}

/// All figures of one resample, in one pass over the curve. `at` are the pieces of the chosen
/// τ, in rising order.
fn draw(test: &Steps, weights: &[u32], at: &[usize; TARGETS.len()], ends: [f64; 2]) -> Draw {
    let offloads = band_offloads();
    let questions = f64::from(weights.iter().sum::<u32>().max(1));
    let [slm, llm] = ends.map(|accuracy| accuracy * questions);
    let needed = CPT.map(|x| slm + (x - 1e-12) * (llm - slm));
    let mut points = [slm; TARGETS.len()];
    let mut band = [slm; BAND];
    let mut cpt = [f64::INFINITY; CPT.len()];
    let (mut point, mut budget) = (0, 0);
    // Right answers held until offload exceeds its running maximum, and the areas under them.
    let (mut reached, mut held) = (0.0, slm);
    let (mut area, mut area20) = (0.0, 0.0);
    test.read(weights, |piece, sum| {
        let (correct, offload) = (sum.correct as f64, sum.offload());
        while point < at.len() && at[point] == piece {
            points[point] = correct;
            point += 1;
        }
        if offload > reached {
            area += (offload - reached) * held;
            area20 += (offload.min(SMALL_BUDGETS) - reached).max(0.0) * held;
            while budget < BAND && offloads[budget] < offload {
                band[budget] = held;
                budget += 1;
            }
            reached = offload;
        }
        held = correct;
        for (least, needed) in cpt.iter_mut().zip(needed) {
            if correct >= needed && offload < *least {
                *least = offload;
            }
        }
        true
    });
    area += (1.0 - reached) * held;
    area20 += (SMALL_BUDGETS - reached).max(0.0) * held;
    band[budget..].fill(held);
    let pgr = |mean: f64| (mean - slm) / (llm - slm);
    Draw {
        points: points.map(|right| right / questions),
        band: band.map(|right| right / questions),
        areas: (llm > slm).then(|| Areas {
            apgr: pgr(area),
            apgr20: pgr(area20 / SMALL_BUDGETS),
            cpt,
        }),
    }
}
