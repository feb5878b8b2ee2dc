//! Examples and their order: pools of examples, sorted by length, cut into batches of nearly
//! equal token counts, shuffled. A pool is a function of its first index and the configuration.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::TrainConfig;
use crate::error::PairError;

/// A question and its answer as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Tokens that are given.
    pub prompt: Vec<u32>,
    /// Tokens to be learnt; ends with the end token.
    pub answer: Vec<u32>,
}

/// Where training examples come from.
pub trait ExampleSource: Sync {
    /// The example of an index, with at most `max_steps` reasoning steps; a pure function.
    ///
    /// # Errors
    /// [`PairError::Example`] if it cannot be made.
    fn example(&self, index: u64, max_steps: u32) -> Result<Example, PairError>;
}

/// One example as the engines see it.
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
        example: Example,
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

    /// What the model reads: everything but the last token.
    #[must_use]
    pub fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len() - 1]
    }

    /// The input position whose successor is the first answer token.
    #[must_use]
    pub fn first_target(&self) -> usize {
        self.prompt - 1
    }

    /// The answer: successors of the inputs from `first_target` on.
    #[must_use]
    pub fn targets(&self) -> &[u32] {
        &self.ids[self.prompt..]
    }
}

/// Examples drawn together.
#[derive(Debug)]
pub struct Pool {
    /// Batches in training order.
    pub batches: Vec<Vec<Sequence>>,
    /// Index after the pool's last example.
    pub end: u64,
}

impl Pool {
    /// Draws the pool that begins at example `start` when the run is at optimizer step `step`.
    ///
    /// # Errors
    /// What the source reports, or [`PairError::Example`] for an example that does not fit.
    pub fn draw(
        config: &TrainConfig,
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
            // The middle of the sequence decides, so that batches differ by half a sequence.
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
