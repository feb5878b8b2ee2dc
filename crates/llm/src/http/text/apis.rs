//! The APIs that one server has: for plain prompts, and for chats.

use std::fmt;

use super::TextApi;
use crate::LlmPrompt;

/// The APIs of a server that takes text alone. It has one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextApis {
    first: TextApi,
    /// For prompts of the other form.
    second: Option<TextApi>,
}

/// A server with one API.
impl From<TextApi> for TextApis {
    fn from(api: TextApi) -> Self {
        TextApis { first: api, second: None }
    }
}

impl TextApis {
    /// What a server has for plain prompts and for chats; `None` if it has neither.
    pub(crate) fn found(plain: Option<TextApi>, chats: Option<TextApi>) -> Option<Self> {
        let first = plain.or(chats)?;
        Some(TextApis { first, second: chats.filter(|_| plain.is_some()) })
    }

    /// The API for chats or for plain prompts.
    #[must_use]
    pub fn get(self, chats: bool) -> Option<TextApi> {
        [Some(self.first), self.second].into_iter().flatten().find(|api| api.chats() == chats)
    }

    /// Whether the server gives whole answers alone.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.first.is_whole()
    }

    /// Any of them.
    #[must_use]
    pub fn first(self) -> TextApi {
        self.first
    }

    /// The API for a prompt. If there is none, the other one refuses the prompt.
    pub(super) fn of(self, prompt: &LlmPrompt) -> TextApi {
        self.get(matches!(prompt, LlmPrompt::Chat(_))).unwrap_or(self.first)
    }
}

impl fmt::Display for TextApis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            Some(second) => write!(f, "{} and {second}", self.first),
            None => self.first.fmt(f),
        }
    }
}
