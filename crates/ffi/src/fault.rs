//! Why a call did not work.

use std::path::PathBuf;

use tokenroute_core::TauError;
use tokenroute_model::{ChatError, LoadError};
use tokenroute_runtime::{BudgetError, RuntimeError};

/// Why a call did not work: the value, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("`{0}` is null; expected a pointer")]
    Null(&'static str),
    #[error("`{what}` is not UTF-8 from byte {at} on; encode it as UTF-8")]
    NotUtf8 { what: &'static str, at: usize },
    #[error("both `llm` and `ask` are set; set the one that answers for the large model")]
    TwoLlms,
    #[error("there is a large model and no `router`; give the file that `tokenroute train` wrote")]
    NoRouter,
    #[error("there is a `router` and no large model; set `llm` or `ask`, or leave `router` out")]
    NoLlm,
    #[error("{slm} has no chat template; use tr_begin")]
    NoTemplate { slm: PathBuf },
    #[error("the prompt has no tokens; expected at least one")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens; the context has room for {context}")]
    LongPrompt { tokens: usize, context: usize },
    #[error("`max_tokens` is 0; expected at least 1")]
    NoTokens,
    #[error("the answer's thread cannot start: {0}")]
    Thread(#[source] std::io::Error),
    #[error("the thread that makes the answer has ended; close the answer and begin it again")]
    ThreadEnded,
    #[error(
        "{llm} is a URL, and this build has no network code; set `ask`, or build with the feature http"
    )]
    #[cfg(not(feature = "http"))]
    NoNetwork { llm: String },
    #[error(transparent)]
    #[cfg(feature = "http")]
    Http(#[from] tokenroute_llm::http::HttpError),
    #[error(
        "{what}; this library needs a server that goes on with the small model's token ids, or set `ask`"
    )]
    #[cfg(feature = "http")]
    NoIds { what: String },
    #[error(transparent)]
    #[cfg(feature = "http")]
    Key(#[from] tokenroute_llm::BadKey),
    #[error(transparent)]
    Tau(#[from] TauError),
    #[error(transparent)]
    Budget(#[from] BudgetError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
