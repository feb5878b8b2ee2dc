//! Settings from the environment variables of Hugging Face's tools.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hf_hub::Cache;

/// How to fetch files.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of the Hub.
    pub endpoint: String,
    /// The `hub` folder of the cache.
    pub cache: PathBuf,
    /// The access token.
    pub token: Option<AccessToken>,
    /// Whether to use only the cache.
    pub offline: bool,
    /// A fetch fails if no data arrives for this long.
    pub timeout: Duration,
}

/// The default of [`Settings::timeout`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// An access token. `Debug` does not show it.
#[derive(Clone)]
pub struct AccessToken(String);

impl AccessToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        AccessToken(token.to_owned())
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

impl Settings {
    /// Reads the environment: `HF_ENDPOINT`; `HF_HUB_CACHE`, else `HF_HOME`, else
    /// `~/.cache/huggingface`; `HF_TOKEN`, else the file `token` from logging in;
    /// `HF_HUB_OFFLINE`; `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    #[must_use]
    pub fn from_env() -> Self {
        Settings::read(|name| std::env::var(name).ok())
    }

    /// As [`Settings::from_env`], with another source of variables. Empty values count as
    /// not set.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let home = given("HF_HOME").map(|home| Cache::new(PathBuf::from(home).join("hub")));
        let own = given("HF_HUB_CACHE").map(|cache| Cache::new(cache.into()));
        let kept = home.unwrap_or_else(|| match given("HOME").or_else(|| given("USERPROFILE")) {
            Some(home) => Cache::new(PathBuf::from(home).join(".cache/huggingface/hub")),
            None => Cache::new(PathBuf::from(".cache/huggingface/hub")),
        });
        let token = given("HF_TOKEN").or_else(|| kept.token());
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = given("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        let seconds = given("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.trim().parse().ok());
        let timeout = seconds
            .filter(|&seconds: &f64| seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Settings {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: own.unwrap_or(kept).path().clone(),
            token: token.map(|token| AccessToken(token.trim().to_owned())),
            offline,
            timeout: timeout.unwrap_or(TIMEOUT),
        }
    }
}
