//! Facts about the pair's shared tokenizer that decoding needs: the tokens that end an
//! answer, those that end a sentence or a paragraph, and the text that ends an answer.

use std::sync::Arc;

use crate::TokenId;

/// How a token's text divides an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaks {
    /// It ends in `.`, `!` or `?`, or holds a line break.
    sentence: bool,
    /// It holds an empty line: `"\n\n"`.
    paragraph: bool,
    /// It begins with a line break.
    begins_line: bool,
    /// It ends in a line break.
    ends_line: bool,
}

impl Breaks {
    /// The breaks in a token's text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Breaks {
            sentence: text.ends_with(['.', '!', '?']) || text.contains('\n'),
            paragraph: text.contains("\n\n"),
            begins_line: text.starts_with('\n'),
            ends_line: text.ends_with('\n'),
        }
    }
}

/// The token ids of a pair.
///
/// ```
/// use tokenroute_core::{Breaks, Vocabulary};
///
/// // Six ids: 4 and 5 end an answer.
/// let breaks = [" so", "\n", ".", ".\n\n", "", ""].map(Breaks::of).to_vec();
/// let vocabulary = Vocabulary::new(vec![5, 4], breaks, "tokenizer".into());
/// assert_eq!(vocabulary.len(), 6);
/// assert!(vocabulary.ends_sentence(2) && !vocabulary.ends_paragraph(None, 2));
/// assert!(vocabulary.ends_paragraph(None, 3) && vocabulary.ends_paragraph(Some(1), 1));
/// assert_eq!(vocabulary.canonical(5), vocabulary.end());
/// assert_eq!(vocabulary.canonical(3), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    ends: Vec<TokenId>,
    breaks: Vec<Breaks>,
    hash: String,
    separator: Option<Separator>,
}

/// A text that ends an answer, and what finds it over tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Separator {
    text: String,
    /// Text of each token within a text.
    tokens: Arc<[String]>,
}

impl Vocabulary {
    /// `ends` holds every token that ends an answer. `breaks[id]` is that of the token's
    /// text; its length is the number of token ids. `hash` identifies the tokenizer.
    #[must_use]
    pub fn new(mut ends: Vec<TokenId>, breaks: Vec<Breaks>, hash: String) -> Self {
        ends.sort_unstable();
        ends.dedup();
        Vocabulary { ends, breaks, hash, separator: None }
    }

    /// The same with a text that ends an answer: what stands between the examples of a
    /// prompt. `token_texts[id]` is the text that a token adds within a text, empty for
    /// special tokens.
    #[must_use]
    pub fn with_separator(mut self, text: String, token_texts: Vec<String>) -> Self {
        self.separator = Some(Separator { text, tokens: token_texts.into() });
        self
    }

    /// The text that ends an answer, if there is one.
    #[must_use]
    pub fn separator(&self) -> Option<&str> {
        Some(&self.separator.as_ref()?.text)
    }

    /// Whether the last of these tokens ends the answer: an end token, or the token within
    /// which the separator becomes complete. The separator may begin in earlier ones.
    ///
    /// ```
    /// # use tokenroute_core::{Breaks, Vocabulary};
    /// let vocabulary = Vocabulary::new(vec![3], vec![Breaks::default(); 4], String::new());
    /// let texts = ["Yes", ".\n", "\nQ", ""].map(String::from).to_vec();
    /// let vocabulary = vocabulary.with_separator("\n\n".into(), texts);
    /// assert!(vocabulary.closes(&[0, 3]) && vocabulary.closes(&[0, 1, 2]));
    /// assert!(!vocabulary.closes(&[0, 1]) && !vocabulary.closes(&[0, 2]));
    /// ```
    #[must_use]
    pub fn closes(&self, answer: &[TokenId]) -> bool {
        let Some((&last, before)) = answer.split_last() else { return false };
        self.is_end(last) || self.separator.as_ref().is_some_and(|s| s.ends_in(before, last))
    }

    /// Index in `run` of the token that ends the answer, where `answer` is what came before.
    #[must_use]
    pub fn closed_at(&self, answer: &[TokenId], run: &[TokenId]) -> Option<usize> {
        let mut tokens = answer.to_vec();
        run.iter().position(|&token| {
            tokens.push(token);
            self.closes(&tokens)
        })
    }

