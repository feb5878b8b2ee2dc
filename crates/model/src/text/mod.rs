//! Text to tokens and back: tokenizer, chat templates, and the text of streamed tokens.

mod byte_names;
mod bytewise;
pub(crate) mod chat;
mod detokenise;
mod growth;
mod listed;
mod parts;
mod tokenizer;

pub(crate) use byte_names::byte_names;
pub use bytewise::BytewiseTokenizer;
pub use detokenise::Detokeniser;
pub use tokenizer::Tokenizer;
