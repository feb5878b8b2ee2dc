//! Curves on a common grid of offload ratios, for drawing. Each value is the exact one
//! at τ(ρ). Between two grid points it stays the same; nothing is interpolated.

use tokenroute_core::{Curve, Tau};
use tokenroute_sweep::study::{BandPoint, PolicyResult};

/// The state of a policy at an offload budget ρ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridPoint {
    /// The budget.
    pub rho: f64,
    /// τ(ρ), see [`Curve::tau_at_offload`].
    pub tau: Tau,
    /// Offload ratio at τ(ρ), at most ρ.
    pub offload: f64,
    /// Accuracy at τ(ρ).
    pub accuracy: f64,
    /// Share of cut answers at τ(ρ).
    pub cut: f64,
    /// 95% interval of the accuracy, where the policy has a band.
    pub interval: Option<[f64; 2]>,
}

/// The budgets: steps of 0.1% up to 20%, then of 0.4%.
#[must_use]
pub fn budgets() -> Vec<f64> {
    let fine = (0..200u32).map(|i| f64::from(i) / 1000.0);
    let coarse = (50..=250u32).map(|i| f64::from(i) / 250.0);
    fine.chain(coarse).collect()
}

/// The policy at every budget of [`budgets`].
#[must_use]
pub fn on_grid(policy: &PolicyResult) -> Vec<GridPoint> {
    let held = held_pieces(&policy.curve);
    budgets()
        .into_iter()
        .map(|rho| {
            let i = held.partition_point(|h| h.0 <= rho);
            let interval = interval_at(&policy.band, rho);
            let (tau, point) = match i.checked_sub(1).map(|i| held[i].1) {
                Some(at) => {
                    let point = policy.curve.points[at];
                    (Tau::new(point.end).unwrap_or(Tau::LLM_ONLY), point)
                }
                // Even τ = 0 offloads more than this budget: the first point stands in.
                None => (Tau::SLM_ONLY, policy.curve.at(Tau::SLM_ONLY)),
            };
            let (offload, accuracy) = (point.offload(), policy.curve.accuracy(&point));
            let cut = policy.curve.cut_share(&point);
            GridPoint { rho, tau, offload, accuracy, cut, interval }
        })
        .collect()
}

/// For each run of pieces under a running maximum of offload: the maximum, and the
/// index of the last piece. The piece holds from that ρ on.
fn held_pieces(curve: &Curve) -> Vec<(f64, usize)> {
    let mut held: Vec<(f64, usize)> = Vec::new();
    for (i, point) in curve.points.iter().enumerate() {
        let offload = point.offload();
        match held.last_mut() {
            Some(last) if offload <= last.0 => last.1 = i,
            _ => held.push((offload, i)),
        }
    }
    held
}

/// The band's interval at ρ, linear between its points; `None` outside them.
fn interval_at(band: &[BandPoint], rho: f64) -> Option<[f64; 2]> {
    let i = band.partition_point(|b| b.offload <= rho);
    let left = &band[i.checked_sub(1)?];
    let Some(right) = band.get(i) else {
        return (rho - left.offload < 1e-9).then_some([left.lower, left.upper]);
    };
    let t = (rho - left.offload) / (right.offload - left.offload);
    Some([left.lower + t * (right.lower - left.lower), left.upper + t * (right.upper - left.upper)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_grid_value_is_the_exact_one_at_tau_of_rho() {
        for policy in &sample::report().test.policies {
            for point in on_grid(policy) {
                assert_eq!(point.tau, policy.curve.tau_at_offload(point.rho), "{}", policy.name);
                let exact = policy.curve.at(point.tau);
                assert_eq!(point.accuracy, policy.curve.accuracy(&exact));
                assert!(point.offload <= point.rho);
            }
        }
    }

    #[test]
    fn budgets_rise_from_0_to_1_in_about_400_steps() {
        let budgets = budgets();
        assert!(budgets.is_sorted_by(|a, b| a < b));
        assert_eq!((budgets[0], budgets[budgets.len() - 1]), (0.0, 1.0));
        assert!((300..=401).contains(&budgets.len()), "{}", budgets.len());
    }

    #[test]
    fn the_band_is_unknown_outside_its_points() {
        let band = [
            BandPoint { offload: 0.0, lower: 0.2, upper: 0.4 },
            BandPoint { offload: 0.5, lower: 0.4, upper: 0.8 },
        ];
        let near = interval_at(&band, 0.25).expect("inside");
        assert!((near[0] - 0.3).abs() < 1e-12 && (near[1] - 0.6).abs() < 1e-12);
        assert_eq!(interval_at(&band, 0.5), Some([0.4, 0.8]));
        assert_eq!(interval_at(&band, 0.6), None);
        assert_eq!(interval_at(&[], 0.0), None);
    }
}
