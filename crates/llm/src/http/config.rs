//! Configuration of the client: URL and API of the server, key, time limits.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

use crate::ApiKey;
use crate::http::transport::is_loopback;
use crate::http::{HttpError, SpendLimit, TextApi};

/// API of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `tokenroute cloud`: completions with token ids, and vLLM's `prompt_logprobs`.
    Tokenroute,
    /// vLLM's `/v1/completions`, with `return_token_ids` and `prompt_logprobs`.
    Vllm,
    /// SGLang's `/generate`, with `input_top_logprobs`.
    Sglang,
    /// llama.cpp's `/completion`, with `return_tokens`.
    LlamaCpp,
    /// Any other `/v1/completions`: it may answer with text alone.
    OpenAi,
}

impl Api {
    /// Every API with its name in arguments and experiment files.
    pub const ALL: [(&'static str, Api); 5] = [
        ("tokenroute", Api::Tokenroute),
        ("vllm", Api::Vllm),
        ("sglang", Api::Sglang),
        ("llama-cpp", Api::LlamaCpp),
        ("openai", Api::OpenAi),
    ];

    /// The API of a server whose `/v1/models` names this owner; [`Api::OpenAi`] if the owner
    /// is unknown.
    pub(crate) fn of_owner(owner: &str) -> Api {
        match owner {
            "tokenroute" => Api::Tokenroute,
            "vllm" => Api::Vllm,
            "sglang" => Api::Sglang,
            "llamacpp" => Api::LlamaCpp,
            _ => Api::OpenAi,
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Api::ALL.iter().find(|(_, api)| api == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Api {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        let found = Api::ALL.iter().find(|(name, _)| *name == text);
        found.map(|&(_, api)| api).ok_or_else(|| HttpError::UnknownApi { name: text.to_owned() })
    }
}

/// URL, key and time limits of an LLM over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// URL of the server, with or without `/v1` at the end.
    pub url: String,
    /// Its API; `None` reads it from `/v1/models`.
    pub api: Option<Api>,
    /// The API of a server that takes text alone; `None` for one that takes token ids.
    pub text: Option<TextApi>,
    /// Prices and the most that may be spent, for an API of text.
    pub spend: Option<SpendLimit>,
    /// The model's name on the server; `None` takes the first that the server lists.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub key: Option<ApiKey>,
    /// A certificate authority, in PEM, to trust beside the system's.
    pub authority: Option<Vec<u8>>,
    /// Longest wait for a connection, name look-up and TLS included.
    pub connect: Duration,
    /// Longest wait for the reply's head, a new connection included.
    pub first_byte: Duration,
    /// Longest time for one ask, retries and pauses included.
    pub total: Duration,
    /// Most attempts for one ask, at least 1. Completions change nothing on the server, so
    /// retries are safe.
    pub attempts: u32,
    /// Send a second request in parallel after this time without a reply.
    pub hedge: Option<Duration>,
    /// Most requests at once.
    pub connections: usize,
    /// Use HTTP/2 from the first byte over plain HTTP; the server must support it. Over TLS
    /// the two negotiate, and HTTP/2 is used if the server offers it.
    pub http2: bool,
    /// When asks fail at once for a while.
    pub breaker: BreakerConfig,
}

impl HttpConfig {
    /// Waits of 1 s to connect, 2 s for the first byte and 4 s in all; three
    /// attempts; no hedging; 8 connections.
    pub fn new(url: &str) -> Self {
        HttpConfig {
            url: url.to_owned(),
            api: None,
            text: None,
            spend: None,
            model: None,
            key: None,
            authority: None,
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(2),
            total: Duration::from_secs(4),
            attempts: 3,
            hedge: None,
            connections: 8,
            http2: false,
            breaker: BreakerConfig::default(),
        }
    }

    /// Sets the API by its name: one of [`Api::ALL`], or of [`TextApi::ALL`] for a server that
    /// takes text alone.
    ///
    /// # Errors
    /// An unknown name.
    pub fn speak(&mut self, name: &str) -> Result<(), HttpError> {
        self.text = TextApi::named(name);
        self.api = if self.text.is_some() { None } else { Some(name.parse()?) };
        Ok(())
    }

    /// The URL in the name of an LLM; `None` if it names a model that runs here.
    #[must_use]
    pub fn url_of(named: &Path) -> Option<&str> {
        named.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://"))
    }

    /// Whether a key that is sent to this URL can be read on the way: plain HTTP to another
    /// machine.
    #[must_use]
    pub fn exposes_key(url: &str) -> bool {
        url.starts_with("http://") && !is_loopback(url)
    }

    /// Whether the name of an LLM reads like a server's but begins with neither `http://`
    /// nor `https://`: `127.0.0.1:8433`, `ftp://host`.
    #[must_use]
    pub fn lacks_scheme(named: &Path) -> bool {
        let name = named.to_string_lossy();
        let host = name.split('/').next().unwrap_or_default();
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        let has_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        HttpConfig::url_of(named).is_none() && (has_port || name.contains("://"))
    }

    /// The URL without `/v1` and trailing slashes.
    pub(crate) fn base(&self) -> Result<String, HttpError> {
        let refuse = |reason| Err(HttpError::BadUrl { url: without_user(&self.url), reason });
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return refuse("it has no scheme");
        };
        if !matches!(scheme, "http" | "https") {
            return refuse("its scheme is neither http nor https");
        }
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() {
            return refuse("it names no host");
        }
        if host.contains('@') {
            return refuse("it contains a user or password; set a key in the environment");
        }
        if rest.contains(['?', '#']) {
            return refuse("it contains a query or fragment");
        }
        match Url::parse(&self.url) {
            Ok(url) if url.port() == Some(0) => return refuse("its port is 0"),
            Ok(_) => {}
            Err(_) => return refuse("its host or its port cannot be read"),
        }
        let base = self.url.trim_end_matches('/');
        Ok(base.strip_suffix("/v1").unwrap_or(base).to_owned())
    }
}

fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

/// When asks to a failing server fail at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open the circuit, at least 1.
    pub failures: u32,
    /// Time until the first probe, which requests a page such as the list of models. It
    /// doubles with every probe that fails, and with every ask that fails after an answered
    /// probe.
    pub pause: Duration,
    /// Longest time between probes.
    pub longest: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let pause = Duration::from_millis(250);
        BreakerConfig { failures: 3, pause, longest: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers_are_told_from_paths() {
        for (name, url, lacks_scheme) in [
            ("https://host/v1", true, false),
            ("http://127.0.0.1:8433", true, false),
            ("127.0.0.1:8433", false, true),
            ("ftp://host", false, true),
            ("models/llm", false, false),
            ("hf:owner/name:file.gguf", false, false),
        ] {
            let named = Path::new(name);
            assert_eq!(HttpConfig::url_of(named).is_some(), url, "{name}");
            assert_eq!(HttpConfig::lacks_scheme(named), lacks_scheme, "{name}");
        }
        for (url, exposes) in [
            ("http://llm.example.org", true),
            ("http://192.168.1.7:8433", true),
            ("https://llm.example.org", false),
            ("http://127.0.0.1:8433", false),
            ("http://localhost:8433/v1", false),
            ("http://[::1]:8433", false),
            ("http://127.0.0.1.example.org", true),
        ] {
            assert_eq!(HttpConfig::exposes_key(url), exposes, "{url}");
        }
    }
}
