//! An LLM that shares text alone with the SLM: its answers are a function of the text, whatever
//! tokens spell it, and the tokens spell what it writes.

use std::sync::Arc;

use tokenroute_core::{
    Ask, Breaks, Continuation, Llm, ModelError, Spelled, Speller, TokenId, Vocabulary, stable_hash,
};
use tokenroute_llm::{
    Begun, InProcess, LlmPrompt, LlmText, LocalWriter, Prompts, Scripted, TextLlm, ToyModel,
    Writer, Written,
};

/// Token texts of the LLM, a toy: some are beginnings of others, five are parts of characters.
const LLM: [&[u8]; 16] = [
    b"a", b"b", b"ab", b"ba", b"aba", b"c", b" ", b" a", b"\xc3", b"\xa9", b"\xef", b"\xbf",
    b"\xbd", b".", b"", b"",
];

/// Token texts of the SLM; the last one ends its answers.
const SLM: [&[u8]; 12] =
    [b"a", b"b", b"c", b" ", b".", b"\xc3", b"\xa9", b"\xef", b"\xbf", b"\xbd", b"bab", b""];
const END: TokenId = 11;

/// Spells by the longest token that fits. Nothing after as many bytes as the longest token can
/// change the first one.
struct Longest(&'static [&'static [u8]]);

impl Speller for Longest {
    fn bytes(&self, token: TokenId) -> &[u8] {
        self.0.get(token as usize).copied().unwrap_or_default()
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn spell(&self, text: &str) -> Result<Spelled, ModelError> {
        let (mut rest, mut tokens) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let fits =
                self.0.iter().enumerate().filter(|(_, t)| !t.is_empty() && rest.starts_with(t));
            let Some((token, bytes)) = fits.max_by_key(|(_, t)| t.len()) else {
                let (model, message) = ("words".to_owned(), format!("no token spells {text:?}"));
                return Err(ModelError::Backend { model, message });
            };
            tokens.push(token as TokenId);
            rest = &rest[bytes.len()..];
        }
        Ok(Spelled { tokens, settled: text.len() >= 3 })
    }
}

fn llm_text() -> Arc<LlmText> {
    Arc::new(LlmText::new(Arc::new(Longest(&LLM)), ToyModel::vocabulary()))
}

fn vocabulary() -> Vocabulary {
    Vocabulary::new(vec![END], vec![Breaks::default(); SLM.len()], "slm".to_owned())
}

const PROMPT: [TokenId; 3] = [0, 3, 1];

/// The toy as an LLM of text; the SLM's own token is always 3.
fn texted(seed: u64) -> TextLlm<LocalWriter<ToyModel>> {
    let prompts = Arc::new(Prompts::new(8));
    prompts.announce(&PROMPT, LlmPrompt::Tokens(vec![7, 1]));
    let writer = LocalWriter::new(InProcess::new(ToyModel::new(seed)), llm_text());
    let kept = Arc::new(Scripted::new(|_: &[TokenId]| Ok(3)));
    TextLlm::new(writer, Arc::new(Longest(&SLM)), kept, END, prompts)
}

fn next<L: Llm>(llm: &L, answer: &[TokenId]) -> TokenId {
    let context = [&PROMPT[..], answer].concat();
    llm.ask(&[Ask::next(&context, None)]).remove(0).expect("an answer").tokens[0]
}

/// Some SLM tokens, none of which ends the answer.
fn some_tokens(number: u64, length: u64) -> Vec<TokenId> {
    let draw = |i: u64| stable_hash(&[number.to_le_bytes(), i.to_le_bytes()].concat());
    (0..length).map(|i| (draw(i) % u64::from(END)) as TokenId).collect()
}

#[test]
fn an_answer_is_a_function_of_the_text() {
    let slm = Longest(&SLM);
    for number in 0..300 {
        let tokens = some_tokens(number, number % 12);
        let Ok(text) = String::from_utf8(slm.bytes_of(&tokens)) else { continue };
        let others = slm.spell(&text).expect("tokens").tokens;
        let bytes: Vec<TokenId> = text
            .bytes()
            .map(|byte| SLM.iter().position(|t| *t == [byte]).expect("a token") as TokenId)
            .collect();
        let answers = [&tokens, &others, &bytes].map(|spelled| next(&texted(number), spelled));
        assert_eq!(answers, [answers[0]; 3], "{text:?}");
    }
}

#[test]
fn batches_runs_caches_and_forgotten_prompts_change_no_token() {
    for number in 0..60 {
        let llm = texted(number);
        let context = [&PROMPT[..], &some_tokens(number, 9)].concat();
        let single: Vec<TokenId> =
            (3..=context.len()).map(|i| next(&texted(number), &context[3..i])).collect();
        let run = |from| llm.ask(&[Ask::greedy(&context, from)]).remove(0).expect("answers").tokens;
        assert_eq!(run(6), single[3..], "{number}");
        assert_eq!(run(3), single, "{number}");
        llm.forget(&PROMPT);
        assert_eq!(run(3), single, "{number}");
        let asks: Vec<Ask<'_>> =
            (3..=context.len()).map(|i| Ask::next(&context[..i], None)).collect();
        let batch = texted(number).ask(&asks);
        let batch: Vec<TokenId> =
            batch.into_iter().map(|r| r.expect("an answer").tokens[0]).collect();
        assert_eq!(batch, single, "{number}");
    }
}

