//! Figures of hand-made curves.

use tokenroute_core::Piece;

use super::*;

/// Questions of ten tokens that the SLM gets wrong and the LLM right from
/// `needed` offloaded tokens on; easy ones are always right.
fn questions(count: usize, easy: usize, needed: u32) -> Vec<QuestionCurve> {
    (0..count)
        .map(|i| QuestionCurve {
            question: format!("q{i}"),
            pieces: (0..=10)
                .map(|offloaded| Piece {
                    end: 0.05 + 0.095 * offloaded as f32,
                    correct: i < easy || offloaded >= needed,
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
    SweptPolicy { name, kind, validation: questions, test: questions }
}

const FEW: Resampling = Resampling { resamples: 200, seed: 3 };

#[test]
fn figures_of_a_hand_made_pair() {
    let (sharp, blunt) = (questions(100, 40, 1), questions(100, 40, 6));
    let policies = [
        curves("router", PolicyKind::Router, &sharp),
        curves("random", PolicyKind::TrainingFree, &blunt),
    ];
    let split = study("test", &policies, FEW).expect("two policies");
    assert_eq!((split.gap.slm, split.gap.llm), (0.4, 1.0));
    assert_eq!(split.llm_interval, Some([1.0, 1.0]));
    let [low, high] = split.slm_interval.expect("an interval");
    assert!(low < 0.4 && high > 0.4 && low > 0.25 && high < 0.55, "{low} {high}");

    let router = split.router().expect("the first");
    // At 7% nothing may be offloaded, at 10% one token in ten.
    let (at7, at10) = (router.points[3], router.points[4]);
    assert_eq!((at7.target, at7.offload, at7.accuracy), (0.07, 0.0, 0.4));
    assert_eq!((at10.offload, at10.accuracy, at10.pgr), (0.1, 1.0, Some(1.0)));
    assert_eq!((at10.offloaded_per_question, at10.llm_positions_per_question), (1.0, 7.0));
    assert!((at10.mean_offload - 0.1).abs() < 1e-9);
    assert_eq!(at10.interval, [1.0, 1.0]);
    assert!((router.apgr.expect("a gap") - 0.9).abs() < 1e-9);
    assert_eq!((router.cpt50, router.cpt80), (Some(0.1), Some(0.1)));

    let random = &split.policies[1];
    assert!((random.apgr.expect("a gap") - 0.4).abs() < 1e-9);
    let advantage = random.router_advantage.expect("both have an APGR");
    assert!((advantage.value - 0.5).abs() < 1e-9);
    assert!(advantage.interval.iter().all(|x| (x - 0.5).abs() < 1e-9), "{advantage:?}");
    assert_eq!(router.router_advantage, None);

    let band = &router.band;
    assert_eq!((band[0].offload, band[band.len() - 1].offload), (0.0, 1.0));
    assert!(band.is_sorted_by(|a, b| a.offload < b.offload));
    assert_eq!([band[0].lower, band[0].upper], [low, high]);
    assert_eq!(band[band.len() - 1].lower, 1.0);
    assert_eq!(study("test", &policies, FEW), Ok(split), "seeded");
}

#[test]
fn no_gap_no_apgr() {
    let same = questions(10, 10, 1);
    let split =
        study("test", &[curves("router", PolicyKind::Router, &same)], FEW).expect("one policy");
    let router = &split.policies[0];
    assert_eq!((router.apgr, router.apgr_interval, router.cpt50), (None, None, None));
    assert_eq!(router.points[0].pgr, None);
}

#[test]
fn policies_must_fit_together() {
    let (ten, nine) = (questions(10, 4, 1), questions(9, 4, 1));
    let router = curves("router", PolicyKind::Router, &ten);
    let margin = |q| curves("margin", PolicyKind::TrainingFree, q);
    assert_eq!(
        study("test", &[margin(&ten)], FEW),
        Err(StudyError::NoRouter { got: "margin".into() })
    );
    assert_eq!(
        study("test", &[router, margin(&nine)], FEW),
        Err(StudyError::OtherQuestions { policy: "margin".into(), split: "validation", at: 9 })
    );
    assert!(matches!(study("test", &[router, margin(&[])], FEW), Err(StudyError::Empty { .. })));
}
