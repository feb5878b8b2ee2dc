//! Prompts in both forms: the SLM's tokens, and what the LLM reads. Each model has its own chat
//! template, so one form cannot be made from the other.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokenroute_core::TokenId;

use crate::prefixes::shared;

/// A prompt as an LLM reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LlmPrompt {
    /// In tokens of the LLM.
    Tokens(Vec<TokenId>),
    /// As a text, which the server tokenises.
    Text(String),
    /// As messages, to which the server applies its chat template: role and content of each.
    Chat(Vec<(String, String)>),
}

/// The prompts that an LLM of text knows, by the SLM's tokens.
#[derive(Debug)]
pub struct Prompts {
    known: Mutex<Known>,
    most: usize,
}

#[derive(Debug, Default)]
struct Known {
    /// Each with the time of its last use.
    prompts: BTreeMap<Box<[TokenId]>, (u64, Arc<LlmPrompt>)>,
    clock: u64,
}

impl Prompts {
    /// Room for `most` prompts, at least one. The least recently used one is dropped first.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Prompts { known: Mutex::default(), most: most.max(1) }
    }

    /// Names what the LLM reads for a prompt of the SLM. The latest announcement counts.
    pub fn announce(&self, prompt: &[TokenId], read: LlmPrompt) {
        let mut known = self.lock();
        known.clock += 1;
        let now = known.clock;
        known.prompts.insert(prompt.into(), (now, Arc::new(read)));
        while known.prompts.len() > self.most {
            let oldest = known.prompts.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(prompt, _)| prompt.clone()) else { return };
            known.prompts.remove(&oldest);
        }
    }

    /// What the LLM reads for a prompt, if it was announced.
    pub fn known(&self, prompt: &[TokenId]) -> Option<Arc<LlmPrompt>> {
        self.find(prompt).filter(|(length, _)| *length == prompt.len()).map(|(_, read)| read)
    }

    /// The longest known prompt that a context begins with, and its length.
    pub(crate) fn find(&self, context: &[TokenId]) -> Option<(usize, Arc<LlmPrompt>)> {
        let mut known = self.lock();
        known.clock += 1;
        let now = known.clock;
        let mut upto = context;
        loop {
            let to = Bound::Included(upto);
            let (prompt, entry) =
                known.prompts.range_mut::<[TokenId], _>((Bound::Unbounded, to)).next_back()?;
            let same = shared(prompt, context);
            if same == prompt.len() {
                entry.0 = now;
                return Some((same, Arc::clone(&entry.1)));
            }
            // Any other prompt of this context is as short as what both share.
            upto = &context[..same];
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_its_longest_prompt() {
        let prompts = Prompts::new(4);
        for known in [&[1][..], &[1, 2], &[1, 2, 0, 9], &[3, 3]] {
            prompts.announce(known, LlmPrompt::Tokens(known.to_vec()));
        }
        for (context, length) in [
            (&[1, 2, 3][..], Some(2)),
            (&[1, 2, 0, 9], Some(4)),
            (&[1, 2, 0, 8], Some(2)),
            (&[1, 9, 9], Some(1)),
            (&[2], None),
            (&[3], None),
            (&[3, 3, 3], Some(2)),
            (&[], None),
        ] {
            assert_eq!(prompts.find(context).map(|(length, _)| length), length, "{context:?}");
        }
        // [2] is new, and [1, 2, 0, 9] was used longest ago but for [1].
        prompts.find(&[1]);
        prompts.announce(&[2], LlmPrompt::Text("two".into()));
        let kept = |context: &[TokenId]| prompts.find(context).map(|(length, _)| length);
        assert_eq!((kept(&[2, 2]), kept(&[1, 2, 0, 9])), (Some(1), Some(2)));
    }
}