#[test]
fn a_continuation_is_one_answer_after_the_other_and_spells_what_the_llm_writes() {
    let mut compared = 0;
    for number in 0..200 {
        let llm = texted(number);
        let wanted =
            [Continuation { context: &PROMPT, tokens: 20, sampling: None, resumed: false }];
        let said = llm.continuations(&wanted, &vocabulary()).remove(0).expect("an answer").tokens;
        let mut answer = Vec::new();
        for &token in &said {
            assert_eq!(next(&texted(number), &answer), token, "{number}");
            answer.push(token);
        }
        // Wherever the LLM only spells its own text again, its text is what the tokens spell.
        let writer = LocalWriter::new(InProcess::new(ToyModel::new(number)), llm_text());
        let prompt = LlmPrompt::Tokens(vec![7, 1]);
        let begun = Begun { prompt: &prompt, text: "", sampling: None };
        let whole =
            writer.write(&[begun], &|text: &str| text.len() > 30).remove(0).expect("a text");
        let totals = llm.counts().totals();
        let broken = whole.text.contains(char::REPLACEMENT_CHARACTER);
        if totals.respelled == 0 && totals.inside == 0 && !broken {
            compared += 1;
            let spelled = Longest(&SLM).bytes_of(&said);
            let both = spelled.len().min(whole.text.len());
            assert_eq!(spelled[..both], whole.text.as_bytes()[..both], "{number}");
        }
    }
    assert!(compared > 3, "{compared} of 200");
}

#[test]
fn the_last_token_is_spelled_again_by_the_best_token_that_can() {
    // After its prompt the LLM goes on freely; after "a" it must begin with "a".
    let mut respelled = 0;
    for number in 0..100 {
        let model = ToyModel::new(number);
        let writer = LocalWriter::new(InProcess::new(&model), llm_text());
        let prompt = LlmPrompt::Tokens(vec![7, 1]);
        let begun = Begun { prompt: &prompt, text: "a", sampling: None };
        let written = writer.write(&[begun], &|_: &str| true).remove(0).expect("a text");
        // Tokens 0, 2 and 4 are "a", "ab" and "aba".
        let mut state = tokenroute_core::LanguageModel::start(&model);
        let steps = tokenroute_core::LanguageModel::advance(
            &model,
            &mut [tokenroute_core::Feed { state: &mut state, tokens: &[7, 1], from: 1 }],
            tokenroute_core::Detail::Logits,
        );
        let logits = steps.expect("steps")[0][0].logits.clone().expect("logits");
        let best = [0usize, 2, 4].into_iter().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let expected = &LLM[best.expect("three")][1..];
        assert!(written.text.as_bytes().starts_with(expected), "{number}: {written:?}");
        assert_eq!(written.respelled, best != Some(0), "{number}");
        respelled += u32::from(written.respelled);
    }
    assert!(respelled > 30, "{respelled} of 100 toys prefer a longer token");
}

#[test]
fn inside_a_character_the_small_models_token_is_kept() {
    let llm = texted(1);
    assert_eq!(next(&llm, &[0, 5]), 3);
    assert_eq!(llm.counts().totals().inside, 1);
    // A byte that begins no character is read as U+FFFD, here and in the middle of a text.
    assert_eq!(next(&llm, &[6, 0]), next(&texted(1), &[7, 8, 9, 0]));
    assert_eq!(next(&llm, &[5, 0]), next(&texted(1), &[7, 8, 9, 0]));
    assert_eq!(llm.counts().totals().inside, 1);
}

/// A writer with one answer.
struct Says(Written);

impl Writer for Says {
    fn write(
        &self,
        begun: &[Begun<'_>],
        _: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<Result<Written, tokenroute_core::LlmError>> {
        begun.iter().map(|_| Ok(self.0.clone())).collect()
    }

    fn forget(&self, _: &LlmPrompt) {}
}

#[test]
fn the_end_comes_after_the_last_text_and_nonsense_fails_its_own_ask() {
    for (text, ended, expected) in [
        ("", true, Ok(END)),
        ("b", true, Ok(1)),
        ("babba", false, Ok(10)),
        ("", false, Err("no text in reply to a text")),
        ("?", false, Err("no token spells")),
    ] {
        let prompts = Arc::new(Prompts::new(8));
        prompts.announce(&PROMPT, LlmPrompt::Text("q".to_owned()));
        let writer = Says(Written { text: text.to_owned(), ended, ..Written::default() });
        let kept = Arc::new(Scripted::new(|_: &[TokenId]| Ok(3)));
        let llm = TextLlm::new(writer, Arc::new(Longest(&SLM)), kept, END, prompts);
        let asks = [Ask::next(&PROMPT, None), Ask::next(&[2, 2], None), Ask::greedy(&PROMPT, 2)];
        let mut replies = llm.ask(&asks).into_iter();
        match (replies.next().expect("a reply"), expected) {
            (Ok(reply), Ok(token)) => assert_eq!(reply.tokens, [token], "{text:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (reply, _) => panic!("{text:?}: {reply:?}"),
        }
        for other in replies {
            let error = other.expect_err("no prompt").to_string();
            assert!(error.contains("was not announced"), "{error}");
        }
        let error = llm.ask(&[Ask::next(&PROMPT, None).with_top(2)]).remove(0);
        assert!(error.expect_err("none").to_string().contains("no probabilities"));
    }
}
