//! An LLM as a writer: it goes on with texts.

use tokenroute_core::{Bytes, LlmError, Sampling};

use super::LlmPrompt;

/// A text to go on with.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The prompt, as this LLM reads it.
    pub prompt: &'a LlmPrompt,
    /// The answer so far, of whole characters.
    pub text: &'a str,
    /// How tokens are drawn; greedy if `None`.
    pub sampling: Option<Sampling>,
}

/// What an LLM goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The text after the begun one.
    pub text: String,
    /// Whether the answer ends with it.
    pub ended: bool,
    /// Whether the end of the begun text was spelled in other tokens than the LLM's tokenizer
    /// gives for it.
    pub respelled: bool,
    /// Calls of the LLM.
    pub requests: u64,
    /// Positions that it processed, in its own tokens.
    pub positions: u64,
    /// What crossed a network.
    pub bytes: Bytes,
}

/// An LLM that goes on with texts. What it writes is a function of prompt and text.
pub trait Writer: Sync {
    /// Goes on with each text until `enough` is true of what was written, the answer ends, or
    /// a limit of the writer is reached.
    fn write(
        &self,
        begun: &[Begun<'_>],
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<Result<Written, LlmError>>;

    /// No further text begins with this prompt.
    fn forget(&self, prompt: &LlmPrompt);
}
