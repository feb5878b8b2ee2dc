//! A local decoder as the rest of the workspace sees it: states that fork, and
//! steps that say what the model would emit at a position.

use std::sync::Arc;

/// An index into the pair's shared vocabulary.
pub type TokenId = u32;

/// What a model says at one position, about the token that comes next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The greedy token: the argmax of the logits, ties to the lowest id.
    pub token: TokenId,
    /// The most probable tokens with their probabilities, best first; empty
    /// with [`Detail::Token`].
    pub top: Vec<(TokenId, f32)>,
    /// The logits of `top`, in its order.
    pub top_logits: Vec<f32>,
    /// Entropy of the next-token distribution, in nats; 0 with [`Detail::Token`].
    pub entropy: f32,
    /// Probability of all tokens but the greedy one. It is summed without the greedy token,
    /// so that probabilities near 1 do not tie; 1 with [`Detail::Token`].
    pub rest: f64,
    /// Hidden state `[hidden]` after the final norm, before the LM head; empty
    /// with [`Detail::Token`].
    pub hidden: Arc<[f32]>,
    /// All logits `[vocabulary]`, only with [`Detail::Logits`].
    pub logits: Option<Vec<f32>>,
}

impl Step {
    /// Probability of the greedy token.
    #[must_use]
    pub fn max_probability(&self) -> f64 {
        1.0 - self.rest
    }

    /// Probability of the greedy token less that of the runner-up.
    #[must_use]
    pub fn margin(&self) -> f64 {
        self.max_probability() - self.top.get(1).map_or(0.0, |t| f64::from(t.1))
    }
}

/// How much of a step is wanted; less is cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only the greedy token.
    Token,
    /// Token, top-k, entropy and hidden state.
    Full,
    /// Everything, all logits included.
    Logits,
}

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// How the user named it, usually its directory.
    pub name: String,
    /// Hash over its weights, hexadecimal.
    pub weights_hash: String,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Number of logits.
    pub vocabulary: usize,
    /// Most positions a state may hold.
    pub context: usize,
    /// How many of the most probable tokens a step carries.
    pub top_k: usize,
}

/// New tokens for one sequence of a ragged batch.
#[derive(Debug)]
pub struct Feed<'a, S> {
    /// The sequence's state; the tokens are appended to it.
    pub state: &'a mut S,
    /// The tokens to append; at least one.
    pub tokens: &'a [TokenId],
    /// Steps are wanted at `tokens[from..]`; `tokens.len() - 1` asks for the
    /// last one only.
    pub from: usize,
}

/// A decoder that runs here. The bits of a step depend on its own prefix alone,
/// never on what else is in the batch.
pub trait LanguageModel: Sync {
    /// The committed positions of one sequence. Cloning shares the prefix; a
    /// clone never changes its parent.
    type State: Clone + Send + Sync;

    /// Facts about this model.
    fn info(&self) -> &ModelInfo;

    /// A state with no positions.
    fn start(&self) -> Self::State;

    /// Number of positions in a state.
    fn positions(&self, state: &Self::State) -> usize;

    /// Bytes of a position in a state. A state may have room for up to 31 positions more than
    /// it holds. 0 if states take no memory worth counting.
    fn position_bytes(&self) -> usize {
        0
    }

    /// Forgets every position from `len` on. Does nothing if there are none.
    fn truncate(&self, state: &mut Self::State, len: usize);

    /// Appends each feed's tokens to its state and returns, per feed, one step
    /// for each of `tokens[from..]`.
    ///
    /// # Errors
    /// A token outside the vocabulary, an empty feed, a context overrun, or a
    /// failure of the backend; states are then unspecified.
    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError>;

    /// As [`LanguageModel::advance`], with a result for each feed: a failure that one feed
    /// caused leaves the others whole. The state of a failed feed is then unspecified.
    ///
    /// The provided method gives every failure to all feeds.
    fn advance_each(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Vec<Result<Vec<Step>, ModelError>> {
        match self.advance(feeds, detail) {
            Ok(steps) => steps.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); feeds.len()],
        }
    }
}

impl<M: LanguageModel> LanguageModel for &M {
    type State = M::State;

    fn info(&self) -> &ModelInfo {
        (**self).info()
    }

    fn start(&self) -> Self::State {
        (**self).start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        (**self).positions(state)
    }

    fn position_bytes(&self) -> usize {
        (**self).position_bytes()
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        (**self).truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        (**self).advance(feeds, detail)
    }

    fn advance_each(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Vec<Result<Vec<Step>, ModelError>> {
        (**self).advance_each(feeds, detail)
    }
}

impl<M: LanguageModel + Send> LanguageModel for Arc<M> {
    type State = M::State;

    fn info(&self) -> &ModelInfo {
        (**self).info()
    }

    fn start(&self) -> Self::State {
        (**self).start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        (**self).positions(state)
    }

    fn position_bytes(&self) -> usize {
        (**self).position_bytes()
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        (**self).truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        (**self).advance(feeds, detail)
    }

    fn advance_each(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Vec<Result<Vec<Step>, ModelError>> {
        (**self).advance_each(feeds, detail)
    }
}

/// Why a model could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A token id that the model has no row for.
    #[error("token id {token} is outside the vocabulary of {vocabulary} of {model}")]
    TokenOutOfRange {
        /// The offending id.
        token: TokenId,
        /// Size of the vocabulary.
        vocabulary: usize,
        /// The model's name.
        model: String,
    },
    /// More positions than the model was made for.
    #[error(
        "{positions} positions exceed the context of {context} of {model}; shorten the prompt or the answer"
    )]
    ContextOverrun {
        /// Positions the call would have led to.
        positions: usize,
        /// The model's limit.
        context: usize,
        /// The model's name.
        model: String,
    },
    /// A feed without tokens, or with `from` past its end.
    #[error("a feed of {tokens} tokens cannot give steps from {from}; give at least one token")]
    BadFeed {
        /// Tokens in the feed.
        tokens: usize,
        /// Where steps were asked from.
        from: usize,
    },
    /// Logits or hidden states that are not numbers.
    #[error(
        "{model} gave a value that is not a finite number at position {position}; its weights may be damaged"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// Position in the sequence.
        position: usize,
    },
    /// Anything the backend says.
    #[error("{model}: {message}")]
    Backend {
        /// The model's name.
        model: String,
        /// The backend's words.
        message: String,
    },
}
