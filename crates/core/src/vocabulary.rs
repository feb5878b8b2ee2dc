//! Facts about the pair's shared tokenizer that decoding needs: the tokens that end an
//! answer, and those that end a sentence or a paragraph.

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
}

impl Vocabulary {
    /// `ends` holds every token that ends an answer. `breaks[id]` is that of the token's
    /// text; its length is the number of token ids. `hash` identifies the tokenizer.
    #[must_use]
    pub fn new(mut ends: Vec<TokenId>, breaks: Vec<Breaks>, hash: String) -> Self {
        ends.sort_unstable();
        ends.dedup();
        Vocabulary { ends, breaks, hash }
    }

    /// Whether the token ends the answer. All end tokens count as equal.
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
