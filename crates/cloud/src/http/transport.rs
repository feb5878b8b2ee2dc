//! One HTTP exchange within its time limits, and what kind of failure it is
//! when it fails. Connections are kept alive; redirects are not followed, so
//! that the key goes nowhere else.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenroute_core::LlmError;
use ureq::config::ConfigBuilder;
use ureq::http::{Response, StatusCode};
use ureq::typestate::RequestScope;
use ureq::{Agent, Body};

use crate::ApiKey;
use crate::http::HttpConfig;

/// Most bytes of a reply.
const REPLY_LIMIT: u64 = 64 << 20;

/// Most characters of a refusal that are shown.
const REFUSAL_SHOWN: usize = 200;

/// A failed exchange.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: LlmError,
    /// Asking again may help.
    pub(crate) again: bool,
    /// The server is not well, as opposed to well and refusing.
    pub(crate) sick: bool,
    /// How long the server wants to be left alone.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    /// A failure after which asking again may help.
    pub(crate) fn passing(error: LlmError) -> Self {
        Failure { error, again: true, sick: true, after: None }
    }

    /// A failure that asking again cannot mend.
    pub(crate) fn lasting(error: LlmError) -> Self {
        Failure { error, again: false, sick: true, after: None }
    }
}

/// Bytes and requests so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
}

/// The connection to one server.
#[derive(Debug)]
pub(crate) struct Transport {
    agent: Agent,
    base: String,
    key: Option<ApiKey>,
    connect: Duration,
    first_byte: Duration,
    pub(crate) counters: Counters,
}

impl Transport {
    pub(crate) fn new(config: &HttpConfig, base: String) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(config.connections.max(1))
            .max_idle_connections_per_host(config.connections.max(1))
            .max_idle_age(Duration::from_secs(60))
            .user_agent(concat!("tokenroute/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Transport {
            agent,
            base,
            key: config.key.clone(),
            connect: config.connect,
            first_byte: config.first_byte,
            counters: Counters::default(),
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a body, or asks for a page if there is none, and returns the reply's.
    pub(crate) fn exchange(
        &self,
        path: &str,
        body: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let error = LlmError::Late(format!("no time left to ask {}", self.base));
            return Err(Failure { error, again: false, sick: false, after: None });
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let sent = body.map_or(0, <[u8]>::len) as u64;
        self.counters.bytes_up.fetch_add(sent, Ordering::Relaxed);
        let bytes = self.send(path, body, left)?;
        self.counters.bytes_down.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn send(&self, path: &str, body: Option<&[u8]>, left: Duration) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.base);
        let result = match body {
            None => {
                let mut request = self.agent.get(&url);
                if let Some(key) = &self.key {
                    request = request.header("authorization", key.header());
                }
                self.limits(request.config(), left).build().call()
            }
            Some(body) => {
                let mut request = self.agent.post(&url).content_type("application/json");
                if let Some(key) = &self.key {
                    request = request.header("authorization", key.header());
                }
                self.limits(request.config(), left).build().send(body)
            }
        };
        let mut response = result.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let limit = response.body_mut().with_config().limit(REPLY_LIMIT);
        if status.is_success() {
            return limit.read_to_vec().map_err(|error| self.broken(&error));
        }
        let said = limit.lossy_utf8(true).read_to_string().unwrap_or_default();
        Err(self.refused(&response, &said))
    }

    fn limits<S>(
        &self,
        config: ConfigBuilder<RequestScope<S>>,
        left: Duration,
    ) -> ConfigBuilder<RequestScope<S>> {
        config
            .timeout_global(Some(left))
            .timeout_resolve(Some(self.connect.min(left)))
            .timeout_connect(Some(self.connect.min(left)))
            .timeout_recv_response(Some(self.first_byte.min(left)))
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    /// A connection that could not be made or broke.
    fn broken(&self, error: &ureq::Error) -> Failure {
        let base = &self.base;
        let text = self.redact(&error.to_string());
        Failure::passing(match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                LlmError::Unavailable(format!("{base}: no connection in time ({text})"))
            }
            ureq::Error::Timeout(_) => LlmError::Late(format!("{base}: {text}")),
            // So a time limit shows while the body is read.
            ureq::Error::Io(error)
                if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
            {
                LlmError::Late(format!("{base}: {text}"))
            }
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                LlmError::BadReply(format!("{base}: {text}"))
            }
            ureq::Error::BodyExceedsLimit(limit) => {
                LlmError::BadReply(format!("{base}: a reply of more than {limit} bytes"))
            }
            _ => LlmError::Unavailable(format!("{base}: {text}")),
        })
    }

    /// A status other than success.
    fn refused(&self, response: &Response<Body>, said: &str) -> Failure {
        let status = response.status();
        let said: String = self.redact(said).chars().take(REFUSAL_SHOWN).collect();
        let message = format!("{} answered {status}: {}", self.base, said.trim());
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        let failing = status.is_server_error();
        let error =
            if failing { LlmError::Unavailable(message) } else { LlmError::Refused(message) };
        let after = response.headers().get("retry-after");
        let seconds = after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        Failure {
            error,
            again: busy || failing,
            sick: busy || failing,
            after: seconds.map(Duration::from_secs),
        }
    }
}
