//! The prompt and committed tokens of one trajectory. Decoding, labelling and sweeping all
//! build a scorer's position here, so their features are the same.

use tokenroute_core::{LlmStep, Position, Scored, ScorerState, Step, TokenId, Vocabulary};

/// One trajectory.
#[derive(Debug, Clone)]
pub struct Path<'v> {
    vocabulary: &'v Vocabulary,
    prompt: usize,
    tokens: Vec<TokenId>,
    /// What is in force at every committed token.
    opening: Vec<Opening>,
    /// The lowest score up to every committed token, its own included.
    lowest: Vec<f64>,
    /// What the scorer remembers after the step of every committed token, or of the last one alone
    /// ([`Path::keep_last_state`]). Empty as long as it remembers nothing.
    states: Vec<Option<ScorerState>>,
}

/// The SLM's entropy at the first token of the sentence and of the paragraph that contain a
/// position.
#[derive(Debug, Clone, Copy)]
struct Opening {
    sentence: f32,
    paragraph: f32,
}

impl<'v> Path<'v> {
    /// A trajectory without committed tokens. `prompt` holds at least one token.
    #[must_use]
    pub fn new(vocabulary: &'v Vocabulary, prompt: &[TokenId]) -> Self {
        Path {
            vocabulary,
            prompt: prompt.len(),
            tokens: prompt.to_vec(),
            opening: Vec::new(),
            lowest: Vec::new(),
            states: Vec::new(),
        }
    }

    /// Number of committed tokens, which is the index of the next position.
    #[must_use]
    pub fn index(&self) -> usize {
        self.opening.len()
    }

    /// Number of prompt tokens.
    #[must_use]
    pub fn prompt_len(&self) -> usize {
        self.prompt
    }

    /// Prompt and committed tokens.
    #[must_use]
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The committed tokens.
    #[must_use]
    pub fn answer(&self) -> &[TokenId] {
        &self.tokens[self.prompt..]
    }

    /// The token before the next position (the prompt's last at index 0).
    #[must_use]
    pub fn previous(&self) -> TokenId {
        self.tokens.last().copied().unwrap_or_default()
    }

    /// The entropies in force at position `index`. `step` is the SLM's step there.
    fn opening(&self, index: usize, step: &Step) -> Opening {
        if let Some(&recorded) = self.opening.get(index) {
            return recorded;
        }
        let here = Opening { sentence: step.entropy, paragraph: step.entropy };
        let (Some(&before), [front @ .., last]) = (self.opening.last(), self.answer()) else {
            return here;
        };
        let begins = self.vocabulary.ends_paragraph(front.last().copied(), *last);
        Opening {
            sentence: match self.vocabulary.ends_sentence(*last) {
                true => here.sentence,
                false => before.sentence,
            },
            paragraph: if begins { here.paragraph } else { before.paragraph },
        }
    }

