//! One policy under every resample of the questions, and the intervals of its
//! figures.

use rayon::prelude::*;
use tokenroute_core::{Curve, Gap, QuestionCurve, Sweepable, Tau, apgr};

use super::result::BandPoint;
use crate::bootstrap::{Bootstrap, interval};

/// Offload ratios of the band: steps of ½% up to 20%, then of 1⅓%.
fn band_offloads() -> Vec<f64> {
    let fine = (0..40u32).map(|i| f64::from(i) / 200.0);
    fine.chain((0..=60u32).map(|i| 0.2 + 0.8 * f64::from(i) / 60.0)).collect()
}

/// The figures of one policy in every resample.
pub(super) struct Resampled {
    /// Accuracy at τ = 0 and at τ = 1.
    ends: Vec<[f64; 2]>,
    /// Accuracy at each given τ.
    points: Vec<Vec<f64>>,
    /// Accuracy at τ(ρ) of the resample's own curve, along [`band_offloads`].
    band: Vec<Vec<f64>>,
    /// `None` in a resample without a gap.
    apgr: Vec<Option<f64>>,
}

impl Resampled {
    /// Reads the questions' curves under every set of weights.
    pub fn draw(test: &[QuestionCurve], taus: &[Tau], bootstrap: &Bootstrap) -> Self {
        let sweepable = Sweepable::new(test);
        let offloads = band_offloads();
        let draws: Vec<_> = bootstrap
            .weights()
            .par_iter()
            .map(|weights| {
                let curve = sweepable.curve(weights);
                let gap = Gap::of(&curve);
                let points = taus.iter().map(|&tau| curve.accuracy(&curve.at(tau))).collect();
                ([gap.slm, gap.llm], points, accuracy_along(&curve, &offloads), apgr(&curve, gap))
            })
            .collect();
        let mut resampled =
            Resampled { ends: Vec::new(), points: Vec::new(), band: Vec::new(), apgr: Vec::new() };
        for (ends, points, band, apgr) in draws {
            resampled.ends.push(ends);
            resampled.points.push(points);
            resampled.band.push(band);
            resampled.apgr.push(apgr);
        }
        resampled
    }

    /// Interval of the accuracy at τ = 0 and at τ = 1.
    pub fn ends(&self) -> [Option<[f64; 2]>; 2] {
        [0, 1].map(|e| interval(self.ends.iter().map(|ends| ends[e]).collect()))
    }

    /// Interval of the accuracy at the τ of that index.
    pub fn point(&self, i: usize) -> Option<[f64; 2]> {
        interval(self.points.iter().map(|p| p[i]).collect())
    }

    /// Interval of the accuracy along [`band_offloads`].
    pub fn band(&self) -> Vec<BandPoint> {
        let point = |(i, offload)| {
            let [lower, upper] = interval(self.band.iter().map(|b| b[i]).collect())?;
            Some(BandPoint { offload, lower, upper })
        };
        band_offloads().into_iter().enumerate().filter_map(point).collect()
    }

    /// Interval of the APGR, over the resamples that have one.
    pub fn apgr(&self) -> Option<[f64; 2]> {
        interval(self.apgr.iter().copied().flatten().collect())
    }

    /// Interval of this policy's APGR less the other's, over the resamples in
    /// which both have one.
    pub fn apgr_less(&self, other: &Resampled) -> Option<[f64; 2]> {
        let pairs = self.apgr.iter().zip(&other.apgr);
        interval(pairs.filter_map(|(a, b)| Some((*a)? - (*b)?)).collect())
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
