//! Chat templates: messages to a prompt, through the Jinja template that comes with a model
//! and the helpers that Hugging Face's templates call.

mod meter;
mod python;
mod rewrite;
mod search;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use chrono::NaiveDate;
use minijinja::{Environment, ErrorKind, Value};
use serde::{Deserialize, Serialize};

use crate::weights::gguf::{Gguf, GgufError, is_gguf};

/// Most steps of a template. The longest known templates take a few thousand for a long
/// conversation.
const FUEL: u64 = 2_000_000;
/// Most bytes of a template. The longest known ones have about twenty thousand. Compiling takes
/// time by the square of an expression's length.
const MOST_SOURCE: usize = 64 << 10;
/// Most bytes of a prompt.
const MOST_BYTES: usize = 8 << 20;
/// Stack of the thread that compiles and renders. A template may nest expressions as deeply as
/// its length allows. The system gives memory only to
/// the part that is used.
const STACK: usize = 512 << 20;
/// Most nested calls.
const MOST_DEPTH: usize = 100;
const NAME: &str = "chat";
/// Variables that every prompt sets itself.
const RESERVED: [&str; 5] =
    ["messages", "tools", "documents", "add_generation_prompt", "strftime_now"];
/// The key of the template in a GGUF file.
const TEMPLATE: &str = "tokenizer.chat_template";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// "system", "user", "assistant" or another role that the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Message { role: role.to_owned(), content: content.to_owned() }
    }
}

/// The arguments of a template beside the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// Whether the prompt ends with the start of the assistant's answer.
    pub add_generation_prompt: bool,
    /// The date for `strftime_now`, at midnight. Without it the helper is undefined and a
    /// template falls back on its own date. So a prompt is a function of its arguments,
    /// never of the clock.
    pub date: Option<NaiveDate>,
    /// Further variables, such as `enable_thinking`.
    pub variables: BTreeMap<String, serde_json::Value>,
}

impl ChatOptions {
    /// A name among the variables that every prompt sets itself, if there is one.
    #[must_use]
    pub fn reserved_variable(&self) -> Option<&'static str> {
        RESERVED.into_iter().find(|name| self.variables.contains_key(*name))
    }
}

impl Default for ChatOptions {
    fn default() -> Self {
        ChatOptions { add_generation_prompt: true, date: None, variables: BTreeMap::new() }
    }
}

