//! The calibration τ ↔ offload, measured on the positions of the validation questions.

use tokenroute_core::{Score, Tau, TauPoint};

/// Most points of the calibration, the ends included.
const POINTS: usize = 101;

/// Quantiles of the scores: for each τ the share of scores below it. The target shares are
/// squares, (i / 100)², because routers run at low offload, which needs the most points.
/// Rising in τ from 0 to 1, without repeats.
#[must_use]
pub fn tau_points(scores: &[Score]) -> Vec<TauPoint> {
    let mut sorted: Vec<f64> = scores.iter().map(|s| s.get()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut points = vec![TauPoint { tau: Tau::SLM_ONLY, offload: 0.0 }];
    for i in 1..POINTS - 1 {
        let share = (i as f64 / (POINTS - 1) as f64).powi(2);
        let Some(&at) = sorted.get((share * sorted.len() as f64) as usize) else { continue };
        // A score is within (0, 1), so it is also a valid threshold.
        let Ok(tau) = Tau::new(at) else { continue };
        let below = sorted.partition_point(|&s| s < at);
        if points.last().is_none_or(|p| p.tau < tau) {
            points.push(TauPoint { tau, offload: below as f64 / sorted.len() as f64 });
        }
    }
    points.push(TauPoint { tau: Tau::LLM_ONLY, offload: 1.0 });
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_say_the_share_of_scores_below_tau() {
        let scores: Vec<Score> = (0..1000)
            .map(|i| Score::new((f64::from(i * 7 % 500) + 1.0) / 502.0).expect("a number"))
            .collect();
        let points = tau_points(&scores);
        assert_eq!(points[0], TauPoint { tau: Tau::SLM_ONLY, offload: 0.0 });
        assert_eq!(points[points.len() - 1], TauPoint { tau: Tau::LLM_ONLY, offload: 1.0 });
        assert!(points.windows(2).all(|w| w[0].tau < w[1].tau && w[0].offload <= w[1].offload));
        for point in &points {
            let below = scores.iter().filter(|&&s| point.tau.offloads(s)).count();
            assert_eq!(point.offload, below as f64 / 1000.0, "{}", point.tau);
        }
        assert!(points.iter().any(|p| (p.offload - 0.07).abs() < 0.01));
    }

    #[test]
    fn equal_scores_give_one_point() {
        let points = tau_points(&[Score::new(0.5).expect("a number"); 30]);
        let taus: Vec<f64> = points.iter().map(|p| p.tau.get()).collect();
        assert_eq!(taus, [0.0, 0.5, 1.0]);
        assert_eq!(points[1].offload, 0.0);
    }
}
