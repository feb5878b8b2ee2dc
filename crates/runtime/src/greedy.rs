//! Greedy decoding with one model, in batches.

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, TokenId, Vocabulary};

use crate::{DEFAULT_BATCH, advance_canonical};

/// One answer in progress.
struct Answering<S> {
    index: usize,
    state: S,
    /// Tokens after the state that are not processed yet.
    pending: Vec<TokenId>,
}

/// The greedy answers of one model to many prompts. The token that ends an answer (an end token
/// is canonical) is included if it comes within `max_tokens`. At most [`DEFAULT_BATCH`] answers are decoded at a time.
///
/// # Errors
/// Errors of the model. An empty prompt is a [`ModelError::BadFeed`].
pub fn greedy<M: LanguageModel, P: AsRef<[TokenId]>>(
    model: &M,
    vocabulary: &Vocabulary,
    prompts: &[P],
    max_tokens: usize,
) -> Result<Vec<Vec<TokenId>>, ModelError> {
    let mut answers: Vec<Vec<TokenId>> = vec![Vec::new(); prompts.len()];
    let mut waiting = prompts.iter().map(AsRef::as_ref).enumerate();
    let mut running: Vec<Answering<M::State>> = Vec::new();
    if max_tokens == 0 {
        return Ok(answers);
    }
    loop {
        let begun = waiting.by_ref().take(DEFAULT_BATCH - running.len()).map(|(index, prompt)| {
            Answering { index, state: model.start(), pending: prompt.to_vec() }
        });
        running.extend(begun);
        if running.is_empty() {
            return Ok(answers);
        }
        let mut feeds: Vec<_> = running
            .iter_mut()
            .map(|Answering { state, pending, .. }| {
                let from = pending.len().saturating_sub(1);
                Feed { state, tokens: pending, from }
            })
            .collect();
        let steps = advance_canonical(model, vocabulary, &mut feeds, Detail::Token)?;
        let mut steps = steps.into_iter().flatten();
        running.retain_mut(|Answering { index, pending, .. }| {
            let Some(step) = steps.next() else { return false };
            let answer = &mut answers[*index];
            answer.push(step.token);
            *pending = vec![step.token];
            !vocabulary.closes(answer) && answer.len() < max_tokens
        });
    }
}
