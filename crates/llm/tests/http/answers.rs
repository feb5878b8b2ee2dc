//! The answer cache: one request per prefix, and the first answer stays.

use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokenroute_core::{Ask, Breaks, Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};
use tokenroute_llm::http::{Answers, AnswersError};
use tokenroute_llm::{InProcess, Scripted, ToyModel};

fn tokens(llm: &impl Llm, context: &[TokenId], from: usize) -> Vec<TokenId> {
    llm.ask(&[Ask::greedy(context, from)]).remove(0).expect("an answer").tokens
}

#[test]
fn what_was_answered_once_is_not_asked_again() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let plain = InProcess::new(ToyModel::new(7));
    let context: Vec<TokenId> = (0..12).collect();
    {
        let kept = Answers::open(
            &path,
            "toy-7",
            &ToyModel::vocabulary(),
            InProcess::new(ToyModel::new(7)),
        )
        .expect("a cache");
        for (from, to) in [(3, 5), (5, 5), (3, 8), (4, 12)] {
            assert_eq!(tokens(&kept, &context[..to], from), tokens(&plain, &context[..to], from));
        }
        assert_eq!(kept.llm().model().processed(), 12);
    }
    let kept = Answers::open(
        &path,
        "toy-7",
        &ToyModel::vocabulary(),
        Scripted::new(|_| Err(LlmError::Late("x".into()))),
    );
    let kept = kept.expect("a cache");
    let again = kept.ask(&[Ask::greedy(&context, 3)]).remove(0);
    let expected = tokens(&plain, &context, 3);
    assert_eq!(again, Ok(Reply { tokens: expected, ..Reply::default() }));
    assert_eq!(kept.llm().asked(), 0);
    let other = kept.ask(&[Ask::greedy(&[9, 9], 1)]).remove(0);
    assert_eq!(other, Err(LlmError::Late("x".into())), "failures pass through and are not kept");
    drop(kept);
    let other =
        Answers::open(&path, "toy-8", &ToyModel::vocabulary(), InProcess::new(ToyModel::new(8)))
            .expect("a cache");
    let fresh = tokens(&InProcess::new(ToyModel::new(8)), &context, 1);
    assert_eq!(tokens(&other, &context, 1), fresh, "another model has answers of its own");
}

#[test]
fn probabilities_are_kept_beside_the_answers() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let model = || InProcess::new(ToyModel::new(7).listing(8));
    let context: Vec<TokenId> = (0..12).collect();
    let expected = |top| model().ask(&[Ask::greedy(&context, 3).with_top(top)]).remove(0);
    {
        let kept =
            Answers::open(&path, "toy-7", &ToyModel::vocabulary(), model()).expect("a cache");
        tokens(&kept, &context, 3);
        // An answer without probabilities is asked again.
        let said = kept.ask(&[Ask::greedy(&context, 3).with_top(5)]).remove(0);
        assert_eq!(said.expect("an answer").top, expected(5).expect("an answer").top);
    }
    let gone = Scripted::new(|_| Err(LlmError::Late("x".into())));
    let kept = Answers::open(&path, "toy-7", &ToyModel::vocabulary(), gone).expect("a cache");
    for top in [5, 2, 0] {
        let said = kept.ask(&[Ask::greedy(&context, 3).with_top(top)]).remove(0);
        assert_eq!(said, expected(top).map(|reply| Reply { positions: 0, ..reply }), "{top}");
    }
    let more = kept.ask(&[Ask::greedy(&context, 3).with_top(6)]).remove(0);
    assert_eq!(more, Err(LlmError::Late("x".into())));
}

#[test]
fn the_first_answer_stays() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    // A model with another answer every time.
    let count = AtomicU32::new(0);
    let moody = Scripted::new(|_: &[TokenId]| Ok(count.fetch_add(1, Ordering::Relaxed) % 10));
    let kept = Answers::open(&path, "moody", &ToyModel::vocabulary(), moody).expect("a cache");
    let first = tokens(&kept, &[1, 2, 3], 2);
    // Two equal asks in one batch, before either is cached.
    let both = kept.ask(&[Ask::greedy(&[4], 1); 2]);
    assert_eq!(both[0].as_ref().map(|r| &r.tokens), both[1].as_ref().map(|r| &r.tokens));
    assert_eq!(tokens(&kept, &[1, 2, 3], 2), first);
    assert_eq!(tokens(&kept, &[1, 2, 3, 4], 2)[..2], first, "also as the front of a longer ask");
}

