//! Labels one batch of questions in memory.

use tokenroute_core::{LabelRow, LanguageModel, Llm, TokenId};

use crate::labeller::Context;
use crate::{Item, LabelError, Labeller, Reference, Round, on_policy, reference, walk};

/// The rows of a batch and their cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Batch {
    /// Ordered by item, then by position.
    pub rows: Vec<LabelRow>,
    pub slm_positions: u64,
    pub llm_positions: u64,
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Labels a batch in memory. Rows are ordered by item, then by position.
    ///
    /// # Errors
    /// A model that fails, a score that is not a number, a missing rationale, or settings that do
    /// not fit together.
    pub fn label(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
    ) -> Result<Vec<LabelRow>, LabelError> {
        self.check(items, round.number())?;
        Ok(self.batch(items, round)?.rows)
    }

    /// The answers along which round 0 labels, with their end tokens. Those of a walk are not
    /// known before it.
    ///
    /// # Errors
    /// An LLM that fails, or a missing rationale.
    pub fn answers(&self, items: &[Item<'_>]) -> Result<Vec<Vec<TokenId>>, LabelError> {
        self.check(items, 0)?;
        let answers = reference::answers(&Context::new(self), items);
        items.iter().for_each(|item| self.llm.forget(&item.prompt));
        answers
    }

    pub(crate) fn batch(&self, items: &[Item<'_>], round: &Round<'_>) -> Result<Batch, LabelError> {
        let context = Context::new(self);
        let rows = match round {
            Round::Reference if self.config.reference == Reference::Walk => {
                walk::label(&context, items)
            }
            Round::Reference => reference::label(&context, items),
            Round::OnPolicy { number, scorer, tau, .. } => {
                on_policy::label(&context, items, *number, *scorer, *tau)
            }
        };
        let rows = rows.and_then(|mut rows| {
            if self.config.llm_probabilities {
                context.fill_probabilities(items, &mut rows)?;
            }
            Ok(rows)
        });
        // A batch that is made again costs what it costs the first time.
        items.iter().for_each(|item| self.llm.forget(&item.prompt));
        let rows = rows?;
        let [slm_positions, llm_positions] = context.finish()?;
        Ok(Batch { rows, slm_positions, llm_positions })
    }

    /// Checks the settings, the prompts and that no question comes twice.
    pub(crate) fn check(&self, items: &[Item<'_>], round: u32) -> Result<(), LabelError> {
        self.config.check(round)?;
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
