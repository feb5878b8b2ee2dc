//! The builder that a family uses to write one story, its rationale and its key.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::config::TaskConfig;
use super::words::{NAMES, OBJECTS};

/// A number of the story, or a word that determines the solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Number(i64),
    Word(String),
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Word(w) => f.write_str(w),
        }
    }
}

/// An arithmetic operator of a rationale step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

impl Op {
    /// The sign as the rationale prints it.
    pub(super) fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Sub => '-',
            Self::Mul => '×',
            Self::Div => '÷',
        }
    }

    /// The result, or `None` if a division leaves a remainder.
    pub(super) fn apply(self, a: i64, b: i64) -> Option<i64> {
        match self {
            Self::Add => Some(a + b),
            Self::Sub => Some(a - b),
            Self::Mul => Some(a * b),
            Self::Div => (b != 0 && a % b == 0).then(|| a / b),
        }
    }
}

/// A quantity: its value and the index of its calculation (`None` if given or learnt).
#[derive(Clone, Copy, Debug)]
pub(super) struct Val {
    pub(super) value: i64,
    pub(super) from: Option<usize>,
}

/// One calculation. `choices` replays it with typical mistakes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calc {
    pub(super) lhs: Val,
    pub(super) op: Op,
    pub(super) rhs: Val,
}

/// One rationale step before its phrasing is drawn.
#[derive(Clone, Debug)]
pub(super) struct RationaleStep {
    pub(super) target: String,
    pub(super) expression: String,
}

/// The answer of the question.
#[derive(Clone, Debug)]
pub(super) enum Solution {
    /// The value of the last calculation.
    Number(i64),
    /// A word, and wrong words in order of preference.
    Word(String, Vec<String>),
}

/// Collects the parts of one question. Drawing functions return `None` if the numbers so far
/// cannot make a valid problem. The generator then starts again.
pub(super) struct Build<'a> {
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) config: &'a TaskConfig,
    pub(super) steps: usize,
    pub(super) story: Vec<String>,
    pub(super) question: String,
    pub(super) rationale: Vec<RationaleStep>,
    pub(super) calcs: Vec<Calc>,
    pub(super) key: Vec<Operand>,
    pub(super) answer: Option<Solution>,
    used: Vec<&'static str>,
}

impl<'a> Build<'a> {
    pub(super) fn new(rng: &'a mut ChaCha8Rng, config: &'a TaskConfig, steps: usize) -> Self {
        Self {
            rng,
            config,
            steps,
            story: Vec::new(),
            question: String::new(),
            rationale: Vec::new(),
            calcs: Vec::new(),
            key: Vec::new(),
            answer: None,
            used: Vec::new(),
        }
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// A uniform index below `len`.
    pub(super) fn rng_index(&mut self, len: usize) -> usize {
        self.rng.random_range(0..len)
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.rng.random_range(0..items.len())]
    }

    /// A word of the pool that the story has not used yet.
    pub(super) fn fresh(&mut self, pool: &[&'static str]) -> &'static str {
        loop {
            let word = self.pick(pool);
            if !self.used.contains(&word) {
                self.used.push(word);
                return word;
            }
        }
    }

    pub(super) fn name(&mut self) -> &'static str {
        self.fresh(&NAMES)
    }

    pub(super) fn object(&mut self) -> &'static str {
        self.fresh(&OBJECTS)
    }

    /// Draws from `lo..=hi`, limited by the configured largest operand.
    pub(super) fn number(&mut self, lo: i64, hi: i64) -> i64 {
        let hi = hi.min(self.config.max_operand).max(lo);
        self.rng.random_range(lo..=hi)
    }

    /// Draws a start amount from `lo..=hi`, not limited by the largest operand.
    pub(super) fn amount(&mut self, lo: i64, hi: i64) -> i64 {
        self.rng.random_range(lo..=hi.min(self.config.max_result))
    }

    /// Adds a number of the story to the key.
    pub(super) fn given(&mut self, value: i64) -> Val {
        self.key.push(Operand::Number(value));
        Val { value, from: None }
    }

    /// Draws a number of the story.
    pub(super) fn draw(&mut self, lo: i64, hi: i64) -> Val {
        let value = self.number(lo, hi);
        self.given(value)
    }

    /// Adds a word that determines the solution to the key.
    pub(super) fn tag(&mut self, word: &str) {
        self.key.push(Operand::Word(word.to_owned()));
    }

    /// Adds a sentence to the story.
    pub(super) fn say(&mut self, sentence: String) {
        self.story.push(sentence);
    }

    /// Adds one of several equally likely wordings to the story.
    pub(super) fn say_any(&mut self, wordings: &[String]) {
        let at = self.rng_index(wordings.len());
        self.say(wordings[at].clone());
    }

    /// Adds a rationale step with a calculation. `None` if the result is out of range.
    pub(super) fn calc(
        &mut self,
        target: impl Into<String>,
        lhs: Val,
        op: Op,
        rhs: Val,
    ) -> Option<Val> {
        let value = op.apply(lhs.value, rhs.value)?;
        if value < 1 || value > self.config.max_result {
            return None;
        }
        let expression = format!("{}{}{}={value}", lhs.value, op.sign(), rhs.value);
        self.note(target, expression);
        self.calcs.push(Calc { lhs, op, rhs });
        self.answer = Some(Solution::Number(value));
        Some(Val { value, from: Some(self.calcs.len() - 1) })
    }

    /// Adds a rationale step without a calculation.
    pub(super) fn note(&mut self, target: impl Into<String>, expression: String) {
        self.rationale.push(RationaleStep { target: target.into(), expression });
    }

    /// Sets the question. The answer is the last calculation's value.
    pub(super) fn ask(&mut self, question: impl Into<String>) -> Option<()> {
        self.question = question.into();
        Some(())
    }

    /// Sets the question to one of several equally likely wordings.
    pub(super) fn ask_any(&mut self, wordings: &[String]) -> Option<()> {
        let at = self.rng_index(wordings.len());
        self.ask(wordings[at].clone())
    }

    /// Sets the question and a word as its answer.
    pub(super) fn ask_word(
        &mut self,
        question: impl Into<String>,
        answer: &str,
        wrong: &[&str],
    ) -> Option<()> {
        let wrong = wrong.iter().map(|w| (*w).to_owned()).collect();
        self.answer = Some(Solution::Word(answer.to_owned(), wrong));
        self.ask(question)
    }

    /// Inserts an irrelevant sentence somewhere after the first one. Its number is added to the
    /// key and to the operands of typical mistakes.
    pub(super) fn distract(&mut self) {
        let (who, what) = (self.name(), self.object());
        let n = self.draw(2, 12).value;
        let at = self.rng.random_range(1..=self.story.len());
        self.tag("aside");
        self.story.insert(at, format!("{who} has {n} {what}."));
    }
}
