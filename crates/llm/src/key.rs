//! The API key, which no output shows.

use std::fmt;

use subtle::ConstantTimeEq;

/// A key that cannot be sent in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API key is empty or holds characters other than visible ASCII; set it again")]
pub struct BadKey;

/// An environment variable that holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {source}")]
pub struct KeyError {
    /// The variable.
    pub variable: &'static str,
    /// Why no header can carry its value.
    pub source: BadKey,
}

/// The environment variable that holds the LLM's key, on both sides.
pub const CLOUD_KEY: &str = "TOKENROUTE_CLOUD_KEY";

/// The environment variable that holds the key of the server that judges answers.
pub const JUDGE_KEY: &str = "TOKENROUTE_JUDGE_KEY";

/// A secret that neither `Debug` nor any error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key of visible ASCII characters.
    ///
    /// # Errors
    /// An empty key, or one that cannot be sent in a header. The message has no part of it.
    pub fn new(key: &str) -> Result<Self, BadKey> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadKey);
        }
        Ok(ApiKey(key.to_owned()))
    }

    /// The key in an environment variable; `None` if the variable is not set.
    ///
    /// # Errors
    /// A value that is no key; the message holds no part of it.
    pub fn from_env(variable: &'static str) -> Result<Option<Self>, KeyError> {
        let Some(value) = std::env::var_os(variable) else { return Ok(None) };
        let key = ApiKey::new(&value.to_string_lossy());
        key.map(Some).map_err(|source| KeyError { variable, source })
    }

    /// Value of the `authorization` header.
    #[cfg(feature = "http")]
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether an `authorization` header holds this key. The comparison takes the same time
    /// for every wrong key.
    #[must_use]
    pub fn opens(&self, header: &[u8]) -> bool {
        const SCHEME: &[u8] = b"Bearer ";
        let Some((scheme, given)) = header.split_at_checked(SCHEME.len()) else { return false };
        // Schemes have no case; keys do.
        scheme.eq_ignore_ascii_case(SCHEME) && given.ct_eq(self.0.as_bytes()).into()
    }

    /// The text with every occurrence of the key removed, plain or escaped within quotation
    /// marks: servers quote keys that they refuse.
    #[cfg(feature = "http")]
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]").replace(&self.0.escape_debug().to_string(), "[key]")
    }

    /// Whether a text contains the key.
    #[cfg(feature = "http")]
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([key])")
    }
}
