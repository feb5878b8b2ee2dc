//! A patient LLM repeats failed calls, and its answers are whole.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokenroute_core::{Ask, Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};
use tokenroute_llm::{InProcess, Patient, Scripted, ToyModel};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn an_llm_that_is_away_is_asked_again_and_one_that_refuses_is_not() {
    let count = AtomicU32::new(0);
    let away = Scripted::new(|_: &[TokenId]| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(LlmError::Unavailable("away".into())),
        _ => Ok(7),
    });
    let patient = Patient::new(away, LONG, 1);
    let asks = [Ask::greedy(&[1, 2], 2), Ask::greedy(&[3], 1)];
    let tokens: Vec<_> =
        patient.ask(&asks).into_iter().map(|r| r.expect("an answer").tokens).collect();
    assert_eq!(tokens, [[7], [7]]);
    assert_eq!(patient.llm().asked(), 4);
    assert_eq!(patient.processed(), 3, "failed asks are no positions");
    for error in [LlmError::Refused("no".into()), LlmError::Late("x".into())] {
        let llm = Scripted::new(|_: &[TokenId]| Err(error.clone()));
        let hasty = Patient::new(llm, Duration::ZERO, 1);
        assert_eq!(hasty.ask(&asks[1..]), [Err(error.clone())]);
        assert_eq!(hasty.relay(&[1], 4, None, &ToyModel::vocabulary()), Err(error.clone()));
        assert_eq!(hasty.llm().asked(), 2);
    }
}

/// Counts continuations, and refuses those longer than its limit of tokens.
struct Short(InProcess<ToyModel>, usize, AtomicU32);

impl Llm for Short {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.0.ask(asks)
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        self.2.fetch_add(wanted.len() as u32, Ordering::Relaxed);
        match wanted.iter().any(|w| w.tokens > self.1) {
            true => wanted.iter().map(|_| Err(LlmError::Late("too long".to_owned()))).collect(),
            false => self.0.continuations(wanted, vocabulary),
        }
    }

    fn forget(&self, _: &[TokenId]) {}
}

#[test]
fn a_continuation_is_one_call_or_a_few_shorter_ones() {
    let vocabulary = ToyModel::vocabulary();
    let prompts: Vec<[TokenId; 2]> = (0..12).map(|i| [i, (i * 5) % 13]).collect();
    let wanted: Vec<_> = prompts
        .iter()
        .map(|context| Continuation { context, tokens: 10, sampling: None, resumed: true })
        .collect();
    let expected: Vec<_> = InProcess::new(ToyModel::new(7)).continuations(&wanted, &vocabulary);
    let tokens = |replies: &[Result<Reply, LlmError>]| -> Vec<Vec<TokenId>> {
        replies.iter().map(|r| r.clone().expect("an answer").tokens).collect()
    };
    assert!(tokens(&expected).iter().any(|answer| answer.len() == 10), "some are cut by length");
    for (longest, most) in [(usize::MAX, 1), (8, 3)] {
        let llm = Short(InProcess::new(ToyModel::new(7)), longest, AtomicU32::new(0));
        let there = Patient::new(llm, LONG, 4);
        let answers = tokens(&there.continuations(&wanted, &vocabulary));
        assert_eq!(answers, tokens(&expected));
        let calls = there.llm().2.load(Ordering::Relaxed);
        assert!((12..=12 * most).contains(&calls), "{calls}");
        let read: usize = answers.iter().map(|answer| 1 + answer.len()).sum();
        assert_eq!(there.processed(), read as u64, "all but the last token of each");
    }
}

#[test]
fn a_reply_that_is_too_long_or_empty_is_none() {
    struct Wrong(usize);
    impl Llm for Wrong {
        fn ask(&self, _: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
            Vec::new()
        }
        fn continuations(
            &self,
            _: &[Continuation<'_>],
            _: &Vocabulary,
        ) -> Vec<Result<Reply, LlmError>> {
            vec![Ok(Reply { tokens: vec![3; self.0], ..Reply::default() })]
        }
        fn forget(&self, _: &[TokenId]) {}
    }
    for found in [0, 5] {
        let said =
            Patient::new(Wrong(found), LONG, 1).relay(&[1], 4, None, &ToyModel::vocabulary());
        let error = said.expect_err("no answer").to_string();
        assert!(error.contains(&format!("{found} tokens; expected 1 to 4")), "{error}");
        let replies = Patient::new(Wrong(found), LONG, 1).ask(&[Ask::greedy(&[1], 1)]);
        assert!(matches!(replies[..], [Err(LlmError::BadReply(_))]));
    }
}
