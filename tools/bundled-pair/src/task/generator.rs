//! Draws questions: steps, family, story, key, choices, phrasing.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use tokenroute_core::{Choices, Question};

use super::build::{Build, Operand, RationaleStep};
use super::choices::{CHOICES, distractors};
use super::words::{LEADS, OPENERS, VERBS};
use super::{TaskConfig, TaskConfigError, TaskSplit, families, key};

/// Most rationale steps of any question.
pub(super) const MAX_STEPS: u32 = 4;

const LABELS: [&str; CHOICES] = ["A", "B", "C", "D", "E"];

/// Draws the questions of one seed and difficulty.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    config: TaskConfig,
}

impl Generator {
    /// A generator with the default difficulty.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, config: TaskConfig::default() }
    }

    /// A generator with a chosen difficulty.
    ///
    /// # Errors
    /// If no problem can satisfy the settings.
    pub fn with_config(seed: u64, config: TaskConfig) -> Result<Self, TaskConfigError> {
        config.validate()?;
        Ok(Self { seed, config })
    }

    /// The difficulty.
    #[must_use]
    pub fn config(&self) -> &TaskConfig {
        &self.config
    }

    /// Draws question `index` of a split with at most `max_steps` steps. A pure function of its
    /// arguments. With 0 steps there is no story, and the rationale only reads off letters: the
    /// first lesson of a curriculum.
    #[must_use]
    pub fn sample(&self, split: TaskSplit, index: u64, max_steps: u32) -> Question {
        let mut rng = ChaCha8Rng::from_seed(seed_bytes(self.seed, split, index));
        // About one draw in 25 falls into the smallest split, so this ends quickly.
        loop {
            if let Some(question) = self.attempt(split, index, max_steps, &mut rng) {
                return if max_steps == 0 { letters(question, &mut rng) } else { question };
            }
        }
    }

    /// All questions of a finite split, with distinct keys. Empty for pair training, which has no
    /// size. If the difficulty is too narrow for enough keys, the texts are still distinct.
    #[must_use]
    pub fn split(&self, split: TaskSplit) -> Vec<Question> {
        let size = split.size().unwrap_or(0);
        let patience = 8 * size as u64;
        let mut seen = HashSet::with_capacity(size);
        (0_u64..)
            .map(|index| (index, self.sample(split, index, MAX_STEPS)))
            .filter(|(index, question)| {
                let new_key = seen.insert(key(question));
                new_key || (*index > patience && seen.insert(question.question.clone()))
            })
            .map(|(_, question)| question)
            .take(size)
            .collect()
    }

    fn attempt(
        &self,
        split: TaskSplit,
        index: u64,
        max_steps: u32,
        rng: &mut ChaCha8Rng,
    ) -> Option<Question> {
        let steps = self.draw_steps(max_steps, rng);
        let open: Vec<_> = families()
            .iter()
            .filter(|f| !split.buckets(f.held_out).is_empty())
            .filter(|f| f.steps.0 <= steps && steps <= f.steps.1)
            .collect();
        let family = open[rng.random_range(0..open.len())];
        let mut b = Build::new(rng, &self.config, steps);
        (family.build)(&mut b)?;
        if b.chance(self.config.irrelevant_share) {
            b.distract();
        }
        debug_assert_eq!(b.rationale.len(), steps, "{}", family.name);
        let mut question = Question {
            id: format!("{}-{index}", split.name()),
            question: String::new(),
            choices: Choices { label: LABELS.map(str::to_owned).to_vec(), text: Vec::new() },
            answer_key: String::new(),
            grader: Default::default(),
            cot: None,
            family: Some(family.name.to_owned()),
            steps: u32::try_from(steps).ok(),
            operands: Some(b.key.iter().map(Operand::to_string).collect()),
            program: None,
        };
        let bucket = hash(&key(&question)) % 100;
        if !split.buckets(family.held_out).contains(&bucket) {
            return None;
        }
        let (right, mut texts) = distractors(&mut b)?;
        texts.shuffle(b.rng);
        let at = b.rng.random_range(0..CHOICES);
        let label = LABELS[at];
        let cot = phrase(&b.rationale, &right, label, b.rng);
        texts.insert(at, right);
        question.question = format!("{} {}", b.story.join(" "), b.question);
        question.choices.text = texts;
        question.answer_key = label.to_owned();
        question.cot = Some(cot);
        Some(question)
    }

    fn draw_steps(&self, max_steps: u32, rng: &mut ChaCha8Rng) -> usize {
        let most = max_steps.clamp(1, MAX_STEPS) as usize;
        let mix = &self.config.step_mix[..most];
        let mut left = rng.random::<f64>() * mix.iter().sum::<f64>();
        for (i, weight) in mix.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return i + 1;
            }
        }
        most
    }
}

/// Writes the rationale: every step with a drawn lead and verb, then the choice as in the prompt,
/// then the answer. The choice comes first, so that its letter continues a text of the prompt.
/// Small models learn it in no other way.
fn phrase(steps: &[RationaleStep], answer: &str, label: &str, rng: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    for RationaleStep { target, expression } in steps {
        let lead = LEADS[rng.random_range(0..LEADS.len())];
        let verb = VERBS[rng.random_range(0..VERBS.len())];
        text.push_str(&format!("{lead}, {verb} {target}: {expression}. "));
    }
    let opener = OPENERS[rng.random_range(0..OPENERS.len())];
    text.push_str(&format!("{opener} {answer} {label}: the answer is {answer} ({label})."));
    text
}

fn seed_bytes(seed: u64, split: TaskSplit, index: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    bytes[16] = split as u8;
    bytes
}

/// Two to five choices under letters in drawn order, without a story. Each is read off twice.
/// Looking up a letter takes very many examples to learn, and a story has only one. Some letters
/// are left out here, so that copying a letter of the prompt already helps.
fn letters(mut question: Question, rng: &mut ChaCha8Rng) -> Question {
    let count = rng.random_range(2..=CHOICES);
    let mut texts = question.choices.text;
    texts.shuffle(rng);
    texts.truncate(count);
    let mut labels = LABELS.map(str::to_owned).to_vec();
    labels.shuffle(rng);
    labels.truncate(count);
    let mut order: Vec<usize> = (0..2 * count).map(|i| i % count).collect();
    order.shuffle(rng);
    let read: Vec<String> =
        order.iter().map(|&i| format!(" {} {}:", texts[i], labels[i])).collect();
    question.question = "Which way?".to_owned();
    question.answer_key = order.last().map_or(String::new(), |&i| labels[i].clone());
    question.choices = Choices { label: labels, text: texts };
    question.cot = Some(read.concat());
    question.steps = Some(0);
    question
}

/// FNV-1a with a final mix. The same in all builds and on all machines.
fn hash(text: &str) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}