    /// The next position as a scorer sees it. `step` is the SLM's step there.
    #[must_use]
    pub fn position<'a>(
        &'a self,
        question: &'a str,
        step: &'a Step,
        llm: Option<LlmStep<'a>>,
    ) -> Position<'a> {
        self.position_at(self.index(), question, step, llm)
    }

    /// An earlier position, `index` ≤ [`Path::index`], as it was before a token was committed
    /// there.
    #[must_use]
    pub fn position_at<'a>(
        &'a self,
        index: usize,
        question: &'a str,
        step: &'a Step,
        llm: Option<LlmStep<'a>>,
    ) -> Position<'a> {
        let Opening { sentence, paragraph } = self.opening(index, step);
        Position {
            question,
            index,
            previous: self.tokens[..self.prompt + index].last().copied().unwrap_or_default(),
            step,
            sentence_entropy: sentence,
            paragraph_entropy: paragraph,
            lowest: self.lowest_before(index),
            state: self.state_before(index),
            llm,
        }
    }

    /// The lowest score before position `index`.
    fn lowest_before(&self, index: usize) -> f64 {
        index.checked_sub(1).and_then(|last| self.lowest.get(last)).copied().unwrap_or(1.0)
    }

    /// What the scorer remembers before position `index`.
    fn state_before(&self, index: usize) -> Option<&ScorerState> {
        self.states.get(index.checked_sub(1)?)?.as_ref()
    }

    /// Commits a token at the next position, where `step` is the SLM's step and `scored` what the
    /// scorer says there, if it says it before the LLM is asked. Returns the committed token; end
    /// tokens become canonical.
    pub fn commit(&mut self, token: TokenId, step: &Step, scored: Option<&Scored>) -> TokenId {
        let token = self.vocabulary.canonical(token);
        let opening = self.opening(self.index(), step);
        let lowest = self.lowest_before(self.index());
        self.lowest.push(scored.map_or(lowest, |scored| lowest.min(scored.score.get())));
        let state = scored.and_then(|scored| scored.state.clone());
        if state.is_some() || !self.states.is_empty() {
            self.states.resize(self.index(), None);
            self.states.push(state);
        }
        self.opening.push(opening);
        self.tokens.push(token);
        token
    }

    /// Drops what the scorer remembered before the last committed token. The path must not be
    /// forked at an earlier position afterwards.
    pub(crate) fn keep_last_state(&mut self) {
        if let [.., before, _] = &mut self.states[..] {
            *before = None;
        }
    }

    /// Number of tokens of a run up to the one that would end the answer, if one does.
    pub(crate) fn ends_within(&self, run: &[TokenId]) -> Option<usize> {
        Some(self.vocabulary.closed_at(self.answer(), run)? + 1)
    }

    /// The form in which a token is committed.
    pub(crate) fn canonical(&self, token: TokenId) -> TokenId {
        self.vocabulary.canonical(token)
    }

    /// A copy with the first `index` committed tokens and then `token`. `index` is below
    /// [`Path::index`], so the SLM's step there is known.
    #[must_use]
    pub fn fork(&self, index: usize, token: TokenId) -> Self {
        let mut tokens = Vec::with_capacity(self.tokens.len() + 8);
        tokens.extend_from_slice(&self.tokens[..self.prompt + index]);
        tokens.push(self.vocabulary.canonical(token));
        Path {
            vocabulary: self.vocabulary,
            prompt: self.prompt,
            tokens,
            opening: self.opening[..=index].to_vec(),
            lowest: self.lowest[..=index].to_vec(),
            // The state after a step does not depend on the token committed there.
            states: self.states.iter().take(index + 1).cloned().collect(),
        }
    }

    /// Whether the answer is complete: its last token ends it, or it has `max_tokens` tokens.
    /// The one definition, for labels, sweeps and every way of decoding.
    #[must_use]
    pub fn closed(&self, max_tokens: usize) -> bool {
        self.ended() || self.index() >= max_tokens
    }

    /// Whether the last committed token ends the answer: an end token, or the one that
    /// completes the vocabulary's separator. The separator counts from the end of the prompt.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.vocabulary.closes(self.answer())
    }
}

#[cfg(test)]
mod tests {
    use tokenroute_core::Breaks;

    use super::*;

    fn step(token: TokenId, entropy: f32) -> Step {
        Step {
            token,
            top: Vec::new(),
            top_logits: Vec::new(),
            entropy,
            rest: 1.0,
            hidden: [].into(),
            logits: None,
        }
    }

    #[test]
    fn sentences_keep_the_entropy_of_their_first_token() {
        // Token 2 ends a sentence; 8 and 9 end the answer.
        let breaks = (0..10).map(|t| Breaks::of(if t == 2 { "." } else { "" })).collect();
        let vocabulary = Vocabulary::new(vec![9, 8], breaks, String::new());
        let mut path = Path::new(&vocabulary, &[5, 2]);
        for (token, entropy, in_force) in
            [(1, 0.5, 0.5), (3, 0.1, 0.5), (2, 0.2, 0.5), (4, 0.9, 0.9), (9, 0.3, 0.9)]
        {
            let step = step(token, entropy);
            let position = path.position("q", &step, None);
            assert_eq!(position.sentence_entropy, in_force, "token {token}");
            assert_eq!(position.paragraph_entropy, 0.5, "one paragraph");
            assert_eq!(position.index, path.index());
            assert_eq!(position.previous, path.previous());
            assert!(!path.closed(5));
            path.commit(token, &step, None);
        }
        assert_eq!(path.answer(), [1, 3, 2, 4, 8], "the end token is canonical");
        assert!(path.ended());

        let fork = path.fork(3, 7);
        assert_eq!(fork.tokens(), [5, 2, 1, 3, 2, 7]);
        assert_eq!(
            fork.position("q", &step(0, 0.4), None).sentence_entropy,
            0.9,
            "the fork is in the same sentence"
        );
        assert!(!fork.closed(5) && fork.closed(4));
    }

    #[test]
    fn paragraphs_end_with_an_empty_line_in_one_token_or_two() {
        let texts = ["a", "\n", ".\n\n", "\n b", ".\n", ""];
        let vocabulary = Vocabulary::new(vec![5], texts.map(Breaks::of).to_vec(), String::new());
        // The prompt's line break and the answer's first are no empty line of the answer.
        let mut path = Path::new(&vocabulary, &[1]);
        for (index, (token, begins)) in [
            (1, true),
            (0, false),
            (2, false),
            (0, true),
            (4, false),
            (3, false),
            (0, true),
            (1, false),
            (0, false),
            (1, false),
            (1, false),
            (0, true),
        ]
        .into_iter()
        .enumerate()
        {
            let step = step(token, 1.0 + index as f32);
            let in_force = path.position("q", &step, None).paragraph_entropy;
            assert_eq!(in_force == step.entropy, begins, "index {index}");
            path.commit(token, &step, None);
        }
    }
}
