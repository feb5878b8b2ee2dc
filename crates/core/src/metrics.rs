//! Performance gap recovered (PGR), APGR and CPT over exact curves (RouteLLM, arXiv
//! 2406.18665 §3).

use serde::{Deserialize, Serialize};

use crate::{Curve, Tau};

/// The accuracies of the SLM and the LLM alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Accuracy at τ = 0.
    pub slm: f64,
    /// Accuracy at τ = 1.
    pub llm: f64,
}

impl Gap {
    /// The accuracies at both ends of a curve.
    #[must_use]
    pub fn of(curve: &Curve) -> Self {
        Gap {
            slm: curve.accuracy(&curve.at(Tau::SLM_ONLY)),
            llm: curve.accuracy(&curve.at(Tau::LLM_ONLY)),
        }
    }

    /// Performance gap recovered, (accuracy − SLM) / (LLM − SLM), unclamped;
    /// `None` if the LLM is no better than the SLM.
    #[must_use]
    pub fn pgr(&self, accuracy: f64) -> Option<f64> {
        (self.llm > self.slm).then(|| (accuracy - self.slm) / (self.llm - self.slm))
    }
}

/// APGR: the mean PGR over all offload ratios, ∫₀¹ PGR(τ(ρ)) dρ with τ(ρ) of
/// [`Curve::tau_at_offload`]. `None` if the LLM is no better than the SLM.
#[must_use]
pub fn apgr(curve: &Curve, gap: Gap) -> Option<f64> {
    apgr_to(curve, gap, 1.0)
}

/// APGR[0, `upto`]: the mean PGR over the offload ratios from 0 to `upto`,
/// ∫₀ PGR(τ(ρ)) dρ / `upto`. `None` if the LLM is no better than the SLM.
///
/// Over all ratios a policy scores well that recovers nothing where offload is cheap. Over
/// the small ones it does not.
#[must_use]
pub fn apgr_to(curve: &Curve, gap: Gap, upto: f64) -> Option<f64> {
    gap.pgr(gap.llm)?;
    let mut area = 0.0;
    // τ(ρ) moves on only where offload exceeds its running maximum. Until then the last
    // piece below that maximum holds.
    let (mut reached, mut pgr) = (0.0, 0.0);
    for point in &curve.points {
        let offload = point.offload();
        if offload > upto {
            break;
        }
        if offload > reached {
            area += (offload - reached) * pgr;
            reached = offload;
        }
        pgr = gap.pgr(curve.accuracy(point)).unwrap_or(0.0);
    }
    Some((area + (upto - reached) * pgr) / upto)
}

/// RouteLLM's approximation of APGR (arXiv 2406.18665 §3.1): the mean PGR at the offload ratios
/// 10%, 20%, …, 100%. `None` if the LLM is no better than the SLM.
#[must_use]
pub fn apgr_of_tenths(curve: &Curve, gap: Gap) -> Option<f64> {
    let pgr = |tenth: u32| {
        let tau = curve.tau_at_offload(f64::from(tenth) / 10.0);
        gap.pgr(curve.accuracy(&curve.at(tau)))
    };
    (1..=10).map(pgr).sum::<Option<f64>>().map(|sum| sum / 10.0)
}

/// CPT(x): the least offload ratio of any τ with PGR ≥ x (up to rounding, 1e-12). `None` if
/// no τ reaches it.
#[must_use]
pub fn cpt(curve: &Curve, gap: Gap, x: f64) -> Option<f64> {
    curve
        .points
        .iter()
        .filter(|p| gap.pgr(curve.accuracy(p)).is_some_and(|pgr| pgr >= x - 1e-12))
        .map(crate::CurvePoint::offload)
        .min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CurvePoint;

    fn curve(points: &[(f64, u64, u64)]) -> Curve {
        Curve {
            questions: 100,
            points: points
                .iter()
                .map(|&(end, correct, offloaded)| CurvePoint {
                    end,
                    correct,
                    cut: 0,
                    offloaded,
                    generated: 1000,
                    llm_positions: 0,
                })
                .collect(),
        }
    }

    #[test]
    fn apgr_is_the_area_under_the_held_pgr() {
        // PGR is 0 until offload .1, .5 until .4, then 1.
        let c = curve(&[(0.2, 40, 0), (0.5, 60, 100), (0.8, 80, 400), (1.0, 80, 1000)]);
        let gap = Gap::of(&c);
        let area = apgr(&c, gap).expect("a gap");
        assert!((area - (0.3 * 0.5 + 0.6)).abs() < 1e-12, "{area}");
        // At 10% to 30% PGR is .5, from 40% on 1.
        let tenths = apgr_of_tenths(&c, gap).expect("a gap");
        assert!((tenths - 0.85).abs() < 1e-12, "{tenths}");
        // Up to .2 PGR is 0 for a half of the way and .5 for the other.
        let small = apgr_to(&c, gap, 0.2).expect("a gap");
        assert!((small - 0.25).abs() < 1e-12, "{small}");
        assert_eq!(apgr_to(&c, gap, 0.1), Some(0.0));
        assert_eq!(cpt(&c, gap, 0.5), Some(0.1));
        assert_eq!(cpt(&c, gap, 0.8), Some(0.4));
        assert_eq!(cpt(&c, gap, 1.1), None);
    }

    #[test]
    fn a_dip_in_offload_takes_the_last_piece_under_the_maximum() {
        let c = curve(&[(0.2, 40, 0), (0.5, 60, 500), (0.8, 70, 300), (1.0, 80, 1000)]);
        let area = apgr(&c, Gap::of(&c)).expect("a gap");
        assert!((area - 0.5 * 0.75).abs() < 1e-12, "{area}");
        assert_eq!(apgr_to(&c, Gap::of(&c), 0.4), Some(0.0), "the dip lies beyond the maximum");
    }

    #[test]
    fn no_gap_no_figure() {
        let c = curve(&[(0.5, 40, 0), (1.0, 40, 1000)]);
        assert_eq!(apgr(&c, Gap::of(&c)), None);
        assert_eq!(apgr_to(&c, Gap::of(&c), 0.2), None);
        assert_eq!(apgr_of_tenths(&c, Gap::of(&c)), None);
        assert_eq!(cpt(&c, Gap::of(&c), 0.5), None);
    }
}
