//! Figures of small tables, worked out by hand.

use tokenroute_core::{Outcome, OutcomeTable, RouterScores};

use super::*;

/// Gap .4 to .8. In the order of the rows the share of right answers goes .4, .6, .6, .8, .6, .8,
/// so PGR goes 0, ½, ½, 1, ½, 1.
fn table(keep: &[&[f64]]) -> OutcomeTable {
    let answers = [(false, true), (true, true), (false, true), (true, false), (false, true)];
    let questions = answers
        .iter()
        .enumerate()
        .map(|(i, &(weak, strong))| Outcome {
            id: format!("q{i}"),
            weak,
            strong,
            costs: Some([1.0, 3.0]),
        })
        .collect();
    let router = |(i, keep): (usize, &&[f64])| RouterScores {
        name: format!("router {i}"),
        keep: keep.to_vec(),
    };
    OutcomeTable { questions, routers: keep.iter().enumerate().map(router).collect() }
}

fn measured(table: &OutcomeTable) -> OutcomeStudy {
    let resampling = Resampling { resamples: 200, seed: 1 };
    let settings = OutcomeSettings { cpt: &[0.5, 0.8, 1.2], offloads: &[0.4, 0.5], resampling };
    study_outcomes(table, settings).expect("numbers")
}

#[track_caller]
fn same(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-12), "{found:?}, {expected}");
}

fn value(figure: Option<Figure>) -> Option<f64> {
    figure.map(|figure| figure.value)
}

#[test]
fn the_figures_are_those_worked_out_by_hand() {
    let rising: &[f64] = &[-7.0, 0.5, 3.0, 40.0, 41.0];
    let falling: &[f64] = &[5.0, 4.0, 3.0, 2.0, 1.0];
    let study = measured(&table(&[rising, falling]));
    let [first, second] = &study.routers[..] else { panic!("two routers") };
    same(value(first.apgr), 0.2 * (0.0 + 0.5 + 0.5 + 1.0 + 0.5));
    same(value(first.apgr20), 0.0);
    same(first.apgr_of_tenths, (4.0 * 0.5 + 2.0 + 2.0 * 0.5 + 1.0) / 10.0);
    let reached: Vec<_> = first.cpt.iter().map(|cpt| cpt.offload).collect();
    assert_eq!(reached, [Some(0.2), Some(0.6), None]);
    // Two of five questions: three cheap answers and two dear ones.
    let point = first.points[0];
    assert_eq!((point.offload, point.accuracy.value, point.cost), (0.4, 0.6, Some(1.8)));
    assert_eq!(first.points[1].offload, 0.4, "a third question would exceed one half");
    // In the other order PGR goes 0, ½, 0, ½, ½, 1.
    same(value(second.apgr), 0.2 * 1.5);
    let pair = study.comparisons[0].apgr.expect("a gap");
    same(Some(pair.difference.value), 0.2);
    assert!(pair.p.is_some() && pair.holm_p >= pair.p);

    // Gains first, then the question that changes nothing, then the loss.
    same(value(study.optimal.apgr), 0.2 * (0.0 + 0.5 + 1.0 + 1.5 + 1.5));
    let reached: Vec<_> = study.optimal.cpt.iter().map(|cpt| cpt.offload).collect();
    assert_eq!(reached, [Some(0.2), Some(0.4), Some(0.6)]);
    same(value(study.random.apgr), 0.5);
    same(Some(study.random.points[0].accuracy.value), 0.4 + 0.4 * 0.4);
    same(study.random.points[0].cost, 1.0 + 0.4 * 2.0);
    assert_eq!((study.weak.value, study.strong.value), (0.4, 0.8));
}

#[test]
fn equal_scores_go_together() {
    let study = measured(&table(&[&[1.0, 1.0, 1.0, 2.0, 2.0]]));
    let router = &study.routers[0];
    same(value(router.apgr), 0.4 * 1.0);
    assert_eq!((router.points[1].offload, router.points[1].accuracy.value), (0.0, 0.4));
    assert_eq!(router.cpt[0].offload, Some(0.6));
}

#[test]
fn without_a_gap_only_accuracy_is_stated() {
    let mut table = table(&[&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 1.0, 2.0, 3.0, 4.0]]);
    table.questions.iter_mut().for_each(|question| question.strong = question.weak);
    let study = measured(&table);
    assert_eq!(study.resamples_without_gap, 200);
    for policy in study.routers.iter().chain([&study.random, &study.optimal]) {
        assert_eq!((policy.apgr, policy.apgr20, policy.apgr_of_tenths), (None, None, None));
        assert!(policy.cpt.iter().all(|cpt| cpt.offload.is_none() && cpt.interval.is_none()));
        assert_eq!(policy.points[0].accuracy.value, 0.4);
    }
    assert_eq!((study.comparisons[0].apgr, study.comparisons[0].apgr20), (None, None));
}

#[test]
fn a_router_that_equals_another_differs_by_nothing() {
    let keep: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0];
    let study = measured(&table(&[keep, keep, &[2.0, 1.0, 5.0, 4.0, 3.0]]));
    assert_eq!(study.comparisons.len(), 3);
    let twin = study.comparisons[0].apgr.expect("a gap");
    assert_eq!((twin.difference.value, twin.p, twin.holm_p), (0.0, Some(1.0), Some(1.0)));
}
