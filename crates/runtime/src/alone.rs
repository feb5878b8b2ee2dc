//! One model answering alone, greedily and in batches.

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, Run, Runs, TokenId, Vocabulary};

use crate::{DEFAULT_BATCH, advance_canonical};

/// Where an answer is continued from.
#[derive(Debug, Clone)]
pub struct Start<S> {
    /// Positions already processed.
    pub state: S,
    /// Tokens that follow them and are not processed yet; at least one.
    pub tokens: Vec<TokenId>,
    /// Most tokens to generate.
    pub max_tokens: usize,
}

/// The greedy answers of one model to many prompts, an end token (canonical)
/// included where it was reached within `max_tokens`.
///
/// # Errors
/// What the model reports; an empty prompt is a [`ModelError::BadFeed`].
pub fn greedy<M: LanguageModel, P: AsRef<[TokenId]>>(
    model: &M,
    vocabulary: &Vocabulary,
    prompts: &[P],
    max_tokens: usize,
) -> Result<Vec<Vec<TokenId>>, ModelError> {
    let starts = prompts.iter().map(|prompt| Start {
        state: model.start(),
        tokens: prompt.as_ref().to_vec(),
        max_tokens,
    });
    extend(model, vocabulary, starts)
}

/// Greedy continuations from states that may already hold positions, in the
/// order of `starts`. At most [`DEFAULT_BATCH`] run at a time, and a start is
/// only drawn when its turn comes, so a lazy iterator keeps memory low. A model
/// that gives many tokens in one call ([`LanguageModel::run`]) is asked for all.
///
/// # Errors
/// What the model reports.
pub fn extend<M: LanguageModel>(
    model: &M,
    vocabulary: &Vocabulary,
    starts: impl IntoIterator<Item = Start<M::State>>,
) -> Result<Vec<Vec<TokenId>>, ModelError> {
    let mut starts = starts.into_iter().enumerate();
    let mut answers: Vec<Vec<TokenId>> = Vec::new();
    let mut running: Vec<(usize, Start<M::State>)> = Vec::new();
    loop {
        while running.len() < DEFAULT_BATCH
            && let Some((i, start)) = starts.next()
        {
            answers.push(Vec::new());
            if start.max_tokens > 0 {
                running.push((i, start));
            }
        }
        if running.is_empty() {
            return Ok(answers);
        }
        let mut runs: Vec<_> = running
            .iter_mut()
            .map(|(i, Start { state, tokens, max_tokens })| {
                let most = *max_tokens - answers[*i].len();
                Run { state, tokens, most }
            })
            .collect();
        let said = model.run(&mut runs, vocabulary);
        let mut said = said.unwrap_or_else(|| step(model, vocabulary, &mut runs))?.into_iter();
        running.retain_mut(|(i, start)| {
            let Some(run) = said.next() else { return false };
            answers[*i].extend(run.iter().map(|&token| vocabulary.canonical(token)));
            let Some(&last) = answers[*i].last() else { return false };
            start.tokens.clear();
            start.tokens.push(last);
            !vocabulary.is_end(last) && answers[*i].len() < start.max_tokens
        });
    }
}

/// One token of each, in one call.
fn step<M: LanguageModel>(
    model: &M,
    vocabulary: &Vocabulary,
    runs: &mut [Run<'_, M::State>],
) -> Runs {
    let mut feeds: Vec<_> = runs
        .iter_mut()
        .map(|run| Feed {
            from: run.tokens.len().saturating_sub(1),
            state: &mut *run.state,
            tokens: run.tokens,
        })
        .collect();
    let steps = advance_canonical(model, vocabulary, &mut feeds, Detail::Token)?;
    Ok(steps.iter().map(|steps| steps.iter().map(|step| step.token).collect()).collect())
}
