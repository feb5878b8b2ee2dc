//! Requests and replies of APIs that go on with a text.
//!
//! | API | request | sources |
//! | --- | --- | --- |
//! | `text` | `/v1/completions` with a text prompt | OpenAI's reference; vLLM, SGLang, llama.cpp's server and `tokenroute cloud` have it |
//! | `chat-continue` | a begun assistant message, `continue_final_message`, no generation prompt | vLLM's and SGLang's `ChatCompletionRequest` |
//! | `llama-cpp-chat` | as `chat-continue`; the reply repeats the begun message | llama.cpp's server, `tools/server/server-common.cpp`, and its replies |
//! | `deepseek` | a begun assistant message with `prefix`; the URL ends in `/beta` | DeepSeek's guide "Chat Prefix Completion" |
//! | `mistral` | a begun assistant message with `prefix`, which the reply repeats | Mistral's guide "Prefix" |
//! | `chat` | a chat that cannot go on with a begun message: whole answers | OpenAI's reference |
//! | `ollama` | `/api/generate` with `raw` | Ollama's `docs/api.md` |

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};
use tokenroute_core::{LlmError, Sampling};

use crate::LlmPrompt;
use crate::http::spend::Counted;
use crate::http::wire::{bad, parse};

/// Most tokens that a reply may count. Sums of greater counts could overflow.
const COUNTED: u64 = 1 << 32;

/// Most characters of a reason that an error shows.
const SHOWN: usize = 40;

/// API of a server that goes on with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextApi {
    /// `/v1/completions` with text prompts.
    Completions,
    /// vLLM's and SGLang's chats that continue the last message.
    ChatContinue,
    /// The same on llama.cpp's server, whose replies repeat the begun message.
    LlamaCppChat,
    /// DeepSeek's chat prefix completion.
    DeepSeek,
    /// Mistral's chats with a prefix.
    Mistral,
    /// Ollama's `/api/generate`, raw.
    Ollama,
    /// Chats that answer with whole messages alone.
    Chat,
}

/// A text to go on with, and how many tokens are wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct TextQuery<'a> {
    pub(in crate::http) prompt: &'a LlmPrompt,
    pub(in crate::http) text: &'a str,
    pub(in crate::http) tokens: usize,
    pub(in crate::http) sampling: Option<Sampling>,
}

/// What a server goes on with.
#[derive(Debug, Default)]
pub(in crate::http) struct Said {
    pub(in crate::http) text: String,
    pub(in crate::http) ended: bool,
    /// Positions that it processed, if it says so.
    pub(in crate::http) positions: u64,
    /// Its count of tokens, if it has one.
    pub(in crate::http) counted: Option<Counted>,
}

impl TextQuery<'_> {
    /// Bytes of all texts of the request, and its number of messages.
    pub(super) fn size(&self) -> (usize, usize) {
        let (bytes, messages) = match self.prompt {
            LlmPrompt::Tokens(ids) => (ids.len(), 0),
            LlmPrompt::Text(text) => (text.len(), 0),
            LlmPrompt::Chat(turns) => {
                (turns.iter().map(|(role, text)| role.len() + text.len()).sum(), turns.len() + 1)
            }
        };
        (bytes + self.text.len(), messages)
    }

    /// Most bytes of a reply, which may repeat the text.
    pub(super) fn reply_limit(&self) -> usize {
        const ALWAYS: usize = 1 << 18;
        const A_TOKEN: usize = 1 << 10;
        // JSON writes a character in up to six bytes.
        let repeated = self.text.len().saturating_mul(6);
        repeated.saturating_add(self.tokens * A_TOKEN).saturating_add(ALWAYS)
    }
}

impl TextApi {
    /// Every API with its name in arguments and experiment files.
    pub const ALL: [(&'static str, TextApi); 7] = [
        ("text", TextApi::Completions),
        ("chat-continue", TextApi::ChatContinue),
        ("llama-cpp-chat", TextApi::LlamaCppChat),
        ("deepseek", TextApi::DeepSeek),
        ("mistral", TextApi::Mistral),
        ("ollama", TextApi::Ollama),
        ("chat", TextApi::Chat),
    ];

    /// The API of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<TextApi> {
        TextApi::ALL.iter().find(|(known, _)| *known == name).map(|(_, api)| *api)
    }

    /// Whether it takes messages, to which the server applies its chat template. The others take
    /// prompts as text.
    #[must_use]
    pub fn chats(self) -> bool {
        !matches!(self, TextApi::Completions | TextApi::Ollama)
    }

