//! Handoff of whole answers: its curve against decoding at one τ after another.

use tokenroute_core::{Handoff, Silent};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Pair, Policy, RoutedDecoding, Wait};
use tokenroute_sweep::query::{HandoffWhole, QueryBaseline};
use tokenroute_sweep::sweep;

use crate::{Coarse, Hidden, KEEP, grade, prompts, requests, taus};

#[test]
fn a_curve_of_whole_answers_follows_from_the_router_s() {
    let vocabulary = ToyModel::vocabulary();
    let policy = QueryBaseline::of::<HandoffWhole>();
    let (mut kept, mut handed) = (0, 0);
    for seed in 0..6 {
        let slm = ToyModel::new(seed);
        let llm = InProcess::new(ToyModel::following(seed + 1000, &slm, 0.6));
        let prompts = prompts(8);
        let requests = requests(&prompts);
        let pair = Pair::new(&slm, &llm, &vocabulary);
        for coarse in [false, true] {
            let swept = match coarse {
                true => sweep(pair, &Coarse, &requests, &grade, &KEEP, &Silent),
                false => sweep(pair, &Hidden, &requests, &grade, &KEEP, &Silent),
            };
            let swept = swept.expect("no errors");
            let handoff = match coarse {
                true => Handoff::by(Box::new(Coarse)),
                false => Handoff::by(Box::new(Hidden)),
            };
            let values = match coarse {
                true => [0.0, 0.25, 0.5, 0.75, 1.0]
                    .map(|t| tokenroute_core::Tau::new(t).expect("in range"))
                    .to_vec(),
                false => taus(&swept, seed),
            };
            for tau in values {
                let decoding = Policy { wait: Wait::Whole, ..Policy::new(tau) };
                let traces = RoutedDecoding::new(pair, &handoff, decoding).run(&requests);
                for (i, (question, trace)) in swept.iter().zip(traces.expect("traces")).enumerate()
                {
                    let curve = policy.curve(0, &question.curve, None).expect("a score");
                    let piece = curve.expect("a curve").at(tau);
                    let tokens: Vec<_> = trace.ids().collect();
                    assert_eq!(piece.offloaded as usize, trace.offloaded(), "{seed} {i} {tau}");
                    assert_eq!(piece.generated as usize, tokens.len(), "{seed} {i} {tau}");
                    assert_eq!(piece.correct, grade(i, &tokens), "{seed} {i} {tau}");
                    assert_eq!(piece.cut, !trace.ended, "{seed} {i} {tau}");
                    match trace.offloaded() {
                        0 => kept += 1,
                        all => {
                            assert_eq!(all, tokens.len());
                            handed += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(kept > 50 && handed > 50, "{kept} kept, {handed} handed over");
}
