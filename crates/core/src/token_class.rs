//! Classes of tokens by their text. Reports use them to show which tokens diverge.

use serde::{Deserialize, Serialize};

/// The class of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenClass {
    /// Digits only.
    Digit,
    /// Only arithmetic and comparison signs: + - − * × / ÷ = < > ≤ ≥.
    Operator,
    /// One letter from A to H alone, as in "(B)". An article "A" at the start of a sentence
    /// counts here too.
    ChoiceLetter,
    /// A word with a capital first letter: names, sentence starts.
    CapitalisedWord,
    /// Any other text that contains a letter.
    Word,
    /// Everything else: punctuation, white space, special tokens `<|…|>`.
    Punctuation,
}

impl TokenClass {
    /// Every class, in order.
    pub const ALL: [TokenClass; 6] = [
        Self::Digit,
        Self::Operator,
        Self::ChoiceLetter,
        Self::CapitalisedWord,
        Self::Word,
        Self::Punctuation,
    ];

    /// The class of a token's text. Surrounding white space is ignored.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let all = |f: fn(char) -> bool| !text.is_empty() && text.chars().all(f);
        if all(|c| c.is_ascii_digit()) {
            return Self::Digit;
        }
        if all(|c| "+-−*×/÷=<>≤≥".contains(c)) {
            return Self::Operator;
        }
        if text.len() == 1 && all(|c| ('A'..='H').contains(&c)) {
            return Self::ChoiceLetter;
        }
        if text.starts_with("<|") && text.ends_with("|>") {
            return Self::Punctuation;
        }
        match text.chars().find(|c| c.is_alphabetic()) {
            Some(letter) if letter.is_uppercase() => Self::CapitalisedWord,
            Some(_) => Self::Word,
            None => Self::Punctuation,
        }
    }

    /// The name used in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Digit => "digit",
            Self::Operator => "operator",
            Self::ChoiceLetter => "choice-letter",
            Self::CapitalisedWord => "capitalised-word",
            Self::Word => "word",
            Self::Punctuation => "punctuation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fall_into_their_classes() {
        use TokenClass::*;
        for (class, texts) in [
            (Digit, &["7", " 42", "0"][..]),
            (Operator, &["+", "-", " −", "×", "÷", "=", ">=", " <"]),
            (ChoiceLetter, &["A", "E", " H"]),
            (CapitalisedWord, &["Mia", " So", "I", "K"]),
            (Word, &["apples", " each", "'s", "3rd", "é"]),
            (Punctuation, &[".", ",", " (", "\n", "", "<|endoftext|>", "7.", "+1"]),
        ] {
            for text in texts {
                assert_eq!(TokenClass::of(text), class, "{text:?}");
            }
        }
    }
}
