//! Tokens with the text that each makes certain.

use tokenroute_core::{Origin, TokenId, TraceToken};
use tokenroute_model::{Detokeniser, LoadedModel, Tokenizer};

use crate::Error;

/// One token of an answer, with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The text that this token makes certain, in whole characters. A character of several
    /// tokens belongs to the last of them; an end token has no text. The texts of all
    /// tokens make up the answer's text.
    pub text: String,
    /// The token's id, its origin and its score.
    pub record: TraceToken,
}

impl Token {
    /// The model that made the token.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.record.origin
    }

    /// The token's id.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.record.token
    }

    /// The router's score: P(the SLM's token may be kept).
    #[must_use]
    pub fn score(&self) -> f64 {
        self.record.score
    }
}

/// Turns the tokens of one answer into text as they come.
#[derive(Debug)]
pub struct TokenStream<'m> {
    model: &'m LoadedModel,
    /// `None` once the answer has ended.
    words: Option<Detokeniser<&'m Tokenizer>>,
    /// Tokens until the limit.
    left: usize,
}

impl<'m> TokenStream<'m> {
    /// A stream of up to `max_tokens` tokens of a model.
    #[must_use]
    pub fn new(model: &'m LoadedModel, max_tokens: usize) -> Self {
        TokenStream { model, words: Some(Detokeniser::new(&model.tokenizer)), left: max_tokens }
    }

    /// Takes one more token in. At the last one, which is an end token or the token at the
    /// limit, an incomplete character shows as U+FFFD.
    ///
    /// # Errors
    /// A token that the tokenizer cannot decode.
    pub fn push(&mut self, record: TraceToken) -> Result<Token, Error> {
        let mut text = String::new();
        let ends = self.model.vocabulary.is_end(record.token);
        if let Some(words) = self.words.as_mut().filter(|_| !ends) {
            text = words.push(record.token)?;
        }
        self.left = self.left.saturating_sub(1);
        if ends || self.left == 0 {
            text += &self.words.take().map_or(Ok(String::new()), Detokeniser::finish)?;
        }
        Ok(Token { text, record })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokenroute_model::{LoadOptions, load_model};

    use super::*;

    fn record(token: TokenId) -> TraceToken {
        TraceToken {
            token,
            origin: Origin::Slm,
            slm_token: token,
            score: 0.5,
            cause: None,
            speculated: false,
        }
    }

    #[test]
    fn a_character_of_several_tokens_comes_whole() {
        let slm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/word-problems-slm");
        let model = load_model(&slm, &LoadOptions::default()).expect("the bundled SLM");
        let text = "Mia → 3 🍎";
        let ids = model.tokenizer.encode(text).expect("tokens");
        let texts = |ids: &[TokenId], limit: usize| {
            let mut stream = TokenStream::new(&model, limit);
            let token = |&id| stream.push(record(id)).expect("a token").text;
            ids.iter().map(token).collect::<Vec<String>>()
        };
        assert!(ids.len() > text.chars().count(), "an apple is more than one token: {ids:?}");
        let whole = texts(&ids, ids.len());
        assert_eq!(whole.concat(), text);
        assert!(whole.contains(&String::new()) && whole.iter().all(|t| !t.contains('\u{FFFD}')));

        // Cut within the apple: by the limit, or by an end token.
        let (end, cut) = (model.vocabulary.end(), &ids[..ids.len() - 1]);
        let expected = "Mia → 3 \u{FFFD}";
        assert_eq!(texts(cut, cut.len()).concat(), expected);
        assert_eq!(texts(&[cut, &[end]].concat(), 100).concat(), expected);
    }
}
