//! The LLM's probability of its own token, at every position of labelled paths.

use tokenroute_core::{Ask, LabelRow, Llm, LlmError, TokenId};

use crate::labeller::Context;
use crate::{Item, LabelError};

impl<S, L: Llm + ?Sized> Context<'_, '_, S, L> {
    /// Asks the LLM along the paths of the rows, which are ordered by item, then by position, and
    /// fills the probabilities in.
    pub(crate) fn fill_probabilities(
        &self,
        items: &[Item<'_>],
        rows: &mut [LabelRow],
    ) -> Result<(), LabelError> {
        let mut paths: Vec<&mut [LabelRow]> =
            rows.chunk_by_mut(|a, b| (&a.question, &a.split) == (&b.question, &b.split)).collect();
        let by_id = |rows: &&mut [LabelRow]| {
            let same = |row: &LabelRow, item: &Item<'_>| {
                row.question == item.question.id && row.split == item.split
            };
            items.iter().find(|item| rows.first().is_some_and(|row| same(row, item)))
        };
        let prompts: Vec<&[TokenId]> =
            paths.iter().map(|rows| by_id(rows).map_or(&[][..], |item| &item.prompt)).collect();
        // A row's `previous` is the token taken before it.
        let contexts: Vec<Vec<TokenId>> = paths
            .iter()
            .zip(&prompts)
            .map(|(rows, prompt)| {
                prompt.iter().copied().chain(rows[1..].iter().map(|row| row.previous)).collect()
            })
            .collect();
        let asks: Vec<Ask<'_>> = contexts
            .iter()
            .zip(&prompts)
            .map(|(context, prompt)| Ask::greedy(context, prompt.len()).with_top(1))
            .collect();
        let mut replies = self.labeller.llm.ask(&asks).into_iter();
        for rows in &mut paths {
            let question = || rows.first().map(|row| row.question.clone()).unwrap_or_default();
            let failed = |source| LabelError::Llm { question: question(), source };
            let none = || Err(LlmError::BadReply("no reply to this ask".to_owned()));
            let reply = replies.next().unwrap_or_else(none).map_err(failed)?;
            self.metered.llm(reply.positions);
            let greatest: Vec<f32> =
                reply.top.iter().filter_map(|top| top.first()).map(|top| top.1).collect();
            if greatest.len() != rows.len() {
                return Err(LabelError::NoProbabilities { question: question() });
            }
            for (row, p) in rows.iter_mut().zip(greatest) {
                row.llm_probability = Some(p);
            }
        }
        Ok(())
    }
}
