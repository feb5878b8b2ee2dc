//! What a scorer remembers of the earlier steps of an answer.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::Score;

/// What a scorer remembers after some steps of an answer: any value, shared by its clones. It
/// depends on the SLM's steps along the committed tokens alone, never on τ nor on which model made
/// a token. So it forks with the answer.
#[derive(Clone)]
pub struct ScorerState(Arc<dyn Any + Send + Sync>);

impl ScorerState {
    /// Holds a value.
    #[must_use]
    pub fn new<T: Send + Sync + 'static>(value: T) -> Self {
        ScorerState(Arc::new(value))
    }

    /// The value, if it has this type.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for ScorerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScorerState")
    }
}

/// A position's score, and what the scorer remembers from then on.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The score.
    pub score: Score,
    /// [`crate::Position::state`] of the next position, whatever token is committed at this one.
    pub state: Option<ScorerState>,
}

impl From<Score> for Scored {
    fn from(score: Score) -> Self {
        Scored { score, state: None }
    }
}
