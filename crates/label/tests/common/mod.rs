//! Toy questions, graded by a hash-like rule of the answer's tokens, so that
//! every token may win or lose an answer.

#![allow(dead_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use tokenroute_core::{
    Choices, Detail, Feed, LanguageModel, Llm, ModelError, ModelInfo, Position, Question, Score,
    ScoreError, Scored, Scorer, ScorerState, Step, TokenId, Vocabulary, grade,
};
use tokenroute_label::{Item, LabelConfig, Labeller};
use tokenroute_llm::ToyModel;

pub const MAX_TOKENS: usize = 20;

pub fn questions(n: usize) -> Vec<Question> {
    (0..n)
        .map(|i| Question {
            id: format!("q{i}"),
            question: format!("question {i}"),
            choices: Choices {
                label: ["A", "B"].map(String::from).to_vec(),
                text: ["1", "2"].map(String::from).to_vec(),
            },
            answer_key: "A".into(),
            grader: Default::default(),
            cot: None,
            family: None,
            steps: None,
            operands: None,
            program: None,
        })
        .collect()
}

/// Two thirds of the questions in "train", the rest in "validation".
pub fn items(questions: &[Question]) -> Vec<Item<'_>> {
    let train = questions.len() * 2 / 3;
    questions
        .iter()
        .enumerate()
        .map(|(i, question)| Item {
            uncapped: false,
            question,
            split: if i < train { "train" } else { "validation" },
            prompt: vec![1, (i % 13) as TokenId, (i / 13) as TokenId],
            gold: None,
        })
        .collect()
}

/// Right iff the sum of the tokens is no multiple of 3.
pub fn decode(answer: &[TokenId]) -> String {
    let right = answer.iter().sum::<TokenId>() % 3 != 0;
    format!("the answer is 1 ({})", if right { "A" } else { "B" })
}

pub fn config() -> LabelConfig {
    LabelConfig { max_tokens: MAX_TOKENS, questions_per_shard: 4, ..LabelConfig::default() }
}

pub fn models() -> (ToyModel, ToyModel) {
    let llm = ToyModel::new(7);
    (ToyModel::following(3, &llm, 0.7), llm)
}

/// A labeller of the toy models.
pub fn labeller<'a, L: Llm>(
    slm: &'a ToyModel,
    llm: &'a L,
    vocabulary: &'a Vocabulary,
    config: LabelConfig,
) -> Labeller<'a, ToyModel, L> {
    Labeller {
        slm,
        llm,
        llm_hash: "toy-7",
        vocabulary,
        decode: &decode,
        grade: &|question, text, ended| Ok(grade(question, text, ended)),
        config,
        kept: None,
    }
}

/// What a model says after a prefix, canonical.
pub fn says(model: &ToyModel, prefix: &[TokenId]) -> Step {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 }];
    let mut steps = model.advance(&mut feeds, Detail::Full).expect("a good prefix");
    let mut step = steps.remove(0).remove(0);
    step.token = ToyModel::vocabulary().canonical(step.token);
    step
}

/// Grade of an answer in tokens.
pub fn graded(item: &Item<'_>, answer: &[TokenId]) -> f32 {
    let vocabulary = ToyModel::vocabulary();
    let text: Vec<_> = answer.iter().copied().filter(|&t| !vocabulary.is_end(t)).collect();
    let ended = text.len() < answer.len();
    f32::from(u8::from(grade(item.question, &decode(&text), ended)))
}

/// Goes on from `answer` to the end by `next`, which gets prompt and answer.
pub fn finish(
    item: &Item<'_>,
    mut answer: Vec<TokenId>,
    next: &dyn Fn(&[TokenId]) -> TokenId,
) -> Vec<TokenId> {
    let vocabulary = ToyModel::vocabulary();
    while !answer.last().is_some_and(|&t| vocabulary.is_end(t)) && answer.len() < MAX_TOKENS {
        answer.push(next(&[&item.prompt[..], &answer].concat()));
    }
    answer
}

/// Remembers: every score depends on all steps so far, and a wrong one shows in all later scores.
pub struct Remembers;

impl Scorer for Remembers {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let before = position.state.and_then(ScorerState::get::<f64>).copied().unwrap_or_default();
        assert_eq!(position.state.is_none(), position.index == 0, "a state after the first step");
        let now = (5.3 * before + f64::from(position.step.hidden[0])).rem_euclid(1.0);
        Ok(Scored { score: Score::new(now)?, state: Some(ScorerState::new(now)) })
    }
}

/// Keeps what the SLM is sure of, in sentences that it began surely.
pub struct Sure;

impl Scorer for Sure {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let p = position.step.max_probability();
        Score::new(p / (1.0 + 0.1 * f64::from(position.sentence_entropy)))
    }
}

/// Prefers to keep where both models agree.
pub struct Oracle;

impl Scorer for Oracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let agree = position.llm.is_some_and(|llm| llm.token == position.step.token);
        Score::new(if agree { 0.9 } else { position.step.max_probability() })
    }

    fn needs_llm(&self) -> bool {
        true
    }
}

/// A model that fails after a number of calls.
pub struct Failing<'m> {
    pub model: &'m ToyModel,
    pub calls: AtomicU64,
}

impl<'m> Failing<'m> {
    pub fn after(model: &'m ToyModel, calls: u64) -> Self {
        Failing { model, calls: AtomicU64::new(calls) }
    }
}

impl LanguageModel for Failing<'_> {
    type State = <ToyModel as LanguageModel>::State;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> Self::State {
        self.model.start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        self.model.positions(state)
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        self.model.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        if self.calls.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(ModelError::Backend { model: "toy".into(), message: "pulled plug".into() });
        }
        self.model.advance(feeds, detail)
    }
}
