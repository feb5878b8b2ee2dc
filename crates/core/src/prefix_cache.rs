//! Keeps decoder states of earlier sequences, so that a prompt with the same beginning
//! needs prefill only for its new tokens.

use crate::{LanguageModel, TokenId};

/// Positions of a decoder's block, of which a state takes whole ones.
const BLOCK: usize = 32;

/// Decoder states by their tokens. Holds at most `limit` positions in all, in at most one state
/// for every 32 of them, and drops the least recently used states first. So the unused parts of
/// their blocks have at most another `limit` positions.
#[derive(Debug)]
pub struct PrefixCache<S> {
    limit: usize,
    positions: usize,
    entries: Vec<(Vec<TokenId>, S)>,
}

impl<S: Clone> PrefixCache<S> {
    /// An empty cache. With a limit of 0 it stays empty.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        PrefixCache { limit, positions: 0, entries: Vec::new() }
    }

    /// Returns a state that holds the longest cached prefix of `tokens`, and its length. At
    /// most `most` positions are taken. Without a match the state is new and the length 0.
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

    /// Stores a state that holds exactly `tokens`. It replaces every state that holds a
    /// prefix of them.
    pub fn keep(&mut self, tokens: Vec<TokenId>, state: S) {
        let known = |(known, _): &(Vec<TokenId>, S)| known.starts_with(&tokens);
        if tokens.len() > self.limit || self.entries.iter().any(known) {
            return;
        }
        self.entries.retain(|(known, _)| !tokens.starts_with(known));
        self.entries.push((tokens, state));
        self.positions = self.entries.iter().map(|(known, _)| known.len()).sum();
        let most = self.limit.div_ceil(BLOCK);
        while self.positions > self.limit || self.entries.len() > most {
            self.positions -= self.entries.remove(0).0.len();
        }
    }
}
