//! A separator ends an answer: each way of decoding gives the tokens that it gives without
//! one, up to the token that completes it.

use tokenroute_core::{Continuation, Llm, Vocabulary};
use tokenroute_llm::{InProcess, Metered, ToyModel};
use tokenroute_runtime::{Pair, RoutedDecoding, Wait, decode, greedy};

use crate::lab::{
    APART, Distant, Hidden, MAX_TOKENS, at_least_one, check, lookahead, policy, prompts, requests,
    speculate, tau,
};

/// The toys' tokens as text, where "||" ends an answer: token 3 holds it alone, tokens 4 to 7
/// are halves of it.
fn separated() -> Vocabulary {
    let texts = (0..16).map(|token| match token {
        3 => "a||b".to_owned(),
        4..=7 => "|".to_owned(),
        14 | 15 => String::new(),
        other => format!("e{other}"),
    });
    ToyModel::vocabulary().with_separator("||".to_owned(), texts.collect())
}

#[test]
fn every_way_of_decoding_ends_an_answer_at_the_separator() {
    let (slm, llm) = (ToyModel::new(5), || ToyModel::following(6, &ToyModel::new(5), 0.6));
    let prompts = prompts(30);
    let (plain, separated) = (ToyModel::vocabulary(), separated());
    let mut split = 0;
    for t in [0.0, 0.4, 1.0] {
        for policy in [
            policy(t, Wait::Block),
            policy(t, speculate(3, 6)),
            lookahead(5, policy(t, speculate(2, 4))),
            policy(t, Wait::Relay { tokens: at_least_one(4) }),
        ] {
            let traces = |vocabulary| {
                let far = Distant::new(llm(), 9);
                let pair = Pair::new(&slm, &far, vocabulary);
                let decoding = RoutedDecoding {
                    calls: Some(APART),
                    batch: 3,
                    ..RoutedDecoding::new(pair, &Hidden, policy)
                };
                decoding.run(&requests(&prompts)).expect("no error stops decoding")
            };
            for ((prompt, whole), ended) in
                prompts.iter().zip(traces(&plain)).zip(traces(&separated))
            {
                check(prompt, &ended);
                let whole: Vec<_> = whole.ids().collect();
                let end = separated.closed_at(&[], &whole);
                let expected = &whole[..end.map_or(whole.len(), |end| end + 1)];
                assert_eq!(ended.ids().collect::<Vec<_>>(), expected, "τ {t}, {:?}", policy.wait);
                assert_eq!(ended.ended, end.is_some());
                let last = expected[expected.len() - 1];
                split += usize::from(end.is_some() && (4..8).contains(&last));
            }
        }
    }
    assert!(split > 20, "{split}: separators over two tokens were exercised");
}

#[test]
fn one_model_alone_generates_nothing_after_the_separator() {
    let (slm, vocabulary, prompts) = (ToyModel::new(5), separated(), prompts(30));
    let answers = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("a good model");
    let routed = {
        let llm = InProcess::new(ToyModel::new(6));
        let pair = Pair::new(&slm, &llm, &vocabulary);
        decode(pair, &Hidden, tau(0.0), &requests(&prompts), 8).expect("a good model")
    };
    for (answer, trace) in answers.iter().zip(routed) {
        assert_eq!(*answer, trace.ids().collect::<Vec<_>>());
    }
    // An LLM's continuation breaks off there, whatever it has cached.
    let metered = Metered::new(InProcess::new(ToyModel::new(5)), 8);
    for _ in 0..2 {
        for (prompt, answer) in prompts.iter().zip(&answers) {
            let mut made = Vec::new();
            while !vocabulary.closes(&made) && made.len() < MAX_TOKENS {
                let context = [&prompt[..], &made].concat();
                let tokens = MAX_TOKENS - made.len();
                let wanted =
                    Continuation { context: &context, tokens, sampling: None, resumed: true };
                let reply = metered.continuations(&[wanted], &vocabulary).remove(0);
                made.extend(
                    reply.expect("a good model").tokens.iter().map(|&t| vocabulary.canonical(t)),
                );
            }
            assert_eq!(made, *answer);
        }
    }
}
