//! States of sequences already read, so that a prompt that begins like an
//! earlier one pays only for what is new.

use crate::{LanguageModel, TokenId};

/// Kept states, the least recently used first; at most `limit` positions in all.
#[derive(Debug)]
pub struct Kept<S> {
    limit: usize,
    positions: usize,
    entries: Vec<(Vec<TokenId>, S)>,
}

impl<S: Clone> Kept<S> {
    /// Nothing yet; with a limit of 0, nothing ever.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Kept { limit, positions: 0, entries: Vec::new() }
    }

    /// A state that holds the longest known prefix of `tokens`, at most `most`
    /// positions of it, and how many those are.
    pub fn fork<M>(&mut self, model: &M, tokens: &[TokenId], most: usize) -> (S, usize)
    where
        M: LanguageModel<State = S>,
    {
        let shared = |known: &[TokenId]| {
            known.iter().zip(&tokens[..most.min(tokens.len())]).take_while(|(a, b)| a == b).count()
        };
        let best = (0..self.entries.len())
            .map(|i| (shared(&self.entries[i].0), i))
            .max()
            .filter(|&(held, _)| held > 0);
        let Some((held, i)) = best else { return (model.start(), 0) };
        let entry = self.entries.remove(i);
        let mut state = entry.1.clone();
        self.entries.push(entry);
        model.truncate(&mut state, held);
        (state, held)
    }

    /// Keeps a state that holds exactly `tokens`, instead of any that holds a
    /// prefix of them.
    pub fn keep(&mut self, tokens: Vec<TokenId>, state: S) {
        let known = |(known, _): &(Vec<TokenId>, S)| known.starts_with(&tokens);
        if tokens.len() > self.limit || self.entries.iter().any(known) {
            return;
        }
        self.entries.retain(|(known, _)| !tokens.starts_with(known));
        self.entries.push((tokens, state));
        self.positions = self.entries.iter().map(|(known, _)| known.len()).sum();
        while self.positions > self.limit && !self.entries.is_empty() {
            self.positions -= self.entries.remove(0).0.len();
        }
    }
}
