//! Errors of creating a client, and of a server that does not fit the pair.

use tokenroute_core::LlmError;

/// Errors of creating a client, and of a server that does not fit the pair.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A URL that cannot be used.
    #[error("the LLM's URL {url}: {reason}; expected something like http://127.0.0.1:8000")]
    BadUrl {
        /// The URL, without user and password.
        url: String,
        /// The fault.
        reason: &'static str,
    },
    /// A certificate authority that cannot be read.
    #[error("the certificate authority for the LLM is not a certificate in PEM: {message}")]
    BadAuthority {
        /// The fault.
        message: String,
    },
    /// The client could not be started.
    #[error("the LLM's client cannot be started: {message}")]
    Start {
        /// The system's error.
        message: String,
    },
    /// An unknown name of an API.
    #[error(
        "LLM API {name:?}; expected tokenroute, vllm, sglang, llama-cpp or openai; for text alone: text, chat-continue, llama-cpp-chat, deepseek, mistral, ollama or chat"
    )]
    UnknownApi {
        /// The name given.
        name: String,
    },
    /// A price or a limit of spending that is no amount of money.
    #[error("the {what} is {value}; expected a number from 0 to 10⁹")]
    BadMoney {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// A limit of spending for a server of token ids.
    #[error(
        "a limit of spending needs an API of text: text, chat-continue, llama-cpp-chat, deepseek, mistral, ollama or chat"
    )]
    UnlimitedApi,
    /// The server has another tokenizer.
    #[error(
        "the LLM {model} at {url} has tokenizer {theirs}; the SLM's is {ours}: they are no pair by token ids; name an API of text (--llm-api text; in an experiment, pair.llm_api)"
    )]
    OtherTokenizer {
        /// The model's name on the server.
        model: String,
        /// The server's URL.
        url: String,
        /// Hash of the server's tokenizer.
        theirs: String,
        /// Hash of the pair's.
        ours: String,
    },
    /// Nothing was found by which a server goes on with a text.
    #[error(
        "what the LLM's server {url} takes was not found: {why}; name its API with --llm-api (in an experiment, pair.llm_api)"
    )]
    NotFound {
        /// The server's URL.
        url: String,
        /// What was tried.
        why: String,
    },
    /// The server did not list its models.
    #[error(transparent)]
    Llm(#[from] LlmError),
}
