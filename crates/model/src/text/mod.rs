//! Text to tokens and back: the tokenizer, chat templates, tokens as they stream.

pub(crate) mod chat;
mod detokenise;
mod tokenizer;

pub use detokenise::Detokeniser;
pub use tokenizer::Tokenizer;
