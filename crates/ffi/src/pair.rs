//! An open pair: the small model, the large one behind it, the router between them.

use std::path::{Path, PathBuf};

use tokenroute_core::{LanguageModel, Llm, Scorer, TokenId};
use tokenroute_llm::InProcess;
use tokenroute_model::{
    ChatOptions, ChatTemplate, Decoder, LoadOptions, LoadedModel, Message, RouterScorer,
    check_pair, load_model,
};
use tokenroute_runtime::{Absent, Calls, KeepAll, Pair, Policy, RoutedDecoding};

use crate::callback::{AskFunction, Callback};
use crate::fault::Fault;

/// The program's function and its first argument.
type AskedBy = (AskFunction, *mut std::ffi::c_void);

/// Where the large model is.
pub(crate) enum Large<'o> {
    None,
    /// A folder or file on this machine, or a URL, with the key for it.
    Named(&'o str, Option<&'o str>),
    Asked(AskedBy),
}

/// A pair that is open.
pub(crate) struct Opened {
    path: PathBuf,
    pub(crate) slm: LoadedModel,
    template: Option<ChatTemplate>,
    llm: Box<dyn Llm + Send>,
    scorer: Box<dyn Scorer + Send>,
    /// Whether calls to the large model have a thread of their own.
    calls: Option<Calls>,
    pub(crate) policy: Policy,
}

impl Opened {
    /// Loads the models and checks that they and the router belong together.
    pub(crate) fn open(
        slm: &str,
        large: &Large<'_>,
        router: Option<&str>,
        policy: Policy,
        threads: Option<usize>,
    ) -> Result<Opened, Fault> {
        let path = PathBuf::from(slm);
        let mut router = match (large, router) {
            (Large::None, None) => None,
            (Large::None, Some(_)) => return Err(Fault::NoLlm),
            (_, None) => return Err(Fault::NoRouter),
            (_, Some(router)) => Some(RouterScorer::open(Path::new(router))?),
        };
        let mut options = LoadOptions { threads, ..LoadOptions::default() };
        let needed = router.as_ref().map_or(0, |router| router.header().features.top());
        options.top_k = options.top_k.max(needed);
        let slm = load_model(&path, &options)?;
        if let Some(router) = &mut router {
            router.check_kv(options.kv)?;
            router.check(slm.decoder.info(), slm.vocabulary.hash())?;
            router.share_threads(&slm.decoder);
        }
        let (llm, calls) = large.open(&slm, &options)?;
        let template = ChatTemplate::read(&path)?;
        let scorer: Box<dyn Scorer + Send> = match router {
            Some(router) => Box::new(router),
            None => Box::new(KeepAll),
        };
        Ok(Opened { path, slm, template, llm, scorer, calls, policy })
    }

    /// The tokens of a plain prompt.
    pub(crate) fn text_prompt(&self, text: &str) -> Result<Vec<TokenId>, Fault> {
        Ok(self.slm.tokenizer.encode_prompt(text)?)
    }

    /// The tokens of a conversation, through the chat template.
    pub(crate) fn chat_prompt(&self, messages: &[Message]) -> Result<Vec<TokenId>, Fault> {
        let none = || Fault::NoTemplate { slm: self.path.clone() };
        let template = self.template.as_ref().ok_or_else(none)?;
        let text = template.render(messages, &ChatOptions::default())?;
        Ok(self.slm.tokenizer.encode(&text)?)
    }

    /// How many tokens an answer to this prompt may have, at most `wanted`.
    pub(crate) fn room(&self, prompt: &[TokenId], wanted: usize) -> Result<usize, Fault> {
        let (tokens, context) = (prompt.len(), self.slm.decoder.info().context);
        match tokens {
            _ if wanted == 0 => Err(Fault::NoTokens),
            0 => Err(Fault::EmptyPrompt),
            _ if tokens > context => Err(Fault::LongPrompt { tokens, context }),
            // The last token of an answer is not read again.
            _ => Ok(wanted.min(context + 1 - tokens)),
        }
    }

    /// What the runtime decodes with.
    pub(crate) fn decoding(&self) -> RoutedDecoding<'_, Decoder, dyn Llm> {
        let pair: Pair<'_, Decoder, dyn Llm> =
            Pair::new(&self.slm.decoder, &*self.llm, &self.slm.vocabulary);
        RoutedDecoding {
            calls: self.calls,
            ..RoutedDecoding::new(pair, &*self.scorer, self.policy)
        }
    }
}

/// Calls beside the thread that decodes, so that an answer can be cancelled during one.
const BESIDE: Calls = Calls { threads: 1, together: 1 };

type OpenedLlm = (Box<dyn Llm + Send>, Option<Calls>);

impl Large<'_> {
    fn open(&self, slm: &LoadedModel, options: &LoadOptions) -> Result<OpenedLlm, Fault> {
        match *self {
            Large::None => Ok((Box::new(Absent), None)),
            Large::Asked((ask, user)) => {
                let vocabulary = slm.tokenizer.size();
                Ok((Box::new(Callback::new(ask, user, vocabulary)), Some(BESIDE)))
            }
            Large::Named(url, key) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok((over_http(url, key, slm)?, Some(BESIDE)))
            }
            Large::Named(named, _) => {
                let llm = load_model(Path::new(named), options)?;
                check_pair(slm, &llm)?;
                Ok((Box::new(InProcess::new(llm.decoder)), None))
            }
        }
    }
}

#[cfg(feature = "http")]
fn over_http(
    url: &str,
    key: Option<&str>,
    slm: &LoadedModel,
) -> Result<Box<dyn Llm + Send>, Fault> {
    use tokenroute_core::LlmError;
    use tokenroute_llm::ApiKey;
    use tokenroute_llm::http::{Found, Http, HttpConfig, HttpError, PROBE, Spelling, Takes};
    let key = key.map(ApiKey::new).transpose()?;
    let config = HttpConfig { key, ..HttpConfig::new(url) };
    let spelling = Spelling::new(slm.tokenizer.token_texts()?);
    let http = Http::new(config, slm.vocabulary.clone(), Some(spelling))?;
    match http.find(&slm.tokenizer.encode_prompt(PROBE)?) {
        Ok(Found { takes: Takes::Ids(_), .. }) => Ok(Box::new(http)),
        Ok(found) => Err(Fault::NoIds { what: found.to_string() }),
        // A server that is away may come back.
        Err(HttpError::Llm(LlmError::Unavailable(_) | LlmError::Late(_))) => Ok(Box::new(http)),
        Err(HttpError::NotFound { url, why }) => {
            Err(Fault::NoIds { what: format!("the LLM's server {url}: {why}") })
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(feature = "http"))]
fn over_http(url: &str, _: Option<&str>, _: &LoadedModel) -> Result<Box<dyn Llm + Send>, Fault> {
    Err(Fault::NoNetwork { llm: url.to_owned() })
}