/// Counts continuations.
struct Counted<L>(L, AtomicU32);

impl<L: Llm> Llm for Counted<L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.0.ask(asks)
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        self.1.fetch_add(wanted.len() as u32, Ordering::Relaxed);
        self.0.continuations(wanted, vocabulary)
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.0.forget(prompt);
    }
}

#[test]
fn a_relay_is_one_call_and_every_token_of_it_an_answer() {
    let folder = TempDir::new().expect("a folder");
    let vocabulary = ToyModel::vocabulary();
    for prompt in [[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 3]] {
        let path = folder.path().join(format!("{prompt:?}.redb"));
        let plain = InProcess::new(ToyModel::new(7));
        let relay = |llm: &dyn Llm, context: &[TokenId], tokens| {
            llm.relay(context, tokens, None, &vocabulary).expect("a run")
        };
        let run = relay(&plain, &prompt, 9).tokens;
        let counted = Counted(InProcess::new(ToyModel::new(7)), AtomicU32::new(0));
        let kept =
            Answers::open(&path, "toy-7", &ToyModel::vocabulary(), counted).expect("a cache");
        let calls = || kept.llm().1.load(Ordering::Relaxed);
        let ends = |most: usize| &run[..run.len().min(most)];
        assert_eq!(relay(&kept, &prompt, 4).tokens, ends(4));
        assert_eq!(calls(), 1);
        for most in [1, 3, 4] {
            let known = Reply { tokens: ends(most).to_vec(), ..Reply::default() };
            assert_eq!(relay(&kept, &prompt, most), known, "known at no cost");
        }
        let all = [&prompt, &run[..ends(4).len() - 1]].concat();
        assert_eq!(tokens(&kept, &all, 2), ends(4), "as single answers too");
        assert_eq!(calls(), 1);
        assert_eq!(relay(&kept, &prompt, 9).tokens, run);
        assert_eq!(calls(), 1 + u32::from(run.len() > 4), "the rest in one call, if there is any");
        drop(kept);
        // Alone, it gives the cached tokens, and the failure for the rest.
        let gone = Scripted::new(|_| Err(LlmError::Late("x".into())));
        let kept = Answers::open(&path, "toy-7", &ToyModel::vocabulary(), gone).expect("a cache");
        assert_eq!(relay(&kept, &prompt, 20).tokens, run);
        assert_eq!(kept.relay(&[9, 9], 3, None, &vocabulary), Err(LlmError::Late("x".into())));
    }
}

#[test]
fn a_relay_ends_where_something_else_was_kept_before() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let vocabulary = ToyModel::vocabulary();
    // Answers 7 8 9 in a row, after another caller has cached 3 instead of 8.
    let kept = Answers::open(&path, "m", &ToyModel::vocabulary(), Scripted::new(|_| Ok(3)))
        .expect("a cache");
    assert_eq!(tokens(&kept, &[1, 7], 2), [3]);
    drop(kept);
    let other = Scripted::new(|context: &[TokenId]| Ok(6 + context.len() as TokenId));
    let kept = Answers::open(&path, "m", &ToyModel::vocabulary(), other).expect("a cache");
    let said = kept.relay(&[1], 3, None, &vocabulary).expect("a run");
    assert_eq!(said.tokens, [7, 3], "what followed the 8 follows no 3");
    assert_eq!(kept.relay(&[1], 3, None, &vocabulary).expect("a run").tokens, [7, 3, 9]);
}

