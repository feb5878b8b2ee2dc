//! One policy in every resample of the questions that τ is chosen on and of the test
//! questions, and the intervals of its figures.

use rayon::prelude::*;

use super::result::BandPoint;
use super::steps::{ChosenTaus, Steps, Sum};
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

/// The figures of one resample that several seeds are averaged over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    /// Accuracy at the τ chosen for each target.
    pub points: [f64; TARGETS.len()],
    /// `None` without a gap.
    pub apgr: Option<f64>,
    /// The same at small budgets.
    pub apgr20: Option<f64>,
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

    /// The figures of every resample.
    pub fn figures(&self) -> Vec<Drawn> {
        let of = |draw: &Draw| Drawn {
            points: draw.points,
            apgr: draw.areas.as_ref().map(|areas| areas.apgr),
            apgr20: draw.areas.as_ref().map(|areas| areas.apgr20),
        };
        self.draws.iter().map(of).collect()
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
/// τ, in rising order. Offload ratios are compared as fractions: one is divided only where the
/// number of right answers changes.
fn draw(test: &Steps, weights: &[u32], at: &[usize; TARGETS.len()], ends: [f64; 2]) -> Draw {
    let questions = f64::from(weights.iter().sum::<u32>().max(1));
    let [slm, llm] = ends.map(|accuracy| accuracy * questions);
    let needed = CPT.map(|x| (slm + (x - 1e-12) * (llm - slm)).ceil() as i64);
    let mut points = [slm; TARGETS.len()];
    let mut point = 0;
    let mut least: [Option<Sum>; CPT.len()] = [None; CPT.len()];
    let mut held = Held::default();
    // The piece of the greatest offload so far, and the right answers since the last change.
    let (mut greatest, mut right) = (Sum::default(), slm.round() as i64);
    test.read(weights, |piece, sum| {
        if sum.offloads_more_than(&greatest) {
            greatest = sum;
        }
        if sum.correct != right {
            held.upto(greatest.offload(), right as f64);
            right = sum.correct;
        }
        while point < at.len() && at[point] == piece {
            points[point] = sum.correct as f64;
            point += 1;
        }
        for (least, needed) in least.iter_mut().zip(needed) {
            if sum.correct >= needed && least.is_none_or(|least| least.offloads_more_than(&sum)) {
                *least = Some(sum);
            }
        }
        true
    });
    held.upto(1.0, right as f64);
    held.band[held.budget..].fill(right as f64);
    let pgr = |mean: f64| (mean - slm) / (llm - slm);
    Draw {
        points: points.map(|right| right / questions),
        band: held.band.map(|right| right / questions),
        areas: (llm > slm).then(|| Areas {
            apgr: pgr(held.area),
            apgr20: pgr(held.area20 / SMALL_BUDGETS),
            cpt: least.map(|sum| sum.map_or(f64::INFINITY, |sum| sum.offload())),
        }),
    }
}

/// What is known of a curve up to an offload budget.
struct Held {
    /// The budget.
    reached: f64,
    /// Right answers at τ(ρ), integrated over ρ up to it.
    area: f64,
    /// The same over the small budgets.
    area20: f64,
    /// Right answers along [`band_offloads`], as far as `budget`.
    band: [f64; BAND],
    budget: usize,
    offloads: [f64; BAND],
}

impl Default for Held {
    fn default() -> Self {
        let offloads = band_offloads();
        Held { reached: 0.0, area: 0.0, area20: 0.0, band: [0.0; BAND], budget: 0, offloads }
    }
}

impl Held {
    /// Takes in that `right` answers are right at every budget from the one reached up to
    /// `offload`.
    fn upto(&mut self, offload: f64, right: f64) {
        self.area += (offload - self.reached) * right;
        self.area20 += (offload.min(SMALL_BUDGETS) - self.reached).max(0.0) * right;
        while self.offloads.get(self.budget).is_some_and(|&budget| budget < offload) {
            self.band[self.budget] = right;
            self.budget += 1;
        }
        self.reached = offload;
    }
}
