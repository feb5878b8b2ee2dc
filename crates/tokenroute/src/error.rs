//! Why a pair cannot be opened, or an answer cannot be decoded.

use std::path::PathBuf;

use tokenroute_core::{ModelError, SamplingError, TauError};
use tokenroute_hub::HubError;
use tokenroute_llm::BadKey;
use tokenroute_llm::http::{AnswersError, HttpError, TextApi};
use tokenroute_model::{ChatError, LoadError};
use tokenroute_runtime::{BudgetError, PolicyError, RuntimeError};

/// Why a pair cannot be opened, or an answer cannot be decoded. Each message names the
/// value, the expectation and the remedy.
///
/// A failure of the LLM while an answer is decoded is no error: the SLM's token is kept
/// and marked [`crate::Origin::Degraded`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An LLM without a router.
    #[error("the LLM {} has no router; give a router file or a scorer of your own", llm.display())]
    NoRouter {
        /// The LLM's name.
        llm: PathBuf,
    },
    /// A router without an LLM.
    #[error("there is a router and no LLM; name the LLM too, or leave out the router")]
    NoLlm,
    /// A router file and a scorer.
    #[error("there is a router file ({}) and a scorer; give one of the two", router.display())]
    TwoScorers {
        /// The router file.
        router: PathBuf,
    },
    /// A handoff by a scorer that reads the LLM.
    #[error(
        "the scorer needs the LLM at every token, so it cannot hand an answer over; leave out handoff"
    )]
    HandoffNeedsLlm,
    /// A pair without a threshold.
    #[error(
        "there is no τ; give a number from 0 (SLM-only) to 1 (LLM-only), an offload ratio, \
         or a policy"
    )]
    NoTau,
    /// An offload ratio outside [0, 1].
    #[error("the offload ratio is {0}; expected a share from 0 (SLM-only) to 1 (LLM-only)")]
    Offload(f64),
    /// An offload ratio for a scorer without a calibration.
    #[error(
        "an offload ratio needs the calibration of a router, and {} has none; give τ instead",
        router.as_ref().map_or("a scorer of your own".to_owned(), |file| file.display().to_string())
    )]
    NoCalibration {
        /// The router file; `None` for a scorer in code.
        router: Option<PathBuf>,
    },
    /// A threshold outside [0, 1].
    #[error(transparent)]
    Tau(#[from] TauError),
    /// A budget outside [0, 1].
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A temperature or a share that cannot be drawn with.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A policy whose parts do not go together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A key that no header can carry.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// A count of 0.
    #[error("{what} is 0; expected at least 1")]
    Zero {
        /// What is counted.
        what: &'static str,
    },
    /// An option of models that run here, for an LLM on a server.
    #[error("the LLM {url} runs on a server; quantise it there, not with an option here")]
    QuantisedServer {
        /// The server.
        url: String,
    },
    /// A device for an LLM that runs elsewhere.
    #[error("{url} runs where it is served; leave out its device")]
    ServerDevice {
        /// The server.
        url: String,
    },
    /// A name that reads like a server's.
    #[error("{} is no server's URL, which begins with http:// or https://: {source}", named.display())]
    NotAServer {
        /// The name.
        named: PathBuf,
        /// Why it is no model here either.
        source: Box<Error>,
    },
    /// A certificate authority that cannot be read.
    #[error("cannot read the certificate authority {}: {source}; expected a file in PEM", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Answers cannot be kept for a model without a name.
    #[error(
        "the cache {} keeps answers by the LLM's name, and the server does not answer; \
         start it, or give the name of its model", cache.display()
    )]
    NamelessAnswers {
        /// The cache.
        cache: PathBuf,
    },
    /// Messages for a model without a chat template.
    #[error(
        "{} has no chat template; give it a prompt as text, or put a chat_template.jinja into \
         the model's folder", slm.display()
    )]
    NoTemplate {
        /// The SLM's name.
        slm: PathBuf,
    },
    /// A prompt in a form that the LLM's server does not take.
    #[error(
        "the LLM's API {api} takes {takes}, and this prompt is {given}; use another --llm-api, or another command"
    )]
    PromptForm {
        /// The server's API.
        api: TextApi,
        /// The form that it takes.
        takes: &'static str,
        /// The form of the prompt.
        given: &'static str,
    },
    /// An LLM that gives whole answers alone, without handoff.
    #[error(
        "the LLM's API chat gives whole answers alone; use --handoff with chat or serve, so that an answer goes to it whole"
    )]
    NeedsHandoff,
    /// An option for tokens of an LLM that gives whole answers alone.
    #[error("the LLM's API chat gives whole answers alone, and {what}; leave it out")]
    WholeAnswers {
        /// The option.
        what: &'static str,
    },
    /// A variable of the chat template, which the LLM's server cannot receive.
    #[error(
        "the LLM's API {api} takes no variables of the chat template, and `{name}` is set; leave it out"
    )]
    TemplateVariable {
        /// The server's API.
        api: TextApi,
        /// The variable.
        name: String,
    },
    /// A text that spells a special token of an LLM with a tokenizer of its own.
    #[error(
        "the prompt spells the LLM's special token {token}, which would become a control token; leave it out"
    )]
    SpecialToken {
        /// The token.
        token: String,
    },
    /// A prompt of token ids for an LLM that shares text alone.
    #[error(
        "the models share text alone, and this prompt is token ids of the SLM; give it as text or messages"
    )]
    PromptOfIds,
    /// An option of models that run here, for an LLM on a server.
    #[error(
        "the LLM {url} runs on a server, and `through_text` is for one that runs here; name an API of text with --llm-api"
    )]
    TextServer {
        /// The server.
        url: String,
    },
    /// A prompt without tokens.
    #[error("the prompt has no tokens; give at least one")]
    EmptyPrompt,
    /// A prompt that the SLM cannot read.
    #[error("the prompt has {tokens} tokens and the SLM reads {context}; shorten it")]
    LongPrompt {
        /// Tokens of the prompt.
        tokens: usize,
        /// The SLM's context.
        context: usize,
    },
    /// A model, a tokenizer or a router that cannot be used.
    #[error(transparent)]
    Model(#[from] LoadError),
    /// An `hf:` reference that cannot be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// An LLM's server that refuses, or that holds another tokenizer.
    #[error(transparent)]
    Server(#[from] HttpError),
    /// An answer cache that cannot be used.
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// A chat template that cannot be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The SLM or the scorer failed while an answer was decoded.
    #[error(transparent)]
    Decode(#[from] RuntimeError),
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Error::Decode(error.into())
    }
}
