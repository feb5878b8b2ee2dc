//! The beginning that all prompts of an experiment share, read once.

use std::sync::OnceLock;

use crate::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};

/// A model that has read the common beginning of its prompts. A sequence that begins with it
/// goes on from a copy of that state, so a prompt costs its own part alone. Steps have the
/// same bits as the model's own.
#[derive(Debug)]
pub struct CommonPrefix<M: LanguageModel> {
    model: M,
    read: OnceLock<(Vec<TokenId>, M::State)>,
}

impl<M: LanguageModel> CommonPrefix<M> {
    /// A model that has read nothing.
    pub fn new(model: M) -> Self {
        CommonPrefix { model, read: OnceLock::new() }
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, which reads every prompt whole again.
    pub fn into_model(self) -> M {
        self.model
    }

    /// Reads the beginning. The first call counts; an empty prefix changes nothing.
    ///
    /// # Errors
    /// As [`LanguageModel::advance`].
    pub fn read(&self, prefix: &[TokenId]) -> Result<(), ModelError> {
        if prefix.is_empty() || self.read.get().is_some() {
            return Ok(());
        }
        let mut state = self.model.start();
        let feed = Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 };
        self.model.advance(&mut [feed], Detail::Token)?;
        self.read.get_or_init(|| (prefix.to_vec(), state));
        Ok(())
    }
}

/// The longest beginning that all prompts share. Each has at least one token after it.
#[must_use]
pub fn common_prefix<'p>(prompts: impl IntoIterator<Item = &'p [TokenId]>) -> &'p [TokenId] {
    let mut prompts = prompts.into_iter();
    let first: &[TokenId] = prompts.next().unwrap_or_default();
    let mut shared = &first[..first.len().saturating_sub(1)];
    for prompt in prompts {
        let same = shared.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        shared = &shared[..same.min(prompt.len().saturating_sub(1))];
    }
    shared
}

impl<M: LanguageModel> LanguageModel for CommonPrefix<M> {
    type State = M::State;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> Self::State {
        self.model.start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        self.model.positions(state)
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        self.model.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let Some((prefix, read)) = self.read.get() else {
            return self.model.advance(feeds, detail);
        };
        let mut rest: Vec<Feed<'_, Self::State>> = Vec::with_capacity(feeds.len());
        for Feed { state, tokens, from } in feeds.iter_mut() {
            let new = self.model.positions(state) == 0;
            // A step inside the prefix, or an empty feed, is the model's own matter.
            let known = if new && *from >= prefix.len() && tokens.starts_with(prefix) {
                **state = read.clone();
                prefix.len()
            } else {
                0
            };
            rest.push(Feed { state, tokens: &tokens[known..], from: *from - known });
        }
        self.model.advance(&mut rest, detail)
    }
}
