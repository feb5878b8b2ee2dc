//! Training examples and their order. Examples are drawn in pools, sorted by length, split into
//! batches of nearly equal token counts, and shuffled. A pool is a function of its first index
//! and the configuration.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::PairTrainConfig;
use crate::error::PairError;

/// A question and its answer as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingExample {
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Answer tokens to learn, with the end token last.
    pub answer: Vec<u32>,
}

/// A source of training examples.
pub trait ExampleSource: Sync {
    /// The example of an index, with at most `max_steps` reasoning steps. Must be a pure
    /// function.
    ///
    /// # Errors
    /// [`PairError::Example`] if there is no such example.
    fn example(&self, index: u64, max_steps: u32) -> Result<TrainingExample, PairError>;
}

/// One example in the form that the engines read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    ids: Vec<u32>,
    prompt: usize,
}

impl Sequence {
    /// Checks an example against the model's limits.
    ///
    /// # Errors
    /// [`PairError::Example`] if a part is empty, too long, or outside the vocabulary.
    pub fn new(
        index: u64,
        example: TrainingExample,
        longest: usize,
        vocab: usize,
    ) -> Result<Self, PairError> {
        let prompt = example.prompt.len();
        let mut ids = example.prompt;
        ids.extend(example.answer);
        let reason = if prompt == 0 || ids.len() == prompt {
            "prompt and answer must have at least one token each".to_owned()
        } else if ids.len() > longest + 1 {
            format!("{} tokens, but max_position_embeddings is {longest}", ids.len())
        } else if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            format!("token {id} is outside the vocabulary of {vocab}; set model.vocab_size")
        } else {
            return Ok(Self { ids, prompt });
        };
        Err(PairError::Example { index, reason })
    }

    /// The model's input: all tokens but the last.
    #[must_use]
    pub fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len() - 1]
    }

    /// The input position before the first answer token.
    #[must_use]
    pub fn first_target(&self) -> usize {
        self.prompt - 1
    }

    /// The answer: the tokens after the inputs from `first_target` on.
    #[must_use]
    pub fn targets(&self) -> &[u32] {
        &self.ids[self.prompt..]
    }
}

/// Examples drawn together.
#[derive(Debug)]
pub struct ExamplePool {
    /// Batches in training order.
    pub batches: Vec<Vec<Sequence>>,
    /// Index after the pool's last example.
    pub end: u64,
}

impl ExamplePool {
    /// Draws the pool that starts at example `start`, at optimizer step `step`.
    ///
    /// # Errors
    /// The source's error, or [`PairError::Example`] for an example that does not fit.
    pub fn draw(
        config: &PairTrainConfig,
        source: &dyn ExampleSource,
        start: u64,
        step: u64,
    ) -> Result<Self, PairError> {
        let stage = config.stage_at(step);
        let wanted = config.batch_tokens * config.pool_batches;
        let (longest, vocab) = (config.model.max_position_embeddings, config.model.vocab_size);
        let (mut sequences, mut tokens, mut end) = (Vec::new(), 0, start);
        while tokens < wanted || sequences.len() < config.pool_batches {
            let example = source.example(end, stage.max_steps_of(end))?;
            let sequence = Sequence::new(end, example, longest, vocab)?;
            tokens += sequence.inputs().len();
            sequences.push(sequence);
            end += 1;
        }
        sequences.sort_by_key(|sequence| sequence.inputs().len());
        let mut batches = vec![Vec::new(); config.pool_batches];
        let mut taken = 0;
        for sequence in sequences {
            // A sequence goes to the batch of its middle token, so batches differ by at most half
            // a sequence.
            let middle = taken + sequence.inputs().len() / 2;
            taken += sequence.inputs().len();
            let batch = (middle * config.pool_batches / tokens.max(1)).min(config.pool_batches - 1);
            batches[batch].push(sequence);
        }
        batches.retain(|batch| !batch.is_empty());
        batches.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed ^ start.rotate_left(32)));
        Ok(Self { batches, end })
    }
}
