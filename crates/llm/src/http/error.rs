//! Why a client could not be made, or why the server is the wrong one.

use tokenroute_core::LlmError;

/// Why a client could not be made, or why the server is the wrong one.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A URL that cannot be asked.
    #[error("the LLM's URL {url}: {reason}; expected something like http://127.0.0.1:8000")]
    BadUrl {
        /// The URL, without user and password.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An authority that is no certificate.
    #[error("the certificate authority for the LLM is no certificate in PEM: {message}")]
    BadAuthority {
        /// What is wrong with it.
        message: String,
    },
    /// No client could be started.
    #[error("the LLM's client cannot be started: {message}")]
    Start {
        /// The system's words.
        message: String,
    },
    /// A name that is no API.
    #[error("LLM API {name:?}; expected tokenroute, vllm, sglang, llama-cpp or openai")]
    UnknownApi {
        /// The name given.
        name: String,
    },
    /// The server holds another tokenizer.
    #[error(
        "the LLM {model} at {url} has tokenizer {theirs}; the SLM's is {ours}: they are no pair"
    )]
    OtherTokenizer {
        /// The model's name there.
        model: String,
        /// Where.
        url: String,
        /// Hash of the server's tokenizer.
        theirs: String,
        /// Hash of the pair's.
        ours: String,
    },
    /// The server cannot be asked what it holds.
    #[error(transparent)]
    Llm(#[from] LlmError),
}
