//! Curves of the policies at hand-made answers.

use tokenroute_core::{Curve, Gap};

use super::*;

fn by_chance(curve: &QuestionCurve) -> QuestionCurve {
    let found = QueryBaseline::of::<QueryRandom>().curve(7, curve, None);
    found.expect("a hash").expect("no fact")
}

fn curve(id: &str, slm: bool, llm: bool, tokens: u32) -> QuestionCurve {
    let piece = |end, correct, offloaded| Piece {
        end,
        correct,
        // The SLM's wrong answers ran on.
        cut: !correct && offloaded == 0,
        offloaded,
        generated: tokens,
        llm_positions: if offloaded > 0 { 9 + tokens } else { 0 },
    };
    // The middle piece must not matter.
    let pieces = vec![piece(0.2, slm, 0), piece(0.9, !llm, 1), piece(1.0, llm, tokens)];
    QuestionCurve { question: id.into(), pieces }
}

#[test]
fn every_question_level_curve_meets_both_models() {
    let curves: Vec<_> =
        (0..40).map(|i| curve(&format!("q{i}"), i % 3 == 0, i % 5 != 0, 10 + i)).collect();
    let mixed: Vec<_> = curves.iter().map(by_chance).collect();
    let known: Vec<_> =
        curves.iter().map(|c| oracle(&c.question, ends(c)).expect("a count")).collect();
    let exact = Gap::of(&Curve::of(&curves));
    for found in [&mixed, &known] {
        let sum = Curve::of(found);
        assert_eq!((sum.at(Tau::SLM_ONLY).cut, sum.at(Tau::LLM_ONLY).cut), (26, 0));
        assert_eq!(Gap::of(&sum), exact);
        assert_eq!(sum.at(Tau::LLM_ONLY).offload(), 1.0);
        assert_eq!(sum.at(Tau::SLM_ONLY).offloaded, 0);
    }
    // At ½ the oracle has every gain and no loss.
    let half = Curve::of(&known).at(Tau::new(0.5).expect("in range"));
    assert_eq!(half.correct, (0..40u64).filter(|i| i % 3 == 0 || i % 5 != 0).count() as u64);
}

#[test]
fn the_cheapest_gain_comes_first() {
    let score = |slm, llm, tokens| {
        let c = curve("q", slm, llm, tokens);
        oracle("q", ends(&c)).expect("a count").pieces[0].end
    };
    let order = [
        score(false, true, 10),
        score(false, true, 30),
        score(true, true, 10),
        score(true, false, 10),
    ];
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
}

#[test]
fn the_rollout_oracle_takes_the_walk_where_it_gains() {
    let walked = Walked { correct: true, cut: false, offloaded: 2, generated: 12 };
    let found = rollout_oracle(&curve("q", false, true, 10), walked).expect("a count");
    let walk = found.at(Tau::LLM_ONLY);
    assert_eq!((walk.offloaded, walk.generated, walk.correct), (2, 12, true));
    assert!(!walk.cut && found.pieces[0].cut);
    // A prompt of 10 and the 11 tokens before the last.
    assert_eq!(walk.llm_positions, 21);
    assert!(found.pieces[0].end < 0.5 && !found.pieces[0].correct);
}

#[test]
fn a_policy_reads_its_own_fact() {
    let facts = QuestionFacts {
        question: "q".into(),
        certainty: Some(0.1),
        keep: Some(0.2),
        agreement: Some(0.3),
        walked: None,
    };
    let exact = curve("q", true, false, 10);
    for (policy, score) in [
        (QueryBaseline::of::<QueryCascade>(), 0.1),
        (QueryBaseline::of::<QueryHead>(), 0.2),
        (QueryBaseline::of::<QueryAgreement>(), 0.3),
    ] {
        let found = policy.curve(0, &exact, Some(&facts)).expect("a number").expect("a fact");
        assert_eq!((found.pieces[0].end, found.pieces[1].end), (score, 1.0), "{policy:?}");
        assert!(policy.is_named());
        assert_eq!(policy.curve(0, &exact, None), Ok(None), "{policy:?}");
    }
    // The lowest score is where the router's curve leaves the SLM's answer.
    let whole = QueryBaseline::of::<HandoffWhole>();
    let found = whole.curve(0, &exact, None).expect("a number").expect("no fact");
    assert_eq!((found.pieces[0].end, found.pieces[1].end), (0.2, 1.0));
    assert!(whole.is_named() && whole.fact().is_none());
    // Files of earlier versions know no agreement.
    let earlier = r#"{"question":"q","certainty":null,"keep":0.2,"walked":null}"#;
    let facts: QuestionFacts = serde_json::from_str(earlier).expect("facts");
    assert_eq!(serde_json::to_string(&facts).expect("JSON"), earlier);
}
