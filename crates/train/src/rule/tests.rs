//! Targets of the rules at hand-made rows.

use tokenroute_core::{Relation, soft_target};

use super::*;

/// A judged row with these grades, or one without a rollout.
fn row(grades: Option<[f32; 2]>, position: u32) -> LabelRow {
    let [keep_grade, offload_grade] = grades.unwrap_or([f32::NAN; 2]);
    LabelRow {
        question: "q".into(),
        split: "router-train".into(),
        round: 0,
        position,
        prefix_hash: 0,
        previous: 1,
        slm_token: 2,
        llm_token: 3,
        llm_probability: None,
        top: vec![(2, 0.6), (3, 0.3)],
        entropy: 0.5,
        sentence_entropy: 0.5,
        hidden: vec![0.0],
        relation: grades
            .map_or(Relation::Unjudged, |[keep, offload]| Relation::from_grades(keep, offload)),
        keep_grade,
        offload_grade,
        target: grades.map_or(0.5, |[keep, offload]| soft_target(keep, offload)),
        weight: if grades.is_some() { 3.0 } else { 0.0 },
        rollouts: 1,
    }
}

fn identical() -> LabelRow {
    LabelRow { llm_token: 2, relation: Relation::Identical, ..row(Some([1.0, 1.0]), 4) }
}

fn check(rule: &dyn LabelRule, row: &LabelRow, [keep, weight, gain]: [f32; 3]) {
    let found = rule.target(row);
    let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert!(
        near(found.keep, keep) && near(found.weight, weight) && near(found.gain, gain),
        "{rule:?}: {found:?} of {row:?}"
    );
}

#[test]
fn each_rule_has_targets_of_its_own() {
    let (lost, won) = (row(Some([0.25, 0.75]), 0), row(Some([1.0, 0.0]), 0));
    let wrong = row(Some([0.0, 0.0]), 0);
    check(&SoftPreference {}, &lost, [0.5, 3.0, -0.5]);
    check(&SoftPreference {}, &won, [1.0, 3.0, 1.0]);
    check(&SoftPreference {}, &identical(), [1.0, 3.0, 0.0]);
    check(&Agreement {}, &lost, [0.5, 3.0, -0.5]);
    check(&Agreement {}, &won, [0.0, 3.0, -1.0]);
    check(&Agreement {}, &wrong, [1.0, 3.0, 0.0]);
    for different in [&lost, &won, &wrong, &row(None, 0)] {
        check(&Difference {}, different, [0.0, 1.0, -1.0]);
    }
    check(&Difference {}, &identical(), [1.0, 1.0, 0.0]);
}

#[test]
fn a_cost_keeps_what_gains_too_little() {
    let rule = |lambda, per_position| CostAware { lambda, per_position };
    let lost = |position| row(Some([0.25, 0.75]), position);
    check(&rule(0.4, 0.0), &lost(9), [0.0, 3.0, -0.1]);
    check(&rule(0.5, 0.0), &lost(9), [1.0, 3.0, 0.0]);
    // The tenth token costs 1.9 as much as the first.
    check(&rule(0.3, 0.1), &lost(0), [0.0, 3.0, -0.2]);
    check(&rule(0.3, 0.1), &lost(9), [1.0, 3.0, 0.07]);
    check(&rule(0.3, 0.1), &identical(), [1.0, 3.0, 0.42]);
}

#[test]
fn rounding_decides_no_tie() {
    // Grades of 5 samples differ by a fifth, which no binary number is.
    let fifths = |count: u8| f32::from(count) / 5.0;
    for (keep, offload, lambda) in [(2, 3, 0.2), (3, 4, 0.2), (0, 1, 0.2), (1, 4, 0.6), (0, 3, 0.6)]
    {
        let row = row(Some([fifths(keep), fifths(offload)]), 0);
        let rule = |lambda| CostAware { lambda, per_position: 0.0 };
        let found = rule(lambda).target(&row);
        assert_eq!((found.keep, found.gain), (1.0, 0.0), "{keep} {offload} {lambda}");
        assert_eq!(rule(lambda - 1e-4).target(&row).keep, 0.0, "less than it gains");
        assert_eq!(rule(lambda + 1e-4).target(&row).keep, 1.0, "more than it gains");
    }
}

#[test]
fn a_gold_token_without_grades_has_its_target() {
    let gold = LabelRow { target: 0.0, weight: 1.0, ..row(None, 0) };
    check(&SoftPreference {}, &gold, [0.0, 1.0, -1.0]);
    check(&Agreement {}, &gold, [0.0, 1.0, -1.0]);
    check(&CostAware { lambda: 0.2, per_position: 0.0 }, &gold, [0.0, 1.0, -0.8]);
}
