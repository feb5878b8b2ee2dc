//! The characters that spell bytes in byte-level BPE, and the texts of the tokens that they spell.

use std::borrow::Cow;

use tokenizers::DecoderWrapper;
use tokenroute_core::TokenId;

/// A tokenizer whose decoder reads each character of a token as a byte. It gives the texts that
/// decoding gives, without the decoder's look-up of every character in a table of hashes.
pub(super) struct ByteLevelTexts<'a> {
    inner: &'a tokenizers::Tokenizer,
    /// The byte of each character, by the character's number.
    bytes: Vec<Option<u8>>,
    text: Vec<u8>,
}

impl<'a> ByteLevelTexts<'a> {
    /// `None` for any other decoder.
    pub(super) fn of(inner: &'a tokenizers::Tokenizer) -> Option<Self> {
        let Some(DecoderWrapper::ByteLevel(_)) = inner.get_decoder() else { return None };
        let mut bytes = Vec::new();
        for (byte, name) in (0..=255).zip(byte_names()) {
            bytes.resize(bytes.len().max(name as usize + 1), None);
            bytes[name as usize] = Some(byte);
        }
        Some(ByteLevelTexts { inner, bytes, text: Vec::new() })
    }

    /// The text of a token; `None` for added tokens, which `tokenizers` keeps elsewhere.
    pub(super) fn text(&mut self, id: TokenId) -> Option<Cow<'_, str>> {
        if self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id) {
            return None;
        }
        let name = self.inner.id_to_token(id).unwrap_or_default();
        self.text.clear();
        for character in name.chars() {
            let Some(&Some(byte)) = self.bytes.get(character as usize) else {
                // A token with another character is its own text.
                return Some(name.into());
            };
            self.text.push(byte);
        }
        Some(String::from_utf8_lossy(&self.text))
    }
}

/// The characters that stand for bytes 0 to 255 in byte-level BPE (GPT-2's
/// `bytes_to_unicode`): printable ones for themselves, others from U+0100 on.
pub(crate) fn byte_names() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0..=255u8).map(move |byte| {
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}
