//! A pair of models with one vocabulary. Only here do the SLM's end tokens become canonical.

use tokenroute_core::{Detail, Feed, LanguageModel, Llm, ModelError, Step, Vocabulary};

/// One SLM and one LLM that share a tokenizer.
#[derive(Debug)]
pub struct Pair<'a, S, L: ?Sized> {
    /// The small model. It runs in this process.
    pub slm: &'a S,
    /// The large model, in process or on a server.
    pub llm: &'a L,
    /// Facts about the shared token ids.
    pub vocabulary: &'a Vocabulary,
}

impl<S, L: ?Sized> Clone for Pair<'_, S, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, L: ?Sized> Copy for Pair<'_, S, L> {}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Pair<'a, S, L> {
    /// Combines the models and their vocabulary.
    pub fn new(slm: &'a S, llm: &'a L, vocabulary: &'a Vocabulary) -> Self {
        Pair { slm, llm, vocabulary }
    }
}

/// [`LanguageModel::advance`] with canonical tokens: all end tokens become one.
///
/// # Errors
/// Errors of the model.
pub fn advance_canonical<M: LanguageModel>(
    model: &M,
    vocabulary: &Vocabulary,
    feeds: &mut [Feed<'_, M::State>],
    detail: Detail,
) -> Result<Vec<Vec<Step>>, ModelError> {
    let mut steps = model.advance(feeds, detail)?;
    make_canonical(steps.iter_mut().flatten(), vocabulary);
    Ok(steps)
}

/// [`LanguageModel::advance_each`] with canonical tokens.
pub(crate) fn advance_each_canonical<M: LanguageModel>(
    model: &M,
    vocabulary: &Vocabulary,
    feeds: &mut [Feed<'_, M::State>],
    detail: Detail,
) -> Vec<Result<Vec<Step>, ModelError>> {
    let mut steps = model.advance_each(feeds, detail);
    make_canonical(steps.iter_mut().flatten().flatten(), vocabulary);
    steps
}

fn make_canonical<'s>(steps: impl Iterator<Item = &'s mut Step>, vocabulary: &Vocabulary) {
    for step in steps {
        step.token = vocabulary.canonical(step.token);
    }
}
