//! The labeller: a pair with settings. Its input: questions and rounds.

use std::cell::OnceCell;
use std::convert::Infallible;

use tokenroute_core::{Question, Scorer, Tau, TokenId, Vocabulary};

use crate::metered::PositionMeter;
use crate::{LabelConfig, LabelError};

/// One question to label.
#[derive(Debug, Clone)]
pub struct Item<'q> {
    /// The question.
    pub question: &'q Question,
    /// Name of its split.
    pub split: &'q str,
    /// Its prompt; at least one token.
    pub prompt: Vec<TokenId>,
    /// The rationale with its end token, for [`crate::Reference::Gold`].
    pub gold: Option<Vec<TokenId>>,
    /// Whether the cap on rollouts does not apply.
    pub uncapped: bool,
}

/// The states to label.
#[derive(Clone, Copy)]
pub enum Round<'a> {
    /// Round 0: along the reference answer. Rollouts continue with the LLM by default.
    Reference,
    /// The states that routed decoding visits (CITER's later iterations). Rollouts continue with
    /// the same policy by default.
    OnPolicy {
        /// Number of the round, from 1.
        number: u32,
        /// The current router.
        scorer: &'a dyn Scorer,
        /// Its threshold.
        tau: Tau,
        /// Hash of its file, for the manifest.
        router_hash: &'a str,
    },
}

impl Round<'_> {
    /// Number of the round; 0 is the reference path.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Round::Reference => 0,
            Round::OnPolicy { number, .. } => *number,
        }
    }
}

/// A pair of models with label settings.
pub struct Labeller<'a, S, L: ?Sized> {
    /// The small model.
    pub slm: &'a S,
    /// The large model. It should keep the KV cache of as many prompts as a shard has questions.
    pub llm: &'a L,
    /// Hash of the large model's weights, or of its name on a server.
    pub llm_hash: &'a str,
    /// Facts about the shared token ids.
    pub vocabulary: &'a Vocabulary,
    /// Text of answer tokens, which come without the end token.
    pub decode: &'a dyn Fn(&[TokenId]) -> String,
    /// Whether an answer is right, its text and whether it ended by itself being given; or why
    /// that cannot be said. [`tokenroute_core::grade`] for all graders but programs.
    pub grade: &'a dyn Fn(&Question, &str, bool) -> Result<bool, String>,
    /// Settings.
    pub config: LabelConfig,
    /// Folder that [`crate::keep_judgements`] filled, with one folder per round. A shard with
    /// kept judgements needs one pass of the SLM alone.
    pub kept: Option<&'a std::path::Path>,
}

/// The labeller and the cost so far, for one batch.
pub(crate) struct Context<'c, 'a, S, L: ?Sized> {
    pub labeller: &'c Labeller<'a, S, L>,
    pub metered: PositionMeter,
    /// Why an answer could not be graded, if one could not. Its grade is 0, and the batch fails.
    ungraded: OnceCell<LabelError>,
}

impl<'c, 'a, S, L: ?Sized> Context<'c, 'a, S, L> {
    pub(crate) fn new(labeller: &'c Labeller<'a, S, L>) -> Self {
        Context { labeller, metered: PositionMeter::default(), ungraded: OnceCell::new() }
    }

    /// Grade of an answer, 0 or 1.
    pub(crate) fn grade(&self, item: &Item<'_>, answer: &[TokenId]) -> f32 {
        if self.ungraded.get().is_some() {
            return 0.0;
        }
        let (text, ended) = self.text(answer);
        match (self.labeller.grade)(item.question, &text, ended) {
            Ok(right) => f32::from(u8::from(right)),
            Err(what) => {
                self.ungraded.get_or_init(|| LabelError::Ungraded { what });
                0.0
            }
        }
    }

    /// Positions of the SLM and of the LLM.
    ///
    /// # Errors
    /// An answer that could not be graded.
    pub(crate) fn finish(self) -> Result<[u64; 2], LabelError> {
        let positions = self.metered.positions();
        self.ungraded.into_inner().map_or(Ok(positions), Err)
    }

    /// Text of an answer up to its end, and whether it has one.
    pub(crate) fn text(&self, answer: &[TokenId]) -> (String, bool) {
        let decode = |ids: &[TokenId]| Ok::<_, Infallible>((self.labeller.decode)(ids));
        let Ok(read) = self.labeller.vocabulary.read(answer, decode);
        read
    }
}