    /// Whether it gives whole answers alone, so that it cannot go on with a text.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self == TextApi::Chat
    }

    /// Whether the server needs flags to go on with the last message.
    fn is_flagged(self) -> bool {
        matches!(self, TextApi::ChatContinue | TextApi::LlamaCppChat)
    }

    /// Whether a reply begins with the begun message.
    pub(in crate::http) fn repeats(self) -> bool {
        matches!(self, TextApi::LlamaCppChat | TextApi::Mistral)
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            TextApi::Completions => "/v1/completions",
            TextApi::ChatContinue | TextApi::LlamaCppChat | TextApi::Mistral | TextApi::Chat => {
                "/v1/chat/completions"
            }
            // The base is the beta URL, which has no version.
            TextApi::DeepSeek => "/chat/completions",
            TextApi::Ollama => "/api/generate",
        }
    }

    /// The request's body. Penalties are switched off by name where an API has them.
    ///
    /// # Errors
    /// A prompt in another form than this API takes.
    pub(super) fn body(self, model: &str, query: &TextQuery<'_>) -> Result<Vec<u8>, LlmError> {
        let TextQuery { prompt, text, tokens, sampling } = *query;
        let temperature = sampling.map_or(0.0, |sampling| sampling.temperature());
        let mut body = match (self, prompt) {
            (TextApi::Completions, LlmPrompt::Text(prompt)) => json!({
                "model": model, "prompt": format!("{prompt}{text}"), "max_tokens": tokens,
                "temperature": temperature, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            }),
            // A probe alone sends ids here.
            (TextApi::Completions, LlmPrompt::Tokens(ids)) if text.is_empty() => json!({
                "model": model, "prompt": ids, "max_tokens": tokens,
                "temperature": temperature, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            }),
            (TextApi::Ollama, LlmPrompt::Text(prompt)) => json!({
                "model": model, "prompt": format!("{prompt}{text}"), "raw": true, "stream": false,
                "options": {
                    "num_predict": tokens, "temperature": temperature, "repeat_penalty": 1.0,
                },
            }),
            (TextApi::Chat, LlmPrompt::Chat(_)) if !text.is_empty() => {
                return Err(LlmError::Refused(
                    "the API chat gives whole answers, and goes on with no begun one; use --handoff"
                        .to_owned(),
                ));
            }
            (_, LlmPrompt::Chat(messages)) if self.chats() => {
                let message =
                    |(role, content): &(String, String)| json!({"role": role, "content": content});
                let mut messages: Vec<Value> = messages.iter().map(message).collect();
                let mut body = json!({
                    "model": model, "max_tokens": tokens, "temperature": temperature,
                    "stream": false,
                });
                if !text.is_empty() {
                    let mut begun = json!({"role": "assistant", "content": text});
                    if self.is_flagged() {
                        body["add_generation_prompt"] = json!(false);
                        body["continue_final_message"] = json!(true);
                    } else {
                        begun["prefix"] = json!(true);
                    }
                    messages.push(begun);
                }
                body["messages"] = json!(messages);
                body
            }
            (TextApi::Completions | TextApi::Ollama, _) => {
                return Err(LlmError::Refused(format!(
                    "the API {self} takes prompts of text, and this is a chat; use one that takes chats (chat-continue, llama-cpp-chat, deepseek, mistral)"
                )));
            }
            _ => {
                return Err(LlmError::Refused(format!(
                    "the API {self} takes chats, and this prompt is plain text; use `text`"
                )));
            }
        };
        if let Some(sampling) = sampling {
            let seed = sampling.call_seed(text.len());
            let fields = match self {
                TextApi::Ollama => &mut body["options"],
                _ => &mut body,
            };
            fields["top_p"] = json!(sampling.top_p());
            let name = if self == TextApi::Mistral { "random_seed" } else { "seed" };
            fields[name] = json!(seed);
        }
        Ok(body.to_string().into_bytes())
    }

    /// Reads and checks a reply.
    ///
    /// # Errors
    /// [`LlmError::BadReply`] for anything that does not go on with the text.
    pub(super) fn read(self, bytes: &[u8], query: &TextQuery<'_>) -> Result<Said, LlmError> {
        let (text, reason, counted) = match self {
            TextApi::Ollama => {
                let Generated { response, done_reason, prompt_eval_count, eval_count } =
                    parse(bytes)?;
                let counted = eval_count.map(|output| {
                    // It counts the tokens that it evaluated, so cached ones are left out.
                    Counted { input: prompt_eval_count.unwrap_or(0), cached_input: 0, output }
                });
                (response, done_reason, counted)
            }
            _ => {
                let reply: Reply = parse(bytes)?;
                let found = reply.choices.len();
                let Some(choice) = reply.choices.into_iter().next().filter(|_| found == 1) else {
                    return bad(format!("{found} choices; expected 1"));
                };
                let text = match self.chats() {
                    true => choice.message.and_then(|message| message.content),
                    false => choice.text,
                };
                let counted = reply.usage.and_then(|usage| {
                    let cached = usage.prompt_tokens_details.and_then(|d| d.cached_tokens);
                    Some(Counted {
                        input: usage.prompt_tokens?,
                        cached_input: cached.unwrap_or(0),
                        output: usage.completion_tokens?,
                    })
                });
                (text, choice.finish_reason, counted)
            }
        };
        let Some(mut text) = text else { return bad("a reply without text".to_owned()) };
        if self.repeats() && !query.text.is_empty() {
            let Some(new) = text.strip_prefix(query.text) else {
                return bad("a reply that does not begin with the prefix".to_owned());
            };
            text = new.to_owned();
        }
        let ended = match reason.as_deref() {
            Some("stop") => true,
            Some("length") => false,
            other => {
                let reason: String = other.unwrap_or("none").chars().take(SHOWN).collect();
                return bad(format!("a reply that ended for {reason:?}; expected stop or length"));
            }
        };
        if !ended {
            // The limit may have cut a character.
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        if let Some(Counted { input, cached_input, output }) = counted
            && let Some(tokens) = [input, cached_input, output].into_iter().find(|n| *n > COUNTED)
        {
            return bad(format!("a count of {tokens} tokens; expected at most {COUNTED}"));
        }
        let positions = counted.map_or(0, |counted| {
            let read = counted.input.saturating_sub(counted.cached_input);
            read + counted.output.saturating_sub(1)
        });
        Ok(Said { text, ended, positions, counted })
    }
}

impl fmt::Display for TextApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TextApi::ALL.iter().find(|(_, api)| api == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize, Default)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Generated {
    response: Option<String>,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
}
