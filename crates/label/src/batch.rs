//! One batch of questions to label rows; files are another module's business.

use tokenroute_core::{
    LabelRow, LanguageModel, Llm, Question, Scorer, Tau, TokenId, Vocabulary, grade,
};

use crate::metered::PositionMeter;
use crate::{LabelConfig, LabelError, on_policy, reference};

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
}

/// Which states are labelled.
#[derive(Clone, Copy)]
pub enum Round<'a> {
    /// Round 0: those of the reference answer; rollouts go on with the LLM.
    Reference,
    /// Those that routed decoding visits; rollouts go on with the same policy
    /// (CITER's later iterations).
    OnPolicy {
        /// 1 onwards.
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
    /// 0 for the reference path.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Round::Reference => 0,
            Round::OnPolicy { number, .. } => *number,
        }
    }
}

/// A pair of models set up to label.
pub struct Labeller<'a, S, L: ?Sized> {
    /// The small model.
    pub slm: &'a S,
    /// The large model. Best if it keeps as many prompts as a shard has questions.
    pub llm: &'a L,
    /// Hash of the large model's weights, or of its name on a server.
    pub llm_hash: &'a str,
    /// Facts about the shared token ids.
    pub vocabulary: &'a Vocabulary,
    /// Text of answer tokens, which come without the end token.
    pub decode: &'a dyn Fn(&[TokenId]) -> String,
    /// Settings.
    pub config: LabelConfig,
}

/// The rows of a batch and what they cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Batch {
    /// By item, then by position.
    pub rows: Vec<LabelRow>,
    pub slm_positions: u64,
    pub llm_positions: u64,
}

/// What the rounds share: the labeller's parts and what they cost.
pub(crate) struct Context<'c, 'a, S, L: ?Sized> {
    pub labeller: &'c Labeller<'a, S, L>,
    pub metered: PositionMeter,
}

impl<S, L: ?Sized> Context<'_, '_, S, L> {
    /// Grade of an answer given in tokens, 0 or 1.
    pub(crate) fn grade(&self, item: &Item<'_>, answer: &[TokenId]) -> f32 {
        let text = match answer.split_last() {
            Some((&last, rest)) if self.labeller.vocabulary.is_end(last) => rest,
            _ => answer,
        };
        f32::from(u8::from(grade(item.question, &(self.labeller.decode)(text))))
    }
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Labels a batch in memory; rows come by item, then by position.
    ///
    /// # Errors
    /// A model that fails, a score that is not a number, or a missing rationale.
    pub fn label(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
    ) -> Result<Vec<LabelRow>, LabelError> {
        self.check(items)?;
        Ok(self.batch(items, round)?.rows)
    }

    pub(crate) fn batch(&self, items: &[Item<'_>], round: &Round<'_>) -> Result<Batch, LabelError> {
        let context = Context { labeller: self, metered: PositionMeter::default() };
        let rows = match round {
            Round::Reference => reference::label(&context, items),
            Round::OnPolicy { number, scorer, tau, .. } => {
                on_policy::label(&context, items, *number, *scorer, *tau)
            }
        };
        // A batch that is made again costs what it costs the first time.
        items.iter().for_each(|item| self.llm.forget(&item.prompt));
        let [slm_positions, llm_positions] = context.metered.positions();
        Ok(Batch { rows: rows?, slm_positions, llm_positions })
    }

    /// Refuses what would fail or double rows later.
    pub(crate) fn check(&self, items: &[Item<'_>]) -> Result<(), LabelError> {
        for (key, value) in [
            ("max_tokens", self.config.max_tokens),
            ("questions_per_shard", self.config.questions_per_shard),
        ] {
            if value == 0 {
                return Err(LabelError::Zero { key });
            }
        }
        let mut seen = std::collections::HashSet::new();
        for item in items {
            let question = item.question.id.clone();
            if item.prompt.is_empty() {
                return Err(LabelError::EmptyPrompt { question });
            }
            if !seen.insert((item.split, item.question.id.as_str())) {
                return Err(LabelError::Duplicate { question, split: item.split.to_owned() });
            }
        }
        Ok(())
    }
}
