//! Handoff of whole answers: its curve and its price against decoding at one τ after another.

use tokenroute_core::{Handoff, QuestionCurve, Silent};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Pair, Policy, RoutedDecoding, Wait};
use tokenroute_sweep::answer_cost::{AnswerCost, Decoding};
use tokenroute_sweep::query::{HandoffWhole, QueryBaseline};
use tokenroute_sweep::{SweptQuestion, sweep};

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
            let begun = sweep(pair, &handoff, &requests, &grade, &KEEP, &Silent);
            let begun = begun.expect("no errors");
            let curve = |question: &SweptQuestion| {
                policy.curve(0, &question.curve, None).expect("a score").expect("a curve")
            };
            let curves: Vec<QuestionCurve> = swept.iter().map(curve).collect();
            let values = match coarse {
                true => [0.0, 0.25, 0.5, 0.75, 1.0]
                    .map(|t| tokenroute_core::Tau::new(t).expect("in range"))
                    .to_vec(),
                false => taus(&swept, seed),
            };
            for tau in values {
                let decoding = Policy { wait: Wait::Whole, ..Policy::new(tau) };
                let traces = RoutedDecoding::new(pair, &handoff, decoding).run(&requests);
                for (i, trace) in traces.expect("traces").into_iter().enumerate() {
                    let piece = curves[i].at(tau);
                    let tokens: Vec<_> = trace.ids().collect();
                    assert_eq!(piece.offloaded as usize, trace.offloaded(), "{seed} {i} {tau}");
                    assert_eq!(piece.generated as usize, tokens.len(), "{seed} {i} {tau}");
                    assert_eq!(piece.correct, grade(i, &tokens), "{seed} {i} {tau}");
                    assert_eq!(piece.cut, !trace.ended, "{seed} {i} {tau}");
                    let curve = std::slice::from_ref(&begun[i].curve);
                    let prompt = prompts[i].1.len() as u32;
                    let (question, decoding) = (curves[i].clone(), Decoding::BegunAnew(curve));
                    let price = AnswerCost::mean(&[question], &[prompt], tau, decoding);
                    match trace.offloaded() {
                        0 => {
                            kept += 1;
                            assert_eq!(price, AnswerCost::slm_alone(tokens.len() as u32));
                        }
                        all => {
                            assert_eq!(all, tokens.len());
                            handed += 1;
                            // The SLM stops at the first token below τ, which it made too.
                            assert_eq!(price.slm_tokens, trace.discarded as f64 + 1.0, "{i} {tau}");
                            assert_eq!(
                                price.llm_positions, trace.llm_positions as f64,
                                "{i} {tau}"
                            );
                            assert_eq!(price.calls, 1.0);
                        }
                    }
                }
            }
        }
    }
    assert!(kept > 50 && handed > 50, "{kept} kept, {handed} handed over");
}
