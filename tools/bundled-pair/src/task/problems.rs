//! Turns pair-training questions into tokens for the trainer.

use super::{Generator, TaskSplit};
use crate::error::PairError;
use crate::tokenizer::{PairTokenizer, TokenizerError};
use crate::training::{ExampleSource, TrainingExample};

/// Draws and tokenises pair-training questions on demand.
#[derive(Debug)]
pub struct WordProblems {
    /// Draws the questions.
    pub generator: Generator,
    /// Encodes prompt and answer separately.
    pub tokenizer: PairTokenizer,
}

impl WordProblems {
    fn encode(&self, index: u64, max_steps: u32) -> Result<TrainingExample, TokenizerError> {
        let question = self.generator.sample(TaskSplit::PairTrain, index, max_steps);
        let prompt = self.tokenizer.encode(&question.prompt())?;
        let mut answer = self.tokenizer.encode(&question.cot.unwrap_or_default())?;
        answer.push(self.tokenizer.eos());
        Ok(TrainingExample { prompt, answer })
    }
}

impl ExampleSource for WordProblems {
    fn example(&self, index: u64, max_steps: u32) -> Result<TrainingExample, PairError> {
        self.encode(index, max_steps)
            .map_err(|e| PairError::Example { index, reason: e.to_string() })
    }
}