#[test]
fn an_answer_that_has_ended_is_on_disk() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let kept = Answers::open(&path, "m", &ToyModel::vocabulary(), Scripted::new(|_| Ok(3)))
        .expect("a cache");
    tokens(&kept, &[1, 2], 2);
    kept.forget(&[1]);
    // As after a crash: the file as it is on disk.
    let copy = folder.path().join("copy.redb");
    std::fs::copy(&path, &copy).expect("a copy");
    let copied = Answers::open(&copy, "m", &ToyModel::vocabulary(), Scripted::new(|_| Ok(4)))
        .expect("a cache");
    assert_eq!(tokens(&copied, &[1, 2], 2), [3]);
}

/// A cache of the script "3, and after 9 another token" at `path`, with many answers.
fn filled(path: &std::path::Path) {
    let kept = Answers::open(path, "m", &ToyModel::vocabulary(), Scripted::new(|_| Ok(3)));
    let kept = kept.expect("a cache");
    for last in 0..12 {
        tokens(&kept, &[1, last, 2, last, 4], 1);
    }
}

#[test]
fn an_id_outside_the_vocabulary_fails_its_own_ask() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let large = Vocabulary::new(vec![14], vec![Breaks::of(""); 5_000_000], "large".to_owned());
    let odd = Scripted::new(|context: &[TokenId]| Ok(if context == [5] { 4_000_000 } else { 3 }));
    let kept = Answers::open(&path, "m", &large, odd).expect("a cache");
    kept.ask(&[Ask::greedy(&[5], 1), Ask::greedy(&[6, 7], 1)]);
    drop(kept);
    let fresh = Scripted::new(|_| Ok(3));
    let kept = Answers::open(&path, "m", &ToyModel::vocabulary(), fresh).expect("a cache");
    let asks = [Ask::greedy(&[6, 7], 1), Ask::greedy(&[5], 1), Ask::greedy(&[8], 1)];
    let vocabulary = ToyModel::vocabulary();
    let wanted = asks.map(|ask| Continuation {
        context: ask.context,
        tokens: 2,
        sampling: None,
        resumed: false,
    });
    for replies in [kept.ask(&asks), kept.continuations(&wanted, &vocabulary)] {
        for (i, reply) in replies.into_iter().enumerate() {
            match reply {
                Ok(reply) => assert!(i != 1 && reply.tokens.iter().all(|&t| t == 3), "{i}"),
                Err(error) => {
                    let words = ["answers.redb", "4000000", "vocabulary of 16", "delete this one"];
                    let text = error.to_string();
                    assert!(i == 1 && words.iter().all(|word| text.contains(word)), "{text}");
                    assert!(matches!(error, LlmError::BadReply(_)), "{error:?}");
                }
            }
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    filled(&path);
    let sound = std::fs::read(&path).expect("a file");
    let used = sound.iter().rposition(|&byte| byte != 0).expect("content");
    // The header, and places all over the pages in use.
    let places: Vec<usize> = (0..320).chain((320..used).step_by(used / 160)).collect();
    let hurt = folder.path().join("hurt.redb");
    for place in places {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&hurt, &bytes).expect("a file");
        let used = std::panic::catch_unwind(|| {
            let llm = Scripted::new(|_| Ok(3));
            let Ok(kept) = Answers::open(&hurt, "m", &ToyModel::vocabulary(), llm) else { return };
            for last in 0..12 {
                for reply in kept.ask(&[Ask::greedy(&[1, last, 2, last, 4], 1)]) {
                    assert!(
                        reply.is_err() || reply.is_ok_and(|r| r.tokens.iter().all(|&t| t < 16))
                    );
                }
            }
            kept.forget(&[1]);
        });
        assert!(used.is_ok(), "byte {place} of the file");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    let open = || Answers::open(&path, "m", &ToyModel::vocabulary(), Scripted::new(|_| Ok(3)));
    let first = open().expect("a cache");
    let error = open().err().expect("in use");
    assert!(matches!(error, AnswersError::InUse { .. }), "{error:?}");
    drop(first);
    std::fs::write(&path, "no database".repeat(1000)).expect("a file");
    let error = open().err().expect("not a database").to_string();
    assert!(error.contains("answers.redb") && error.contains("delete this one"), "{error}");
}
