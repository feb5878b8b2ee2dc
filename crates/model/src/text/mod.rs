//! Text to tokens and back: tokenizer, chat templates, and the text of streamed tokens.

pub(crate) mod chat;
mod detokenise;
mod tokenizer;

pub use detokenise::Detokeniser;
pub use tokenizer::Tokenizer;
