//! A model's predictions along given answers.

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, Step, TokenId, Vocabulary};

use crate::advance_canonical;

/// Most positions in one call of the model.
const POSITIONS_PER_CALL: usize = 8192;

/// One teacher-forced answer.
#[derive(Debug, Clone)]
pub struct TeacherForced<S> {
    /// The model's step at each position of the answer, `[answer]`. Step `i` predicts
    /// `answer[i]`. Tokens are canonical.
    pub steps: Vec<Step>,
    /// The model's state after the prompt and all but the last answer token.
    pub state: S,
}

/// Runs the model over (prompt, answer) pairs in batches: one pass for each answer instead of
/// one call for each token. An empty answer has no steps.
///
/// # Errors
/// Errors of the model. An empty prompt is a [`ModelError::BadFeed`].
pub fn teacher_forcing<M: LanguageModel>(
    model: &M,
    vocabulary: &Vocabulary,
    answers: &[(&[TokenId], &[TokenId])],
    detail: Detail,
) -> Result<Vec<TeacherForced<M::State>>, ModelError> {
    let mut all = Vec::with_capacity(answers.len());
    let mut rest = answers;
    while !rest.is_empty() {
        let mut positions = 0;
        let fit = rest
            .iter()
            .take_while(|(prompt, answer)| {
                positions += prompt.len() + answer.len();
                positions <= POSITIONS_PER_CALL
            })
            .count();
        let (now, later) = rest.split_at(fit.max(1));
        rest = later;
        let inputs: Vec<Vec<TokenId>> = now
            .iter()
            .map(|(prompt, answer)| {
                let known = &answer[..answer.len().saturating_sub(1)];
                [*prompt, known].concat()
            })
            .collect();
        let mut states: Vec<M::State> = now.iter().map(|_| model.start()).collect();
        let mut feeds: Vec<_> = states
            .iter_mut()
            .zip(&inputs)
            .zip(now)
            .map(|((state, tokens), (prompt, _))| Feed {
                state,
                tokens,
                from: prompt.len().saturating_sub(1),
            })
            .collect();
        let steps = advance_canonical(model, vocabulary, &mut feeds, detail)?;
        all.extend(steps.into_iter().zip(states).zip(now).map(|((mut steps, state), (_, a))| {
            steps.truncate(a.len());
            TeacherForced { steps, state }
        }));
    }
    Ok(all)
}
