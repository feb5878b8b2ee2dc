//! What a server takes, if nobody names its API: token ids of the pair, text, or begun messages.
//!
//! The server lists its models, and then goes on with a short text. The rule, first match first:
//!
//! 1. The owner `tokenroute`: token ids if its tokenizer is the pair's, else `text`.
//! 2. It goes on with the pair's ids of [`PROBE`] as with its text: token ids. The list names the
//!    API. An owner with an API of its own is believed where it gives no text to compare.
//! 3. It goes on with a begun text: `text`, or `ollama`. It goes on with a begun message:
//!    `chat-continue`, `llama-cpp-chat`, `mistral` or `deepseek`. A server may have both.
//! 4. It answers chats: `chat`.
//!
//! A server goes on if, given the first half of its own reply as a begun one, it gives the second
//! half. A server that begins anew does not begin with a space. Where replies repeat the begun
//! message, it starts with a sign of ours.

use std::fmt;
use std::time::Instant;

use tokenroute_core::{LlmError, TokenId};

use super::{Http, ServerInfo, after};
use crate::LlmPrompt;
use crate::http::text::{Said, TextApi, TextApis, TextQuery, said};
use crate::http::transport::{Counters, Failure};
use crate::http::wire::Listed;
use crate::http::{Api, HttpError};

/// The text that a server goes on with.
pub const PROBE: &str = "One, two, three, four, five,";

/// The message that a chat answers.
const QUESTION: &str = "Count from one to ten in words.";

/// Tokens of a reply.
const TOKENS: usize = 12;

/// What a begun message starts with where the reply repeats it. A chat that begins anew may say
/// its own first half again, but not this.
const MARK: &str = "~ ";

/// The owner of Ollama's models.
const OLLAMA: &str = "library";

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Token ids of the pair, by this API.
    Ids(Api),
    /// Text alone, by these APIs.
    Text(TextApis),
}

/// What was found about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its URL.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// What it takes.
    pub takes: Takes,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { url, model, takes } = self;
        write!(f, "the LLM {model} at {url} takes ")?;
        match takes {
            Takes::Ids(api) => write!(f, "token ids (API {api})"),
            Takes::Text(apis) if apis.is_whole() => {
                write!(f, "chats alone, and answers them whole (API {apis})")
            }
            Takes::Text(apis) => write!(f, "text alone (API {apis})"),
        }
    }
}

/// A reply to a probe, or why there is none.
type Probed = Result<Said, LlmError>;

impl Http {
    /// Finds out what the server takes. It is asked for its models and for a few tokens. `ids` is
    /// [`PROBE`] in the pair's tokens.
    ///
    /// # Errors
    /// A server that cannot be reached ([`HttpError::Llm`]), or that goes on with nothing
    /// ([`HttpError::NotFound`]).
    pub fn find(&self, ids: &[TokenId]) -> Result<Found, HttpError> {
        let listed =
            self.inner.listed(after(self.config().total)).map_err(|error| match error {
                HttpError::Llm(error @ (LlmError::Refused(_) | LlmError::BadReply(_))) => {
                    self.not_found(error.to_string())
                }
                other => other,
            })?;
        let Listed { id, owned_by, tokenizer_hash, max_model_len } = listed;
        let api = Api::of_owner(&owned_by);
        let info = ServerInfo { api, model: id, context: max_model_len };
        let model = self.inner.server.get_or_init(|| info).model.clone();
        let takes = match api {
            Api::Tokenroute => {
                let ours = self.vocabulary().hash();
                let same = tokenizer_hash.is_none_or(|theirs| theirs == ours);
                match same && self.purse().is_none() {
                    true => Takes::Ids(api),
                    false => Takes::Text(TextApi::Completions.into()),
                }
            }
            api => self.takes(api, &owned_by, ids)?,
        };
        Ok(Found { url: self.transport().base().to_owned(), model, takes })
    }

    fn takes(&self, api: Api, owner: &str, ids: &[TokenId]) -> Result<Takes, HttpError> {
        let prompt = LlmPrompt::Text(PROBE.to_owned());
        // A limit of spending is kept by APIs of text alone.
        let ids_too = self.purse().is_none();
        let known = ids_too && api != Api::OpenAi;
        let text = match owner {
            OLLAMA => None,
            _ => match self.probe(TextApi::Completions, &prompt, "") {
                Err(_) if known => return Ok(Takes::Ids(api)),
                probed => Some(probed?),
            },
        };
        let first = text.and_then(Result::ok).filter(|said| !said.text.trim().is_empty());
        // A server that is late or busy is believed.
        let same = |first: &Said| self.takes_ids(first, ids).unwrap_or(true);
        if known && first.as_ref().is_none_or(same) {
            return Ok(Takes::Ids(api));
        }
        let completions = match &first {
            Some(first) => self.goes_on(TextApi::Completions, &prompt, first)?,
            None => false,
        };
        if let (true, true, Some(first)) = (completions, ids_too && !known, &first)
            && self.takes_ids(first, ids)?
        {
            return Ok(Takes::Ids(api));
        }
        let plain = match completions {
            true => Some(TextApi::Completions),
            false => self.first_of(&[TextApi::Ollama], &prompt)?.ok().flatten(),
        };
        let prompt = LlmPrompt::Chat(vec![("user".to_owned(), QUESTION.to_owned())]);
        let with_version = [TextApi::ChatContinue, TextApi::LlamaCppChat, TextApi::Mistral];
        let whole = self.first_of(&with_version, &prompt)?;
        let chats = match whole {
            Ok(Some(api)) => Some(api),
            _ => self.first_of(&[TextApi::DeepSeek], &prompt)?.ok().flatten(),
        };
        if let Some(apis) = TextApis::found(plain, chats) {
            return Ok(Takes::Text(apis));
        }
        match whole {
            Ok(_) => Ok(Takes::Text(TextApi::Chat.into())),
            Err(error) => Err(self.not_found(format!(
                "it goes on with no begun text and with no begun message, and has no chats ({error})"
            ))),
        }
    }

