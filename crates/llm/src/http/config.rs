//! What the client must know of the server: where it is, which API it speaks,
//! and how long to wait.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::ApiKey;
use crate::http::HttpError;

/// The API a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `tokenroute cloud`: completions with token ids, and `prompt_logprobs` as vLLM has them.
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

    /// The API of a server whose `/v1/models` names this owner; an unknown one
    /// is taken for [`Api::OpenAi`].
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

/// How to reach an LLM over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the server is, with or without `/v1` at the end.
    pub url: String,
    /// The API it speaks; `None` asks the server's `/v1/models`.
    pub api: Option<Api>,
    /// The model's name there; `None` takes the first the server lists.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub key: Option<ApiKey>,
    /// A certificate authority, in PEM, to trust beside the system's.
    pub authority: Option<Vec<u8>>,
    /// Longest wait for a connection, name look-up and TLS included.
    pub connect: Duration,
    /// Longest wait for the reply's head, a new connection included.
    pub first_byte: Duration,
    /// Longest time for one ask, second attempts and pauses included.
    pub total: Duration,
    /// Most attempts for one ask, at least 1. Completions change nothing
    /// on the server, so asking again is safe.
    pub attempts: u32,
    /// Ask a second time in parallel after this long without a reply.
    pub hedge: Option<Duration>,
    /// Most requests at once.
    pub connections: usize,
    /// Speak HTTP/2 from the first byte, to a server of plain HTTP that knows it. Over
    /// TLS the server is asked, and HTTP/2 taken where it is offered.
    pub http2: bool,
    /// When to stop asking for a while.
    pub breaker: BreakerConfig,
}

impl HttpConfig {
    /// Waits of 1 s to connect, 2 s for the first byte and 4 s in all; three
    /// attempts; no hedging; 8 connections.
    pub fn new(url: &str) -> Self {
        HttpConfig {
            url: url.to_owned(),
            api: None,
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

    /// The URL in the name of an LLM; `None` if it names a model that runs here.
    #[must_use]
    pub fn url_of(named: &Path) -> Option<&str> {
        named.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://"))
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
            return refuse("it carries a user or password; give a key in the environment");
        }
        if rest.contains(['?', '#']) {
            return refuse("it carries a query or fragment");
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

/// When to stop asking a server that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open the circuit, at least 1.
    pub failures: u32,
    /// Time until the first probe, a request for the list of models or the like in the
    /// background; doubles with every probe that fails, and with every ask that fails
    /// after a probe was answered.
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
    }
}
