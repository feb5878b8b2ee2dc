//! Costs worked out by hand.

use super::*;

fn piece(end: f64, offloaded: u32, generated: u32, llm_positions: u32) -> Piece {
    Piece { end, correct: true, cut: false, offloaded, generated, llm_positions }
}

#[test]
fn blocking_sends_the_prefix_again_with_every_call() {
    // A prompt of 10 and an answer of 4, all made by the LLM: prefixes of 10, 11, 12 and 13.
    let all = AnswerCost::blocking(10, &piece(1.0, 4, 4, 13));
    assert_eq!((all.calls, all.waits, all.offloaded, all.slm_tokens), (4.0, 4.0, 4.0, 4.0));
    assert_eq!((all.input_positions, all.cached_positions), (13.0, 33.0));
    assert_eq!(all.llm_positions, 13.0);
    assert_eq!(all.bytes_up, 4.0 * REQUEST_BYTES + 46.0 * ID_BYTES);
    assert_eq!(all.bytes_down, 4.0 * (REPLY_BYTES + ID_BYTES));
    // One token at index 2: one prefix of 12, nothing cached.
    let one = AnswerCost::blocking(10, &piece(1.0, 1, 4, 12));
    assert_eq!((one.calls, one.input_positions, one.cached_positions), (1.0, 12.0, 0.0));
    let none = AnswerCost::blocking(10, &piece(1.0, 0, 4, 0));
    assert_eq!(none, AnswerCost::slm_alone(4));
}

#[test]
fn a_streamed_answer_is_one_call_and_one_wait() {
    let cost = AnswerCost::streamed(10, 4);
    assert_eq!((cost.calls, cost.waits, cost.offloaded), (1.0, 1.0, 4.0));
    assert_eq!((cost.input_positions, cost.llm_positions, cost.llm_passes), (10.0, 13.0, 4.0));
    assert_eq!(cost.bytes_down, 4.0 * (REPLY_BYTES + ID_BYTES));
}

#[test]
fn the_prompt_is_read_off_the_curve() {
    let pieces = vec![piece(0.5, 1, 6, 12), piece(1.0, 4, 4, 13)];
    assert_eq!(prompt_tokens(&QuestionCurve { question: "q".into(), pieces }), 10);
}

#[test]
fn drafts_are_kept_up_to_the_first_difference() {
    // Draft 4: ✓✓✗ | ✓✓✓✓+1 | ✓ (the end).
    let agrees = [true, true, false, true, true, true, true, true, true];
    let cost = speculative_decoding(10, &agrees, 4);
    assert_eq!((cost.calls, cost.waits, cost.offloaded), (3.0, 3.0, 2.0));
    // 10 + 4; then the LLM's own token and 4; then its token and 1.
    assert_eq!(cost.llm_positions, 14.0 + 5.0 + 2.0);
    assert_eq!(cost.cached_positions, 12.0 + 17.0);
    assert_eq!(cost.slm_tokens, 9.0);
    // The models never agree: a call a token.
    let never = speculative_decoding(10, &[false; 3], 8);
    assert_eq!((never.calls, never.offloaded, never.llm_positions), (3.0, 3.0, 18.0 + 9.0 + 9.0));
    assert_eq!(speculative_decoding(10, &[], 4), AnswerCost::default());
}

#[test]
fn a_cascade_costs_what_speculative_decoding_does() {
    // 2 of 8 rejected, evenly: ✓✓✓✗✓✓✓✗.
    let agrees = [true, true, true, false, true, true, true, false];
    let checked = |offloaded| AnswerCost::checked(10, &piece(0.5, offloaded, 8, 17), 4);
    assert_eq!(checked(2), speculative_decoding(10, &agrees, 4));
    // Nothing is rejected, but everything is checked.
    assert_eq!(checked(0), speculative_decoding(10, &[true; 8], 4));
    assert_eq!(checked(8), speculative_decoding(10, &[false; 8], 4));
    let none = BTreeMap::new();
    assert_eq!(Decoding::of("cascade", PolicyKind::Speculative, &none), Some(Decoding::Checked));
    let none = Piece { generated: 0, offloaded: 0, ..piece(1.0, 0, 0, 0) };
    assert_eq!(AnswerCost::checked(10, &none, 4), AnswerCost::default());
}

#[test]
fn query_level_answers_cost_a_stream_and_discarded_tokens() {
    let curve = QuestionCurve {
        question: "q".into(),
        pieces: vec![piece(0.5, 0, 6, 0), piece(1.0, 4, 4, 13)],
    };
    let mean = |tau: f64, decoding| {
        let tau = Tau::new(tau).expect("in range");
        AnswerCost::mean(std::slice::from_ref(&curve), &[10], tau, decoding)
    };
    assert_eq!(mean(0.9, Decoding::Whole), AnswerCost::streamed(10, 4));
    // One token of the SLM, and the one that was handed over; then a stream of three.
    let begun = QuestionCurve { question: "q".into(), pieces: vec![piece(1.0, 3, 4, 13)] };
    let handed =
        AnswerCost::mean(std::slice::from_ref(&begun), &[10], Tau::LLM_ONLY, Decoding::Handoff);
    assert_eq!(handed, AnswerCost { slm_tokens: 2.0, ..AnswerCost::streamed(11, 3) });
    assert_eq!(mean(0.9, Decoding::AfterSlm).slm_tokens, 6.0);
    assert_eq!(mean(0.5, Decoding::AfterSlm), AnswerCost::slm_alone(6));
    // The LLM begins anew, and the SLM's one token and the next one are discarded.
    let begun = [begun];
    let whole = Decoding::BegunAnew(&begun);
    assert_eq!(mean(0.9, whole), AnswerCost { slm_tokens: 2.0, ..AnswerCost::streamed(10, 4) });
    assert_eq!(mean(0.5, whole), AnswerCost::slm_alone(6));
    let (level, none) = (PolicyKind::QueryLevel, BTreeMap::new());
    assert_eq!(Decoding::of(QueryCascade::NAME, level, &none), Some(Decoding::AfterSlm));
    assert_eq!(Decoding::of(HandoffWhole::NAME, level, &none), None, "an unknown last token");
    let handoff = BTreeMap::from([("handoff".to_owned(), begun.as_slice())]);
    assert_eq!(Decoding::of(HandoffWhole::NAME, level, &handoff), Some(whole));
    assert_eq!(Decoding::of("x", PolicyKind::Oracle, &none), None);
}

#[test]
fn money_and_time_follow_from_the_counts() {
    let cost = AnswerCost {
        offloaded: 2.0,
        waits: 2.0,
        input_positions: 100.0,
        cached_positions: 50.0,
        llm_passes: 2.0,
        slm_tokens: 20.0,
        bytes_up: 1000.0,
        bytes_down: 250.0,
        ..AnswerCost::default()
    };
    let prices = Prices { input: 3.0, cached_input: 1.0, output: 10.0, currency: "USD".into() };
    assert!((prices.money(&cost) - 370.0 / 1e6).abs() < 1e-15);
    let network = AssumedNetwork {
        round_trip_ms: 100.0,
        megabits: Some(1.0),
        slm_ms_per_token: 1.0,
        llm_ms_per_token: 5.0,
    };
    assert!((network.seconds(&cost) - (0.2 + 0.01 + 0.02 + 0.01)).abs() < 1e-12);
}