    /// The first of some APIs by which the server goes on. They begin an answer alike, so the
    /// server is asked for one once; a server that does not give it has none of them.
    fn first_of(
        &self,
        apis: &[TextApi],
        prompt: &LlmPrompt,
    ) -> Result<Result<Option<TextApi>, LlmError>, HttpError> {
        let first = match self.probe(apis[0], prompt, "")? {
            Ok(first) => first,
            Err(error) => return Ok(Err(error)),
        };
        for &api in apis {
            if self.goes_on(api, prompt, &first)? {
                return Ok(Ok(Some(api)));
            }
        }
        Ok(Ok(None))
    }

    /// Whether the server goes on with the first half of its own reply.
    fn goes_on(&self, api: TextApi, prompt: &LlmPrompt, first: &Said) -> Result<bool, HttpError> {
        let Some((begun, rest)) = halves(&first.text) else { return Ok(false) };
        if !api.repeats() {
            let said = self.probe(api, prompt, begun)?;
            return Ok(said.is_ok_and(|said| said.text.starts_with(rest)));
        }
        let said = self.probe(api, prompt, &format!("{MARK}{begun}"))?;
        Ok(said.is_ok_and(|said| !said.text.trim().is_empty()))
    }

    /// Whether the server goes on with the probe's ids as it did with its text.
    fn takes_ids(&self, said: &Said, ids: &[TokenId]) -> Result<bool, HttpError> {
        if ids.is_empty() {
            return Ok(false);
        }
        let prompt = LlmPrompt::Tokens(ids.to_vec());
        let reply = self.probe(TextApi::Completions, &prompt, "")?;
        Ok(reply.is_ok_and(|reply| reply.text == said.text))
    }

    fn probe(&self, api: TextApi, prompt: &LlmPrompt, text: &str) -> Result<Probed, HttpError> {
        let query = TextQuery { prompt, text, tokens: TOKENS, sampling: None };
        let bill = Counters::default();
        self.patiently(|deadline| said(self, api, &query, deadline, &bill))
    }

    /// Makes attempts while the server is busy. A reply that says no is within; an error of a
    /// server that says nothing is without.
    fn patiently<T>(
        &self,
        mut attempt: impl FnMut(Instant) -> Result<T, Failure>,
    ) -> Result<Result<T, LlmError>, HttpError> {
        let mut silent = false;
        let reply = self.persist(after(self.config().total), |deadline| {
            attempt(deadline).map_err(|failure| {
                let late = matches!(failure.error, LlmError::Late(_));
                let busy = failure.retry && matches!(failure.error, LlmError::Refused(_));
                silent = failure.unsent || late || busy;
                let garbled = matches!(failure.error, LlmError::BadReply(_));
                // A refused probe does not show that the server is down.
                Failure { retry: failure.retry && !garbled, unhealthy: false, ..failure }
            })
        });
        match reply {
            Err(error) if silent => Err(self.not_found(error.to_string())),
            other => Ok(other),
        }
    }

    fn not_found(&self, why: String) -> HttpError {
        HttpError::NotFound { url: self.transport().base().to_owned(), why }
    }
}

/// A reply before and from the space in its middle, up to the next space.
fn halves(text: &str) -> Option<(&str, &str)> {
    let middle = text.len() / 2;
    let words = text.match_indices(char::is_whitespace).map(|(at, _)| at);
    let cut = words
        .filter(|&at| !text[..at].ends_with(char::is_whitespace) && at > 0)
        .filter(|&at| !text[at..].trim().is_empty())
        .min_by_key(|&at| at.abs_diff(middle))?;
    let (begun, rest) = text.split_at(cut);
    let word = rest.trim_start();
    let end = word.find(char::is_whitespace).unwrap_or(word.len());
    Some((begun, &rest[..rest.len() - word.len() + end]))
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn a_reply_is_cut_before_the_word_in_its_middle() {
        for (text, found) in [
            (" six, seven, eight, nine,", Some((" six, seven,", " eight,"))),
            ("one two", Some(("one", " two"))),
            ("one\n\ntwo three", Some(("one\n\ntwo", " three"))),
            ("one\n\ntwo", Some(("one", "\n\ntwo"))),
            (" one", None),
            ("one ", None),
            ("", None),
        ] {
            assert_eq!(halves(text), found, "{text:?}");
        }
    }
}