/// A model's chat template, compiled.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    path: PathBuf,
    source: String,
    environment: Environment<'static>,
    /// Special tokens by name: `bos_token`, `eos_token` and others.
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template of a model; `None` if it has none.
    ///
    /// As in transformers, a directory has it in `chat_template.jinja`, or as
    /// `chat_template` in tokenizer_config.json (of several, the one named "default"). For a
    /// GGUF file, these files beside it come first, then `tokenizer.chat_template` in its
    /// metadata.
    ///
    /// # Errors
    /// A file that cannot be read or a template that does not parse.
    pub fn read(model: &Path) -> Result<Option<Self>, ChatError> {
        if !is_gguf(model) {
            return ChatTemplate::of_directory(model);
        }
        let beside = ChatTemplate::of_directory(model.parent().unwrap_or(Path::new("")))?;
        if beside.is_some() {
            return Ok(beside);
        }
        let file = Gguf::open(model)
            .map_err(|source| ChatError::Gguf { path: model.to_owned(), source })?;
        let Some(template) = file.get(TEMPLATE) else { return Ok(None) };
        let source = template.as_str().ok_or_else(|| {
            let what = format!("`{TEMPLATE}` is {template}; expected a text");
            ChatError::Config { path: model.to_owned(), what }
        })?;
        ChatTemplate::new(model, source, file.special_tokens()).map(Some)
    }

    fn of_directory(dir: &Path) -> Result<Option<Self>, ChatError> {
        let config_path = dir.join("tokenizer_config.json");
        let config: serde_json::Value = match read_text(&config_path)? {
            None => serde_json::Value::Null,
            Some(text) => serde_json::from_str(&text).map_err(|e| {
                let what = format!("it is not JSON: {e}");
                ChatError::Config { path: config_path.clone(), what }
            })?,
        };
        let tokens = special_tokens(&config);
        let path = dir.join("chat_template.jinja");
        if let Some(source) = read_text(&path)? {
            return ChatTemplate::new(&path, &source, tokens).map(Some);
        }
        match template_of(&config) {
            Ok(None) => Ok(None),
            Ok(Some(source)) => ChatTemplate::new(&config_path, source, tokens).map(Some),
            Err(what) => Err(ChatError::Config { path: config_path, what }),
        }
    }

    /// Compiles a template. `path` names it in errors; `tokens` are the special tokens that
    /// it may use (`bos_token`, `eos_token`, ...).
    ///
    /// # Errors
    /// A template that does not parse or is longer than 64 KiB.
    pub fn new(
        path: &Path,
        source: &str,
        tokens: BTreeMap<String, String>,
    ) -> Result<Self, ChatError> {
        let failed = |what| ChatError::Template { path: path.to_owned(), what };
        if source.len() > MOST_SOURCE {
            let bytes = source.len();
            return Err(failed(format!("it has {bytes} bytes; expected at most {MOST_SOURCE}")));
        }
        let compiled = on_deep_stack(|| {
            let mut environment = Environment::new();
            environment.set_trim_blocks(true);
            environment.set_lstrip_blocks(true);
            environment.set_fuel(Some(FUEL));
            environment.set_recursion_limit(MOST_DEPTH);
            meter::install(&mut environment);
            search::install(&mut environment);
            python::install(&mut environment);
            environment
                .add_template_owned(NAME, rewrite::prepared(source))
                .map_err(|e| in_words(&e))?;
            Ok::<_, String>(environment)
        });
        let environment = compiled.and_then(|compiled| compiled).map_err(failed)?;
        Ok(ChatTemplate { path: path.to_owned(), source: source.to_owned(), environment, tokens })
    }

    /// The template's source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt of a conversation. Encode it without adding special tokens, since the
    /// template has written them.
    ///
    /// # Errors
    /// A conversation that the template refuses (`raise_exception`); a template that does not
    /// end or builds more than 64 MiB; a prompt of more than 8 MiB.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String, ChatError> {
        // All values of the rendering are dropped there as well.
        let rendered = on_deep_stack(|| self.render_here(messages, options));
        rendered.unwrap_or_else(|what| Err(ChatError::Template { path: self.path.clone(), what }))
    }

    fn render_here(
        &self,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<String, ChatError> {
        let failed = |e: &minijinja::Error| match e.detail() {
            Some(detail) if detail.starts_with(python::REFUSED) => ChatError::Refused {
                path: self.path.clone(),
                what: detail[python::REFUSED.len()..].to_owned(),
            },
            _ => ChatError::Template { path: self.path.clone(), what: in_words(e) },
        };
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        // transformers always passes these two.
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        context.extend(self.tokens.iter().map(|(k, v)| (k.as_str(), Value::from(v.as_str()))));
        context
            .extend(options.variables.iter().map(|(k, v)| (k.as_str(), Value::from_serialize(v))));
        context.insert("messages", Value::from_serialize(messages));
        context.insert("add_generation_prompt", options.add_generation_prompt.into());
        if let Some(date) = options.date {
            context.insert("strftime_now", python::strftime(date));
        }
        let template = self.environment.get_template(NAME).map_err(|e| failed(&e))?;
        let mut prompt = Bounded(Vec::new());
        template.render_captured_to(&context, &mut prompt).map_err(|e| failed(&e))?;
        String::from_utf8(prompt.0).map_err(|e| {
            let what = format!("its output is not UTF-8: {e}");
            ChatError::Template { path: self.path.clone(), what }
        })
    }
}

/// Runs work on a thread with a deep stack.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = spawned.map_err(|error| format!("the system refuses a thread: {error}"))?;
        thread.join().map_err(|_| "the template engine panicked".to_owned())
    })
}

/// A sink with a size limit.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_BYTES {
            return Err(io::Error::other(format!("the prompt exceeds {MOST_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a text file; `None` if it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChatError::Read { path: path.to_owned(), source }),
    }
}

/// `chat_template`: a string, or a list of named templates.
fn template_of(config: &serde_json::Value) -> Result<Option<&str>, String> {
    match config.get("chat_template") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(source)) => Ok(Some(source)),
        Some(serde_json::Value::Array(named)) => {
            let default = named.iter().find(|t| t["name"] == "default");
            let source = default.and_then(|t| t["template"].as_str());
            source.map(Some).ok_or_else(|| {
                "`chat_template` lists no template named \"default\"; add one, or write it to chat_template.jinja".to_owned()
            })
        }
        Some(other) => Err(format!(
            "`chat_template` is {other}; expected a template or a list of named templates"
        )),
    }
}

/// Every `*_token` that is a string or an object with a `content`.
fn special_tokens(config: &serde_json::Value) -> BTreeMap<String, String> {
    let fields = config.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, value)| {
            let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
            Some((name.clone(), text.to_owned()))
        })
        .collect()
}

/// A template's error and its causes in one line.
fn in_words(error: &minijinja::Error) -> String {
    let mut words = error.to_string();
    if error.kind() == ErrorKind::OutOfFuel {
        words = format!("it does not end within {FUEL} steps");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}

/// A chat template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// A file that exists but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A GGUF file that cannot be read.
    #[error("{}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: GgufError,
    },
    /// A tokenizer_config.json or metadata without a usable template.
    #[error("{}: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The reason and the expected value.
        what: String,
    },
    /// A template that does not parse, that fails or that does not end.
    #[error("the chat template of {} fails: {what}", path.display())]
    Template {
        /// The template's file.
        path: PathBuf,
        /// The place and the reason.
        what: String,
    },
    /// A conversation that the template itself refuses.
    #[error("the chat template of {} refuses the conversation: {what}", path.display())]
    Refused {
        /// The template's file.
        path: PathBuf,
        /// The template's message.
        what: String,
    },
}
