//! Figures of hand-made curves.

use tokenroute_core::{Piece, Sweepable};

use super::*;
use crate::bootstrap::Bootstrap;

/// Questions of ten tokens that the SLM gets wrong and the LLM right from
/// `needed` offloaded tokens on; easy ones are always right.
fn questions(count: usize, easy: usize, needed: u32) -> Vec<QuestionCurve> {
    (0..count)
        .map(|i| QuestionCurve {
            question: format!("q{i}"),
            pieces: (0..=10)
                .map(|offloaded| Piece {
                    end: 0.05 + 0.095 * f64::from(offloaded),
                    correct: i < easy || offloaded >= needed,
                    cut: false,
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

fn curves<'a>(name: &'a str, kind: PolicyKind, questions: &'a [QuestionCurve]) -> SweptPolicy<'a> {
    SweptPolicy { name, kind, seed: None, calibration: questions, test: questions }
}

const SPLITS: Splits<'_> = Splits { calibration: "validation", test: "test" };
const FEW: Resampling = Resampling { resamples: 200, seed: 3 };

#[test]
fn figures_of_a_hand_made_pair() {
    let (sharp, blunt) = (questions(100, 40, 1), questions(100, 40, 6));
    let policies = [
        curves("router", PolicyKind::Router, &sharp),
        curves("random", PolicyKind::TrainingFree, &blunt),
    ];
    let split = study(SPLITS, &policies, FEW).expect("two policies");
    assert_eq!((split.gap.slm, split.gap.llm), (0.4, 1.0));
    // A bootstrap of a hundred right answers gives nothing but right answers.
    let exact = clopper_pearson(100, 100, 0.95);
    assert!(exact[0] > 0.96 && exact[0] < 0.97);
    assert_eq!(split.llm_interval, Some(exact));
    let [low, high] = split.slm_interval.expect("an interval");
    assert!(low < 0.4 && high > 0.4 && low > 0.25 && high < 0.55, "{low} {high}");

    let router = split.router().expect("the first");
    // At 7% nothing may be offloaded, at 10% one token in ten.
    let (at7, at10) = (router.points[3], router.points[4]);
    assert_eq!((at7.target, at7.offload, at7.accuracy), (0.07, 0.0, 0.4));
    assert_eq!((at10.offload, at10.accuracy, at10.pgr), (0.1, 1.0, Some(1.0)));
    assert_eq!((at10.offloaded_per_question, at10.llm_positions_per_question), (1.0, 7.0));
    assert!((at10.mean_offload - 0.1).abs() < 1e-9);
    assert_eq!(at10.interval, exact);
    assert!((router.apgr.expect("a gap") - 0.9).abs() < 1e-9);
    // Half of the small budgets recover everything.
    assert!((router.apgr20.expect("a gap") - 0.5).abs() < 1e-9);
    assert_eq!((router.cpt50, router.cpt80), (Some(0.1), Some(0.1)));
    assert_eq!((router.cpt50_interval, router.cpt80_interval), (Some([0.1; 2]), Some([0.1; 2])));

    let random = &split.policies[1];
    assert!((random.apgr.expect("a gap") - 0.4).abs() < 1e-9);
    let advantage = random.router_advantage.expect("both have an APGR");
    assert!((advantage.value - 0.5).abs() < 1e-9);
    assert!(advantage.interval.iter().all(|x| (x - 0.5).abs() < 1e-9), "{advantage:?}");
    assert_eq!((router.router_advantage, router.router_advantage20), (None, None));
    let small = random.router_advantage20.expect("both have an APGR");
    assert!((small.difference.value - 0.5).abs() < 1e-9 && small.detectable < 1e-9);
    assert_eq!((small.p, small.holm_p), (Some(1.0 / 201.0), Some(1.0 / 201.0)));

    let band = &router.band;
    assert_eq!((band[0].offload, band[band.len() - 1].offload), (0.0, 1.0));
    assert!(band.is_sorted_by(|a, b| a.offload < b.offload));
    assert_eq!([band[0].lower, band[0].upper], [low, high]);
    assert_eq!(band[band.len() - 1].lower, 1.0);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let again = one_thread.install(|| study(SPLITS, &policies, FEW));
    assert_eq!(again, Ok(split), "seeded, whatever the number of threads");
}

/// Questions whose answers and scores are drawn from a seed.
fn drawn(count: usize, seed: u64, skill: u32) -> Vec<QuestionCurve> {
    let unit = |what: &str, q: usize| tokenroute_core::unit_hash(seed, what, q);
    (0..count)
        .map(|q| {
            let easy = unit("slm", q) < 0.4;
            let hopeless = !easy && unit("llm", q) > 0.9;
            let needed = 1 + (unit("needed", q) * f64::from(skill)) as u32;
            let length = 8 + (unit("length", q) * 5.0) as u32;
            let mut ends: Vec<_> = (0..length as usize)
                .map(|t| tokenroute_core::unit_hash(seed, &format!("end{q}"), t))
                .collect();
            ends.sort_by(|a, b| a.total_cmp(b));
            ends.push(1.0);
            let pieces = ends.into_iter().zip(0..).map(|(end, offloaded)| Piece {
                end,
                correct: easy || (offloaded >= needed.min(length) && !hopeless),
                cut: false,
                offloaded,
                generated: length,
                llm_positions: 0,
            });
            QuestionCurve { question: format!("q{q}"), pieces: pieces.collect() }
        })
        .collect()
}

#[test]
fn one_pass_over_a_resample_gives_the_figures_of_its_curve() {
    let (calibration, test) = (drawn(30, 5, 4), drawn(50, 6, 4));
    let policy = SweptPolicy {
        calibration: &calibration,
        test: &test,
        ..curves("router", PolicyKind::Router, &[])
    };
    // One resample: every interval is the figure itself.
    let one = Resampling { resamples: 1, seed: 9 };
    let weights = |n, stream| Bootstrap::on_stream(n, 1, 9, stream).weights()[0].clone();
    let chosen_on = Sweepable::new(&calibration).curve(&weights(30, 1));
    let curve = Sweepable::new(&test).curve(&weights(50, 0));
    let gap = Gap::of(&curve);
    let same =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let split = study(SPLITS, &[policy], one).expect("a router");
    let found = &split.policies[0];
    same(split.slm_interval.expect("one resample")[0], gap.slm);
    same(split.llm_interval.expect("one resample")[1], gap.llm);
    for (point, target) in found.points.iter().zip(TARGETS) {
        let at = curve.at(chosen_on.tau_at_offload(target));
        same(point.interval[0], curve.accuracy(&at));
    }
    for point in &found.band {
        let at = curve.at(curve.tau_at_offload(point.offload));
        same(point.lower, curve.accuracy(&at));
    }
    same(found.apgr_interval.expect("a gap")[0], apgr(&curve, gap).expect("a gap"));
    same(found.apgr20_interval.expect("a gap")[0], apgr_to(&curve, gap, 0.2).expect("a gap"));
    same(found.cpt50_interval.expect("a gap")[0], cpt(&curve, gap, 0.5).expect("a gap"));
    same(found.cpt80_interval.expect("a gap")[0], cpt(&curve, gap, 0.8).expect("a gap"));
}

#[test]
fn a_policy_that_is_the_router_differs_by_nothing() {
    let (calibration, test) = (drawn(40, 1, 3), drawn(60, 2, 3));
    let policy =
        |name, kind| SweptPolicy { name, kind, seed: None, calibration: &calibration, test: &test };
    let policies = [
        policy("router", PolicyKind::Router),
        policy("margin", PolicyKind::TrainingFree),
        policy("entropy", PolicyKind::TrainingFree),
        policy("lookup-tokens", PolicyKind::Lookup),
        SweptPolicy { seed: Some(2), ..policy("router, seed 2", PolicyKind::Router) },
    ];
    let split = study(SPLITS, &policies, FEW).expect("five policies");
    for twin in &split.policies[1..3] {
        assert_eq!(twin.router_advantage, Some(Difference { value: 0.0, interval: [0.0; 2] }));
        let small = twin.router_advantage20.expect("a gap");
        assert_eq!((small.difference.value, small.standard_error), (0.0, 0.0));
        assert_eq!((small.p, small.holm_p), (Some(1.0), Some(1.0)));
        assert_eq!(twin.points, split.policies[0].points);
    }
    let lookup = split.policies[3].router_advantage20.expect("a gap");
    assert_eq!((lookup.p, lookup.holm_p), (None, None), "not in the family");
    let seeds: Vec<_> = split.routers().map(|r| r.seed).collect();
    assert_eq!(seeds, [None, Some(2)]);
    assert_eq!(split.policies[4].router_advantage20, None, "routers are not compared");
    assert_eq!((split.calibration_questions, split.resamples), (40, 200));
}

#[test]
fn a_better_router_is_told_from_chance_and_noise_is_not() {
    let (calibration, test) = (drawn(100, 1, 3), drawn(200, 2, 3));
    let worse = [drawn(100, 1, 9), drawn(200, 2, 9)];
    let policies = [
        SweptPolicy {
            calibration: &calibration,
            test: &test,
            ..curves("router", PolicyKind::Router, &[])
        },
        SweptPolicy {
            calibration: &worse[0],
            test: &worse[1],
            ..curves("random", PolicyKind::TrainingFree, &[])
        },
    ];
    let split = study(SPLITS, &policies, Resampling { resamples: 999, seed: 1 }).expect("two");
    let small = split.policies[1].router_advantage20.expect("a gap");
    assert!(small.difference.interval[0] > 0.0 && small.p == Some(0.001), "{small:?}");
    // The detectable difference is 2.8 standard errors, the half interval 1.96.
    let [low, high] = small.difference.interval;
    let ratio = small.detectable / ((high - low) / 2.0);
    assert!((ratio - 2.8 / 1.96).abs() < 0.1, "{ratio}");
}

#[test]
fn resamples_of_the_two_sets_of_questions_do_not_move_together() {
    // The same questions in the same order on both sides. With one set of weights for both,
    // each resample's τ would fit it and a target of 10% be met in all of them.
    let questions = drawn(80, 4, 3);
    let many = Resampling { resamples: 2000, seed: 5 };
    let met = offload_met(&questions, &questions, 0.1, many).expect("questions");
    assert!(met > 0.35 && met < 0.65, "{met}");
    assert_eq!(offload_met(&questions, &questions, 1.0, many), Some(1.0));
    assert_eq!(offload_met(&[], &questions, 0.1, many), None);
}

#[test]
fn no_gap_no_apgr() {
    let same = questions(10, 10, 1);
    let split =
        study(SPLITS, &[curves("router", PolicyKind::Router, &same)], FEW).expect("one policy");
    let router = &split.policies[0];
    assert_eq!((router.apgr, router.apgr_interval, router.cpt50), (None, None, None));
    assert_eq!((router.apgr20, router.apgr20_interval), (None, None));
    assert_eq!(split.resamples_without_gap, 200);
    assert_eq!(router.points[0].pgr, None);
}

#[test]
fn policies_must_fit_together() {
    let (ten, nine) = (questions(10, 4, 1), questions(9, 4, 1));
    let router = curves("router", PolicyKind::Router, &ten);
    let margin = |q| curves("margin", PolicyKind::TrainingFree, q);
    assert_eq!(
        study(SPLITS, &[margin(&ten)], FEW),
        Err(StudyError::NoRouter { got: "margin".into() })
    );
    assert_eq!(
        study(SPLITS, &[router, margin(&nine)], FEW),
        Err(StudyError::OtherQuestions {
            policy: "margin".into(),
            split: "validation".into(),
            at: 9
        })
    );
    assert!(matches!(study(SPLITS, &[router, margin(&[])], FEW), Err(StudyError::Empty { .. })));
}

#[test]
fn a_router_is_the_mean_of_its_seeds_and_is_compared_with_the_first() {
    let (sharp, blunt) = (questions(100, 40, 1), questions(100, 40, 6));
    fn of(questions: &[QuestionCurve]) -> SweptPolicy<'_> {
        curves("router", PolicyKind::Router, questions)
    }
    let routers = [
        SweptRouter { name: "first", seeds: vec![of(&sharp)], tested: true },
        SweptRouter { name: "two seeds", seeds: vec![of(&sharp), of(&blunt)], tested: true },
        SweptRouter { name: "blunt", seeds: vec![of(&blunt)], tested: true },
        SweptRouter { name: "a share", seeds: vec![of(&blunt)], tested: false },
    ];
    let found = compare_routers(SPLITS, &routers, FEW).expect("routers");
    let apgr: Vec<f64> = found.routers.iter().filter_map(|router| router.apgr).collect();
    for (found, expected) in apgr.iter().zip([0.9, 0.65, 0.4, 0.4]) {
        assert!((found - expected).abs() < 1e-9, "{apgr:?}");
    }
    let [first, mean, blunt_router, share] = &found.routers[..] else { panic!("four routers") };
    // At 10% the first seed is right everywhere, and the second where the SLM is.
    assert!((mean.points[4].accuracy - 0.7).abs() < 1e-9, "{:?}", mean.points[4]);
    assert_eq!(mean.seeds.len(), 2);
    assert_eq!((first.difference20, first.difference), (None, None));
    let small = |router: &ComparedRouter| router.difference20.expect("both have an APGR");
    assert!((small(mean).difference.value + 0.25).abs() < 1e-9);
    assert_eq!(small(mean).holm_p, Some(2.0 / 201.0), "a family of two tests");
    assert_eq!((small(share).p, small(share).holm_p), (None, None));

    // The difference is the one that a report states, with the other sign.
    let policies = [of(&sharp), curves("blunt", PolicyKind::TrainingFree, &blunt)];
    let report = study(SPLITS, &policies, FEW).expect("two policies");
    let stated = report.policies[1].router_advantage20.expect("both have an APGR");
    assert!((stated.difference.value + small(blunt_router).difference.value).abs() < 1e-12);
    assert_eq!(stated.p, small(blunt_router).p);
    assert_eq!((found.gap, found.slm_interval), (report.gap, report.slm_interval));

    let none = SweptRouter { name: "none", seeds: Vec::new(), tested: true };
    let error = compare_routers(SPLITS, &[none], FEW).expect_err("no seed");
    assert!(error.to_string().contains("\"none\""), "{error}");
}
