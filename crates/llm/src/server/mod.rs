//! A local model served over the OpenAI completions API: the LLM's side of a
//! pair split over two machines.

mod bounds;
mod engine;
mod guard;
mod listen;
mod refusal;
mod reply;
mod request;
mod routes;
mod score;

use tokenroute_core::TokenId;

pub use engine::EngineConfig;
pub use guard::{Denied, check_key, check_origin};
pub use listen::{Connections, Server, ServerError, check_bind};
pub(crate) use refusal::Refusal;
pub use routes::Service;

/// Text to tokens and back, in the model's vocabulary. Errors are messages for
/// the client.
pub trait Texts: Send + Sync {
    /// Tokens of a prompt, with the special ones that its tokenizer puts before it.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String>;

    /// Text of tokens; special ones are left out, and U+FFFD stands for what is
    /// not whole.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    fn decode(&self, ids: &[TokenId]) -> Result<String, String>;

    /// Text of one token, special or not.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    fn token(&self, id: TokenId) -> Result<String, String>;
}
