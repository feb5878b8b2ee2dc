//! The answers and the positions of the LLM in process.

use tokenroute_core::{
    Ask, Continuation, Detail, Feed, LanguageModel, Llm, LlmError, ModelError, Reply, Sampling,
    TokenId,
};
use tokenroute_llm::{InProcess, Scripted, ToyModel, table};

const PROMPT: [TokenId; 4] = [1, 2, 3, 4];

fn with(prompt: &[TokenId], rest: &[TokenId]) -> Vec<TokenId> {
    [prompt, rest].concat()
}

fn ask(llm: &impl Llm, context: &[TokenId], from: usize) -> (Vec<TokenId>, u64) {
    let mut replies = llm.ask(&[Ask::greedy(context, from)]);
    let reply = replies.remove(0).expect("a good ask");
    (reply.tokens, reply.positions)
}

/// The model's token without a cache.
fn plain(model: &ToyModel, context: &[TokenId], from: usize) -> Vec<TokenId> {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: context, from: from - 1 }];
    let steps = model.advance(&mut feeds, Detail::Token).expect("a good feed");
    steps[0].iter().map(|s| s.token).collect()
}

#[test]
fn only_new_positions_are_paid_for() {
    let llm = InProcess::new(ToyModel::new(1));
    for (rest, from, positions) in [
        (&[5, 6, 7][..], 4, 7),       // everything is new
        (&[5, 6, 7], 4, 0),           // nothing is
        (&[5, 6], 5, 0),              // inside what is known
        (&[5, 6, 7, 8, 9], 4, 2),     // an extension
        (&[5, 6, 2, 2], 4, 2),        // a fork
        (&[5, 6, 2, 2], 8, 0),        // its end alone
        (&[5, 6, 7, 8, 9, 1], 10, 1), // back on the first way
    ] {
        let context = with(&PROMPT, rest);
        let (tokens, paid) = ask(&llm, &context, from);
        assert_eq!(tokens, plain(&ToyModel::new(1), &context, from), "{rest:?} from {from}");
        assert_eq!(paid, positions, "{rest:?} from {from}");
    }
    assert_eq!(llm.model().processed(), 12, "and the model did no more");
}

#[test]
fn an_unanswered_end_of_a_known_prefix_costs_one_position() {
    let llm = InProcess::new(ToyModel::new(1));
    let context = with(&PROMPT, &[5, 6, 7]);
    ask(&llm, &PROMPT, 4);
    ask(&llm, &context, 7);
    // Positions 4..6 were processed, but their answers were not requested.
    let (tokens, paid) = ask(&llm, &context[..5], 5);
    assert_eq!((tokens, paid), (plain(&ToyModel::new(1), &context[..5], 5), 1));
}

#[test]
fn probabilities_come_where_they_are_wanted() {
    let llm = InProcess::new(ToyModel::new(1).listing(6));
    let context = with(&PROMPT, &[5, 6, 7]);
    let bare = llm.ask(&[Ask::greedy(&context, 4)]).remove(0).expect("a good ask");
    assert!(bare.top.is_empty());
    let wanting = |top| llm.ask(&[Ask::greedy(&context, 4).with_top(top)]).remove(0);
    let listed = wanting(5).expect("a good ask");
    assert_eq!(listed.tokens, bare.tokens);
    assert_eq!(listed.positions, 4, "an answer without probabilities is asked again");
    let mut state = llm.model().start();
    let mut feeds = [Feed { state: &mut state, tokens: &context, from: 3 }];
    let steps = llm.model().advance(&mut feeds, Detail::Full).expect("a good feed").remove(0);
    assert_eq!(listed.top.len(), 4);
    for (top, step) in listed.top.iter().zip(&steps) {
        assert_eq!(&top[..], &step.top[..5]);
    }
    // What is known costs nothing: as many, fewer, and none.
    assert_eq!(wanting(5).expect("a good ask"), Reply { positions: 0, ..listed.clone() });
    let fewer = wanting(2).expect("a good ask");
    assert_eq!((fewer.positions, &fewer.top[0][..]), (0, &listed.top[0][..2]));
    assert_eq!(ask(&llm, &context, 4), (bare.tokens, 0));
    assert_eq!(wanting(6).expect("a good ask").positions, 4);
    let error = wanting(7).expect_err("more than it lists").to_string();
    assert!(error.contains("7 probabilities") && error.contains("lists 6"), "{error}");
}