    /// The text of an answer up to its end, and whether anything but a limit ended it.
    /// Graders read this text. `decode` gives the text of tokens.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn read<E>(
        &self,
        answer: &[TokenId],
        decode: impl FnOnce(&[TokenId]) -> Result<String, E>,
    ) -> Result<(String, bool), E> {
        let end_tokens = usize::from(answer.last().is_some_and(|&last| self.is_end(last)));
        let mut text = decode(&answer[..answer.len() - end_tokens])?;
        let separator = self.separator().and_then(|separator| text.find(separator));
        text.truncate(separator.unwrap_or(text.len()));
        Ok((text, separator.is_some() || self.closes(answer)))
    }

    /// Whether the token is an end token, which ends any answer. All end tokens
    /// count as equal.
    #[must_use]
    pub fn is_end(&self, token: TokenId) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// Replaces any end token by the lowest one. Two models may end an answer with
    /// different tokens and still agree.
    #[must_use]
    pub fn canonical(&self, token: TokenId) -> TokenId {
        if self.is_end(token) { self.ends[0] } else { token }
    }

    /// The lowest end token.
    ///
    /// # Panics
    /// If the pair has no end token. Loading refuses such pairs.
    #[must_use]
    pub fn end(&self) -> TokenId {
        self.ends[0]
    }

    /// Whether the token ends a sentence.
    #[must_use]
    pub fn ends_sentence(&self, token: TokenId) -> bool {
        self.breaks_of(token).sentence
    }

    /// Whether a paragraph ends with the token: its text, or its text after that of the token
    /// `before` it, holds an empty line. `before` is `None` for an answer's first token.
    #[must_use]
    pub fn ends_paragraph(&self, before: Option<TokenId>, token: TokenId) -> bool {
        let breaks = self.breaks_of(token);
        let joined = || before.is_some_and(|before| self.breaks_of(before).ends_line);
        breaks.paragraph || (breaks.begins_line && joined())
    }

    fn breaks_of(&self, token: TokenId) -> Breaks {
        self.breaks.get(token as usize).copied().unwrap_or_default()
    }

    /// Hash of the tokenizer, hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Number of token ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.breaks.len()
    }

    /// Whether there are no token ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.breaks.is_empty()
    }
}

impl Separator {
    /// Whether the text of `before` and `last` holds the separator with its end in `last`.
    fn ends_in(&self, before: &[TokenId], last: TokenId) -> bool {
        let text_of = |token: TokenId| self.tokens.get(token as usize).map_or("", String::as_str);
        let wanted = self.text.as_bytes();
        let mut earlier: Vec<&str> = Vec::new();
        let mut length = 0;
        for &token in before.iter().rev() {
            if length + 1 >= wanted.len() {
                break;
            }
            length += text_of(token).len();
            earlier.push(text_of(token));
        }
        let mut bytes: Vec<u8> = earlier.into_iter().rev().flat_map(str::bytes).collect();
        bytes.drain(..bytes.len().saturating_sub(wanted.len().saturating_sub(1)));
        bytes.extend(text_of(last).bytes());
        !wanted.is_empty() && bytes.windows(wanted.len()).any(|window| window == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_ends_an_answer_wherever_tokens_split_it() {
        let texts = ["a", ".\n\n", "\n", "###", "\n\n\nQ", "#", "b\n", ""];
        let of = |separator: &str| {
            Vocabulary::new(vec![7], vec![Breaks::default(); 8], String::new())
                .with_separator(separator.into(), texts.map(String::from).to_vec())
        };
        let decode = |ids: &[TokenId]| -> Result<String, ()> {
            Ok(ids.iter().map(|&id| texts[id as usize]).collect())
        };
        for (separator, run, closed, text) in [
            ("\n\n", &[0, 1, 0][..], Some(1), "a."),
            ("\n\n", &[0, 2, 2], Some(2), "a"),
            ("\n\n", &[2, 0, 2, 0], None, "\na\na"),
            ("\n\n", &[0, 6, 4, 0], Some(2), "ab"),
            ("\n###\n", &[6, 3, 2, 0], Some(2), "b"),
            ("\n###\n", &[6, 5, 5, 5, 2], Some(4), "b"),
            ("\n###\n", &[6, 3, 3, 2, 7], Some(4), "b\n######\n"),
            ("\n\n", &[0, 7, 1], Some(1), "a"),
        ] {
            let vocabulary = of(separator);
            assert_eq!(vocabulary.closed_at(&[], run), closed, "{separator:?} {run:?}");
            let answer = &run[..closed.map_or(run.len(), |at| at + 1)];
            let read = vocabulary.read(answer, decode);
            assert_eq!(read, Ok((text.to_owned(), closed.is_some())), "{separator:?} {run:?}");
        }
        // Only a separator that ends in the last token counts: the prompt may hold others.
        assert!(!of("\n\n").closes(&[1, 0]));
        assert_eq!(of("\n\n").closed_at(&[2], &[2, 0]), Some(0));
        let plain = Vocabulary::new(vec![7], vec![Breaks::default(); 8], String::new());
        assert_eq!(plain.closed_at(&[], &[0, 1, 2, 2]), None);
    }
}
