//! Pair-training questions as tokens, for the trainer.

use super::{Generator, Split};
use crate::error::PairError;
use crate::tokenizer::{PairTokenizer, TokenizerError};
use crate::training::{Example, ExampleSource};

/// Pair-training questions, drawn and tokenised on demand.
#[derive(Debug)]
pub struct WordProblems {
    /// Draws the questions.
    pub generator: Generator,
    /// Encodes prompt and answer, each on its own.
    pub tokenizer: PairTokenizer,
}

impl WordProblems {
    fn encode(&self, index: u64, max_steps: u32) -> Result<Example, TokenizerError> {
        let question = self.generator.sample(Split::PairTrain, index, max_steps);
        let prompt = self.tokenizer.encode(&question.prompt())?;
        let mut answer = self.tokenizer.encode(&question.cot.unwrap_or_default())?;
        answer.push(self.tokenizer.eos());
        Ok(Example { prompt, answer })
    }
}

impl ExampleSource for WordProblems {
    fn example(&self, index: u64, max_steps: u32) -> Result<Example, PairError> {
        self.encode(index, max_steps)
            .map_err(|e| PairError::Example { index, reason: e.to_string() })
    }
}