#[test]
fn one_call_pays_once_for_what_its_asks_share() {
    let llm = InProcess::new(ToyModel::new(2));
    let (long, fork) = (with(&PROMPT, &[5, 6, 7, 8]), with(&PROMPT, &[5, 6, 1]));
    let other = [9, 9, 9];
    let asks = [
        Ask::greedy(&long, 4),
        Ask::greedy(&long, 4),
        Ask::greedy(&fork, 4),
        Ask::greedy(&other, 3),
    ];
    let replies: Vec<_> = llm.ask(&asks).into_iter().map(|r| r.expect("good asks")).collect();
    let paid: Vec<u64> = replies.iter().map(|r| r.positions).collect();
    assert_eq!(paid, [8, 0, 1, 3]);
    for (ask, reply) in asks.iter().zip(&replies) {
        assert_eq!(reply.tokens, plain(&ToyModel::new(2), ask.context, ask.from));
    }
}

#[test]
fn one_call_goes_on_from_the_same_end_in_several_ways() {
    let llm = InProcess::new(ToyModel::new(2));
    ask(&llm, &PROMPT, 4);
    let ways: Vec<_> = (5..9).map(|token| with(&PROMPT, &[token, 1])).collect();
    let early = [1, 2, 3, 9];
    let mut asks: Vec<_> = ways.iter().map(|way| Ask::greedy(way, 5)).collect();
    asks.push(Ask::greedy(&early, 4));
    for (ask, reply) in asks.iter().zip(llm.ask(&asks)) {
        let reply = reply.expect("a good ask");
        assert_eq!(reply.tokens, plain(&ToyModel::new(2), ask.context, ask.from));
    }
    assert_eq!(ask(&llm, &with(&ways[2], &[3]), 7).1, 1);
}

#[test]
fn prompts_share_nothing_and_are_forgotten_alone() {
    let llm = InProcess::new(ToyModel::new(3));
    let twin = [1, 2, 3, 9];
    assert_eq!(ask(&llm, &PROMPT, 4).1, 4);
    assert_eq!(ask(&llm, &twin, 4).1, 4, "a shared beginning is not a shared cost");
    llm.forget(&PROMPT);
    assert_eq!(ask(&llm, &PROMPT, 4).1, 4);
    assert_eq!(ask(&llm, &twin, 4).1, 0);
}

#[test]
fn a_late_first_ask_is_forgotten_with_its_prompt() {
    let llm = InProcess::new(ToyModel::new(3));
    let context = with(&PROMPT, &[5, 6]);
    ask(&llm, &context, 6);
    assert_eq!(ask(&llm, &with(&context, &[7]), 7).1, 1);
    llm.forget(&PROMPT);
    assert_eq!(ask(&llm, &context, 6).1, 6);
}

#[test]
fn an_ask_from_the_prompts_end_takes_over_what_a_late_one_read() {
    let llm = InProcess::new(ToyModel::new(3));
    let context = with(&PROMPT, &[5, 6]);
    ask(&llm, &context, 6);
    let longer = with(&context, &[7]);
    let asks = [Ask::greedy(&longer, 7), Ask::greedy(&longer, 4)];
    let replies: Vec<_> = llm.ask(&asks).into_iter().map(|r| r.expect("good asks")).collect();
    for (ask, reply) in asks.iter().zip(&replies) {
        assert_eq!(reply.tokens, plain(&ToyModel::new(3), ask.context, ask.from));
    }
    assert_eq!((replies[0].positions, replies[1].positions), (1, 2));
    assert_eq!(ask(&llm, &with(&longer, &[8]), 4).1, 1);
    llm.forget(&PROMPT);
    assert_eq!(ask(&llm, &context, 6).1, 6);
}

#[test]
fn the_least_recently_used_prompt_goes_first() {
    let llm = InProcess::with_prompts(ToyModel::new(4), 2);
    for (prompt, paid) in
        [([1, 1], 2), ([2, 2], 2), ([1, 1], 0), ([3, 3], 2), ([1, 1], 0), ([2, 2], 2)]
    {
        assert_eq!(ask(&llm, &prompt, 2).1, paid, "{prompt:?}");
    }
}

#[test]
fn one_bad_ask_leaves_the_others_whole() {
    let llm = InProcess::new(ToyModel::new(5));
    let long = vec![1; 5000];
    let asks = [
        Ask::greedy(&PROMPT, 4),
        Ask::greedy(&[1, 99], 2),
        Ask::greedy(&PROMPT, 0),
        Ask::greedy(&PROMPT, 5),
        Ask::greedy(&long, 5000),
    ];
    let replies = llm.ask(&asks);
    assert!(replies[0].is_ok());
    let wrong = |i: usize| match &replies[i] {
        Err(LlmError::Model(error)) => error.clone(),
        other => panic!("ask {i} gave {other:?}"),
    };
    assert!(matches!(wrong(1), ModelError::TokenOutOfRange { token: 99, .. }));
    assert!(matches!(wrong(2), ModelError::BadFeed { from: 0, .. }));
    assert!(matches!(wrong(3), ModelError::BadFeed { from: 5, .. }));
    assert!(matches!(wrong(4), ModelError::ContextOverrun { positions: 5000, .. }));
}

