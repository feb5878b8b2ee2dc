//! A metered LLM gives the tokens and positions of the same model in process.

use tokenroute_core::{Ask, Continuation, Llm, LlmError, ModelError, Reply, TokenId, stable_hash};
use tokenroute_llm::{InProcess, Metered, Scripted, ToyModel};

/// A number below `below`, by hash.
fn pick(seed: u64, below: u64) -> usize {
    (stable_hash(&seed.to_le_bytes()) % below) as usize
}

/// An LLM without a cache.
fn forgetful() -> impl Llm {
    Scripted::new(|context: &[TokenId]| {
        let model = InProcess::new(ToyModel::new(7));
        model.ask(&[Ask::next(context, None)]).remove(0).map(|reply| reply.tokens[0])
    })
}

/// The same, whose replies hold probabilities.
struct Forgetful;

impl Llm for Forgetful {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        InProcess::new(ToyModel::new(7).listing(8)).ask(asks)
    }

    fn forget(&self, _: &[TokenId]) {}
}

#[test]
fn probabilities_are_counted_and_kept_as_in_process() {
    let here = InProcess::new(ToyModel::new(7).listing(8));
    let there = Metered::new(Forgetful, 1024);
    for n in 0..200u64 {
        let mut context: Vec<TokenId> = vec![1, 2, 3];
        context.extend((0..pick(9 * n, 6)).map(|i| pick(9 * n + 1 + i as u64, 3) as TokenId));
        let from = 3 + pick(9 * n + 7, context.len() as u64 - 2);
        let ask = [Ask::greedy(&context, from).with_top([0, 3, 5][pick(9 * n + 8, 3)])];
        assert_eq!(here.ask(&ask), there.ask(&ask), "{n}: {ask:?}");
    }
    let bare = Metered::new(forgetful(), 4);
    let error = bare.ask(&[Ask::greedy(&[1], 1).with_top(3)]).remove(0).expect_err("none");
    assert!(error.to_string().contains("probabilities for 0 of 1 positions"), "{error}");
}

#[test]
fn positions_are_those_of_a_model_in_process() {
    let vocabulary = ToyModel::vocabulary();
    let (here, there) = (InProcess::new(ToyModel::new(7)), Metered::new(forgetful(), 1024));
    let mut contexts: Vec<Vec<TokenId>> = vec![vec![1, 2, 3], vec![4, 5]];
    let mut charged = 0;
    for n in 0..400u64 {
        // Contexts grow, and fork at any place.
        let mut context = contexts[pick(8 * n, contexts.len() as u64)].clone();
        context.truncate(2 + pick(8 * n + 1, context.len() as u64 - 1));
        context.extend((0..pick(8 * n + 2, 3)).map(|i| pick(8 * n + 3 + i as u64, 14) as TokenId));
        let (said, again) = match pick(8 * n + 5, 4) {
            0 => {
                let from = 1 + pick(8 * n + 6, context.len() as u64);
                let ask = [Ask::greedy(&context, from)];
                (here.ask(&ask), there.ask(&ask))
            }
            1 => {
                here.forget(&context);
                there.forget(&context);
                continue;
            }
            way => {
                let (tokens, resumed) = (1 + pick(8 * n + 6, 5), way == 2);
                let wanted = [Continuation { context: &context, tokens, sampling: None, resumed }];
                let both = (&here as &dyn Llm, &there as &dyn Llm);
                (
                    both.0.continuations(&wanted, &vocabulary),
                    both.1.continuations(&wanted, &vocabulary),
                )
            }
        };
        assert_eq!(said, again, "{n}: {context:?}");
        charged += said[0].as_ref().map_or(0, |reply| reply.positions);
        contexts.push(context);
    }
    assert!(charged > 400, "{charged}");
    assert_eq!(here.model().processed(), charged, "and the model did no more");
}

#[test]
fn what_is_known_is_not_asked_and_what_is_wrong_is_said() {
    let there = Metered::new(Scripted::new(|_: &[TokenId]| Ok(7)), 4);
    let vocabulary = ToyModel::vocabulary();
    let said = there.relay(&[1, 2], 3, None, &vocabulary).expect("an answer");
    assert_eq!((said.tokens, said.positions), (vec![7, 7, 7], 4));
    let known = Reply { tokens: vec![7, 7], ..Reply::default() };
    assert_eq!(there.relay(&[1, 2, 7], 2, None, &vocabulary), Ok(known));
    assert_eq!(there.llm().asked(), 3);
    let replies = there.ask(&[Ask::greedy(&[1], 2), Ask::greedy(&[5], 1)]);
    let bad = LlmError::Model(ModelError::BadFeed { tokens: 1, from: 2 });
    assert_eq!(replies[0], Err(bad));
    assert!(replies[1].is_ok(), "one that is bad leaves the other whole");
}
