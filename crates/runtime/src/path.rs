//! The prompt and committed tokens of one trajectory. Decoding, labelling and sweeping all
//! build a scorer's position here, so their features are the same.

use tokenroute_core::{Position, Step, TokenId, Vocabulary};

/// One trajectory.
#[derive(Debug, Clone)]
pub struct Path<'v> {
    vocabulary: &'v Vocabulary,
    prompt: usize,
    tokens: Vec<TokenId>,
    /// The sentence entropy at every committed token.
    sentence: Vec<f32>,
}

impl<'v> Path<'v> {
    /// A trajectory without committed tokens. `prompt` holds at least one token.
    #[must_use]
    pub fn new(vocabulary: &'v Vocabulary, prompt: &[TokenId]) -> Self {
        Path { vocabulary, prompt: prompt.len(), tokens: prompt.to_vec(), sentence: Vec::new() }
    }

    /// Number of committed tokens, which is the index of the next position.
    #[must_use]
    pub fn index(&self) -> usize {
        self.sentence.len()
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

    /// The SLM's entropy at the first token of the sentence that contains position `index`.
    /// `step` is the SLM's step there.
    fn sentence_entropy(&self, index: usize, step: &Step) -> f32 {
        match self.sentence.get(index) {
            Some(&recorded) => recorded,
            None => match self.sentence.last() {
                Some(&entropy) if !self.vocabulary.ends_sentence(self.previous()) => entropy,
                _ => step.entropy,
            },
        }
    }

    /// The next position as a scorer sees it. `step` is the SLM's step there.
    #[must_use]
    pub fn position<'a>(
        &self,
        question: &'a str,
        step: &'a Step,
        llm_token: Option<TokenId>,
    ) -> Position<'a> {
        self.position_at(self.index(), question, step, llm_token)
    }

    /// An earlier position, `index` ≤ [`Path::index`], as it was before a token was committed
    /// there.
    #[must_use]
    pub fn position_at<'a>(
        &self,
        index: usize,
        question: &'a str,
        step: &'a Step,
        llm_token: Option<TokenId>,
    ) -> Position<'a> {
        Position {
            question,
            index,
            previous: self.tokens[..self.prompt + index].last().copied().unwrap_or_default(),
            step,
            sentence_entropy: self.sentence_entropy(index, step),
            llm_token,
        }
    }

    /// Commits a token at the next position, where `step` is the SLM's step. Returns the
    /// committed token; end tokens become canonical.
    pub fn commit(&mut self, token: TokenId, step: &Step) -> TokenId {
        let token = self.vocabulary.canonical(token);
        let entropy = self.sentence_entropy(self.index(), step);
        self.sentence.push(entropy);
        self.tokens.push(token);
        token
    }

    /// Whether a token would end the answer.
    pub(crate) fn ends(&self, token: TokenId) -> bool {
        self.vocabulary.is_end(token)
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
            sentence: self.sentence[..=index].to_vec(),
        }
    }

    /// Whether the answer is complete: its last token ends it, or it has `max_tokens` tokens.
    #[must_use]
    pub fn closed(&self, max_tokens: usize) -> bool {
        self.ended() || self.index() >= max_tokens
    }

    /// Whether the last committed token ends the answer.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.answer().last().is_some_and(|&t| self.vocabulary.is_end(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(token: TokenId, entropy: f32) -> Step {
        Step { token, top: Vec::new(), entropy, rest: 1.0, hidden: [].into(), logits: None }
    }

    #[test]
    fn sentences_keep_the_entropy_of_their_first_token() {
        // Token 2 ends a sentence; 8 and 9 end the answer.
        let sentence_ends: Vec<bool> = (0..10).map(|t| t == 2).collect();
        let vocabulary = Vocabulary::new(vec![9, 8], sentence_ends, String::new());
        let mut path = Path::new(&vocabulary, &[5, 2]);
        for (token, entropy, in_force) in
            [(1, 0.5, 0.5), (3, 0.1, 0.5), (2, 0.2, 0.5), (4, 0.9, 0.9), (9, 0.3, 0.9)]
        {
            let step = step(token, entropy);
            let position = path.position("q", &step, None);
            assert_eq!(position.sentence_entropy, in_force, "token {token}");
            assert_eq!(position.index, path.index());
            assert_eq!(position.previous, path.previous());
            assert!(!path.closed(5));
            path.commit(token, &step);
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
}
