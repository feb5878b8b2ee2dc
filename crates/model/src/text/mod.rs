//! Text to tokens and back: tokenizer, chat templates, and the text of streamed tokens.

mod bytewise;
pub(crate) mod chat;
mod detokenise;
mod tokenizer;

pub use bytewise::BytewiseTokenizer;
pub(crate) use bytewise::byte_names;
pub use detokenise::Detokeniser;
pub use tokenizer::Tokenizer;