/// Continues contexts of one prompt. Returns tokens and positions of each.
fn continued(
    llm: &impl Llm,
    contexts: &[Vec<TokenId>],
    tokens: usize,
    sampling: Option<Sampling>,
    resumed: bool,
) -> Vec<(Vec<TokenId>, u64)> {
    let wanted: Vec<_> = contexts
        .iter()
        .map(|context| Continuation { context, tokens, sampling, resumed })
        .collect();
    let replies = llm.continuations(&wanted, &ToyModel::vocabulary());
    replies.into_iter().map(|r| r.map(|r| (r.tokens, r.positions)).expect("an answer")).collect()
}

#[test]
fn continuations_are_the_tokens_of_single_asks() {
    let contexts: Vec<Vec<TokenId>> =
        (0..600).map(|i| vec![i % 13, i / 13 % 13, i / 169, 3]).collect();
    for sampling in [None, Sampling::new(1.5, 1.0, 3).expect("in range")] {
        let alone = Scripted::new(|context: &[TokenId]| {
            let one = InProcess::new(ToyModel::new(7));
            let reply = one.ask(&[Ask::next(context, sampling)]).remove(0);
            reply.map(|reply| reply.tokens[0])
        });
        let expected = continued(&alone, &contexts, 9, sampling, true);
        assert!(expected.iter().any(|e| e.0.len() < 9), "some end");
        assert!(expected.iter().any(|e| e.0.len() == 9), "some are cut by length");
        let llm = InProcess::new(ToyModel::new(7));
        let made = continued(&llm, &contexts, 9, sampling, true);
        for ((context, made), expected) in contexts.iter().zip(&made).zip(&expected) {
            assert_eq!(made.0, expected.0, "{context:?}");
            assert_eq!(made.1, (context.len() + made.0.len() - 1) as u64, "{context:?}");
        }
        for (again, made) in continued(&llm, &contexts, 9, sampling, true).iter().zip(&made) {
            assert_eq!(again, &(made.0.clone(), 0), "nothing is made twice");
        }
    }
}

#[test]
fn continuations_fork_from_what_is_kept_and_are_freed_unless_resumed() {
    let llm = InProcess::new(ToyModel::new(7));
    let answer = continued(&llm, &[PROMPT.to_vec()], 12, None, true).remove(0).0;
    assert!(answer.len() > 3, "a longer answer exercises more");
    let fork = |i: usize| with(&with(&PROMPT, &answer[..i]), &[(answer[i] + 1) % 13]);
    let forks: Vec<_> = (0..answer.len()).map(fork).collect();
    for _ in 0..2 {
        for (way, positions) in continued(&llm, &forks, 6, None, false) {
            assert_eq!(positions, way.len() as u64, "the token it leaves by and all but its last");
        }
    }
    // A resumed fork is processed once, until it is forgotten.
    let read: Vec<u64> = (0..2).map(|_| continued(&llm, &forks[..1], 6, None, true)[0].1).collect();
    assert!(read[0] > 0 && read[1] == 0);
    llm.forget(&forks[0]);
    assert_eq!(continued(&llm, &forks[..1], 6, None, true)[0].1, read[0]);
    assert_eq!(continued(&llm, &[PROMPT.to_vec()], 12, None, true), [(answer, 0)]);
}

#[test]
fn a_forgotten_end_leaves_what_lies_before_it() {
    // The first ask extends past the prompt, so its state covers the prompt too.
    let llm = InProcess::new(ToyModel::new(8));
    let long = with(&PROMPT, &[5, 6, 7]);
    ask(&llm, &long, 4);
    ask(&llm, &with(&PROMPT, &[5, 8]), 6);
    llm.forget(&with(&PROMPT, &[5, 6]));
    assert_eq!(ask(&llm, &with(&PROMPT, &[5, 9]), 6).1, 1, "the other way still covers it");
    assert_eq!(ask(&llm, &long, 7).1, 2);
    llm.forget(&with(&PROMPT, &[5]));
    assert_eq!(ask(&llm, &long, 7).1, 3, "the prompt itself is not forgotten");
}

/// A bad ask at every place, in batches of every size.
#[test]
fn a_bad_ask_changes_no_other_wherever_it_stands() {
    const BAD: TokenId = 7;
    let good: [&[TokenId]; 5] = [&[1, 2, 3], &[4], &[1, 2, 9, 9], &[8, 8, 8, 8, 8, 8], &[2, 1]];
    let sound = ToyModel::new(5);
    let bad: [&[TokenId]; 4] = [&[BAD], &[1, 2, BAD], &[1, 99], &[]];
    for (bad, size) in bad.iter().flat_map(|bad| (1..=good.len()).map(move |size| (bad, size))) {
        for place in 0..=size {
            let llm = InProcess::new(ToyModel::new(5).breaking_at(BAD));
            let mut contexts = good[..size].to_vec();
            contexts.insert(place, bad);
            let asks: Vec<Ask<'_>> = contexts.iter().map(|c| Ask::greedy(c, c.len())).collect();
            let mut replies = llm.ask(&asks);
            assert!(replies.remove(place).is_err(), "{bad:?} at {place}");
            for (reply, context) in replies.into_iter().zip(&good) {
                let tokens = reply.expect("a good ask").tokens;
                let alone = plain(&sound, context, context.len());
                assert_eq!(tokens, alone, "{context:?} beside {bad:?} at {place}");
            }
        }
    }
}

#[test]
fn one_bad_continuation_leaves_the_others_whole() {
    let llm = InProcess::new(ToyModel::new(5));
    let long = vec![1; 4095];
    let of = |context, tokens| Continuation { context, tokens, sampling: None, resumed: true };
    let wanted = [of(&PROMPT[..], 3), of(&[1, 99], 3), of(&[], 3), of(&long, 9)];
    let replies = llm.continuations(&wanted, &ToyModel::vocabulary());
    assert!(replies[0].is_ok());
    assert!(matches!(replies[1], Err(LlmError::Model(ModelError::TokenOutOfRange { .. }))));
    assert!(matches!(replies[2], Err(LlmError::Model(ModelError::BadFeed { .. }))));
    let cut = replies[3].as_ref().expect("what fits into the context");
    assert!((1..=2).contains(&cut.tokens.len()), "{cut:?}");
}

#[test]
fn a_script_answers_and_fails_as_written() {
    let llm = Scripted::new(table([(vec![1], 7), (vec![1, 7], 8)].into(), 3)).failing([1]);
    assert_eq!(ask(&llm, &[1, 7], 1), (vec![7, 8], 2));
    let replies = llm.ask(&[Ask::greedy(&[1], 1)]);
    assert!(matches!(replies[0], Err(LlmError::Unavailable(_))));
    assert_eq!(ask(&llm, &[5], 1), (vec![3], 1));
    assert_eq!(llm.asked(), 3);
}

#[test]
fn a_follower_agrees_about_as_often_as_told() {
    let leader = ToyModel::new(6);
    let follower = ToyModel::following(7, &leader, 0.8);
    let same = (0..1000u32)
        .filter(|i| {
            let context = [i % 16, i / 16 % 16, i / 256];
            plain(&leader, &context, 3) == plain(&follower, &context, 3)
        })
        .count();
    assert!((780..850).contains(&same), "{same} of 1000");
}

#[test]
fn an_ask_at_which_the_model_fails_leaves_the_others_whole() {
    let vocabulary = ToyModel::vocabulary();
    let contexts: [&[TokenId]; 5] = [&[1, 2], &[3, 7, 1], &[4], &[1, 2, 5], &[3, 6]];
    let asks = contexts.map(|context| Ask::greedy(context, 1));
    let expected: Vec<_> = InProcess::new(ToyModel::new(1)).ask(&asks);
    let broken = InProcess::new(ToyModel::new(1).breaking_at(7));
    // Twice: the cache keeps the good answers and no bad state.
    for _ in 0..2 {
        for (i, (reply, expected)) in broken.ask(&asks).iter().zip(&expected).enumerate() {
            match reply {
                Ok(reply) => {
                    assert_eq!(Some(&reply.tokens), expected.as_ref().ok().map(|e| &e.tokens))
                }
                Err(error) => {
                    assert!(i == 1 && error.to_string().contains("not a finite"), "{error}")
                }
            }
            assert_eq!(reply.is_err(), i == 1, "{reply:?}");
        }
    }
    let wanted =
        contexts.map(|context| Continuation { context, tokens: 6, sampling: None, resumed: false });
    let expected = InProcess::new(ToyModel::new(1)).continuations(&wanted, &vocabulary);
    for ((reply, expected), context) in
        broken.continuations(&wanted, &vocabulary).iter().zip(&expected).zip(contexts)
    {
        let tokens = &expected.as_ref().expect("a continuation").tokens;
        // The last token of a continuation is not read.
        let breaks = context.contains(&7) || tokens[..tokens.len() - 1].contains(&7);
        match reply {
            Ok(reply) => assert!(!breaks && reply.tokens == *tokens, "{context:?}"),
            Err(error) => assert!(breaks && error.to_string().contains("not a finite"), "{error}"),
        }
    }
}
