//! One HTTP exchange within its time limits, and the kind of its failure. Connections are kept
//! alive. Redirects are not followed, so that the key goes to no other server. Replies are read
//! in here, so that the key is removed from every error.

mod failure;

use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{
    Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url, header,
    redirect,
};
use tokenroute_core::{Bytes, LlmError};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::ApiKey;
use crate::http::{HttpConfig, HttpError};
pub(crate) use failure::Failure;
use failure::{inner_cause, is_not_http, is_untrusted};

/// Most bytes of any reply. Each reply has a limit of its own below that, by what was asked:
/// JSON may take fifty times its bytes in memory.
const REPLY_LIMIT: usize = 64 << 20;

/// Most bytes of a refusal, or of a page that a probe asks for.
const PAGE_LIMIT: usize = 1 << 20;

/// Most characters of a refusal that are shown.
const REFUSAL_SHOWN: usize = 200;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Longest pause that a server may ask for: a day. Longer ones count as a day.
const LONGEST_PAUSE: u64 = 24 * 60 * 60;

/// Silence on an HTTP/2 connection with a pending reply, after which it is pinged.
const SILENT: Duration = Duration::from_secs(1);

/// Bytes and requests so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl Counters {
    pub(crate) fn bytes(&self) -> Bytes {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Bytes { up: load(&self.bytes_up), down: load(&self.bytes_down) }
    }

    fn add(&self, more: Bytes) {
        self.bytes_up.fetch_add(more.up, Ordering::Relaxed);
        self.bytes_down.fetch_add(more.down, Ordering::Relaxed);
    }
}

/// The connections to one server.
#[derive(Debug)]
pub(crate) struct Transport {
    client: Client,
    /// One thread that moves the bytes; `None` only during drop.
    runtime: Option<Runtime>,
    base: String,
    key: Option<ApiKey>,
    first_byte: Duration,
    pub(crate) counters: Counters,
}

impl Transport {
    pub(crate) fn new(config: &HttpConfig, base: String) -> Result<Self, HttpError> {
        let client = Client::builder()
            .user_agent(concat!("tokenroute/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(config.connect)
            .pool_max_idle_per_host(config.connections.max(1))
            .pool_idle_timeout(IDLE)
            // One dead connection would block every request.
            .http2_keep_alive_interval(SILENT)
            .http2_keep_alive_timeout(config.connect);
        let client = if config.http2 { client.http2_prior_knowledge() } else { client };
        // A proxy would read the prompts and the key of a server on this machine.
        let client = if is_loopback(&base) { client.no_proxy() } else { client };
        // Reading the system's certificates takes time, so plain HTTP skips it.
        let client = client.tls_built_in_native_certs(base.starts_with("https:"));
        let client = match &config.authority {
            Some(pem) => {
                authorities(pem)?.into_iter().fold(client, ClientBuilder::add_root_certificate)
            }
            None => client,
        };
        let start = |message: String| HttpError::Start { message };
        let client = client.build().map_err(|error| start(inner_cause(&error)))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("llm-http")
            .enable_all()
            .build()
            .map_err(|error| start(error.to_string()))?;
        Ok(Transport {
            client,
            runtime: Some(runtime),
            base,
            key: config.key.clone(),
            first_byte: config.first_byte,
            counters: Counters::default(),
        })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a body, or requests a page if there is none, and reads the reply's body of at most
    /// `most` bytes. Bytes and requests are added to `bill` too.
    pub(crate) fn exchange<T>(
        &self,
        path: &str,
        body: Option<&[u8]>,
        most: usize,
        deadline: Instant,
        bill: &Counters,
        read: impl FnOnce(&[u8]) -> Result<T, LlmError>,
    ) -> Result<T, Failure> {
        let exchange = async {
            let request = self.request(path, body, deadline, bill)?;
            self.body(self.reply(request, bill).await?, most, bill).await
        };
        // A garbled reply may be whole at the next attempt.
        let read = |bytes: Vec<u8>| match Instant::now() < deadline {
            true => read(&bytes).map_err(Failure::passing),
            false => Err(self.late("the reply came too late to be read")),
        };
        self.wait(exchange).and_then(read).map_err(|failure| self.printable(failure))
    }

    fn count(&self, bytes: Bytes, bill: &Counters) {
        self.counters.add(bytes);
        bill.add(bytes);
    }

    /// Sends a body and hands out the reply's body as it arrives, until `take` fails.
    pub(crate) fn stream(
        &self,
        path: &str,
        body: &[u8],
        deadline: Instant,
        bill: &Counters,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let exchange = async {
            let request = self.request(path, Some(body), deadline, bill)?;
            let mut response = self.reply(request, bill).await?;
            while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
                self.count(Bytes { up: 0, down: piece.len() as u64 }, bill);
                take(&piece)?;
            }
            Ok(())
        };
        self.wait(exchange).map_err(|failure| self.printable(failure))
    }

    /// Builds a request and counts it.
    fn request(
        &self,
        path: &str,
        body: Option<&[u8]>,
        deadline: Instant,
        bill: &Counters,
    ) -> Result<RequestBuilder, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let error = LlmError::Late(format!("no time left to ask {}", self.base));
            return Err(Failure::own(error));
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let sent = body.map_or(0, <[u8]>::len) as u64;
        self.count(Bytes { up: sent, down: 0 }, bill);
        let url = format!("{}{path}", self.base);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.client.request(method, url).timeout(left);
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key.header());
        }
        if let Some(body) = body {
            let json = header::HeaderValue::from_static("application/json");
            request = request.header(header::CONTENT_TYPE, json).body(body.to_vec());
        }
        Ok(request)
    }

    /// The reply to a request, without its body; a refusal is an error.
    async fn reply(&self, request: RequestBuilder, bill: &Counters) -> Result<Response, Failure> {
        let response = match timeout(self.first_byte, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.broken(&error))?,
            Err(_) => return Err(self.late("no reply began in time")),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, after) = (response.status(), retry_after(&response));
        // A refusal with a broken body is still a refusal.
        let text = self.body(response, PAGE_LIMIT, bill).await.unwrap_or_default();
        Err(self.refused(status, after, &String::from_utf8_lossy(&text)))
    }

    async fn body(
        &self,
        mut response: Response,
        most: usize,
        bill: &Counters,
    ) -> Result<Vec<u8>, Failure> {
        let most = most.min(REPLY_LIMIT);
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            self.count(Bytes { up: 0, down: piece.len() as u64 }, bill);
            if bytes.len() + piece.len() > most {
                let error = format!("{}: a reply of more than {most} bytes", self.base);
                return Err(Failure::passing(LlmError::BadReply(error)));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Whether the server answers a request for this page; a refusal is an answer.
    pub(crate) async fn responds(&self, path: &str, deadline: Instant) -> bool {
        let bill = Counters::default();
        let page = async {
            let request = self.request(path, None, deadline, &bill)?;
            self.body(self.reply(request, &bill).await?, PAGE_LIMIT, &bill).await
        };
        page.await.map_or_else(|failure| !failure.unhealthy, |_| true)
    }

    /// Runs a task in the background until this transport is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Runs an exchange on the caller's thread.
    fn wait<T>(&self, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(exchange),
            None => Err(Failure::lasting(LlmError::Unavailable("its client has ended".to_owned()))),
        }
    }

    /// The failure with the key removed from its text, and without control characters: it may
    /// quote the server, and a terminal obeys escape sequences.
    fn printable(&self, mut failure: Failure) -> Failure {
        use LlmError::{BadReply, Late, Model, Refused, Unavailable};
        match &mut failure.error {
            Unavailable(text) | Late(text) | Refused(text) | BadReply(text) => {
                *text = without_controls(&self.redact(text));
            }
            Model(_) => {}
        }
        failure
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    /// Whether a text contains the key.
    pub(crate) fn gives_key_away(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_in(text))
    }

    fn late(&self, what: &str) -> Failure {
        Failure::passing(LlmError::Late(format!("{}: {what}", self.base)))
    }

    /// The failure of a connection.
    fn broken(&self, error: &reqwest::Error) -> Failure {
        let message = format!("{}: {}", self.base, inner_cause(error));
        if is_untrusted(error) {
            // The server will show the same certificate at every attempt.
            let message =
                format!("{message}; trust its authority with --llm-ca, or check the name");
            return Failure::lasting(LlmError::Refused(message));
        }
        if error.is_connect() {
            let failure = Failure::passing(LlmError::Unavailable(message));
            return Failure { unsent: true, ..failure };
        }
        Failure::passing(if error.is_timeout() {
            LlmError::Late(message)
        } else if is_not_http(error) {
            LlmError::BadReply(message)
        } else {
            LlmError::Unavailable(message)
        })
    }

    /// A status other than success.
    fn refused(&self, status: StatusCode, after: Option<Duration>, text: &str) -> Failure {
        // The key is removed before the cut, which could leave half of it.
        let text: String = self.redact(text).chars().take(REFUSAL_SHOWN).collect();
        let message = format!("{} answered {status}: {}", self.base, text.trim());
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        let failing = status.is_server_error();
        let error =
            if failing { LlmError::Unavailable(message) } else { LlmError::Refused(message) };
        let unhealthy = busy || failing;
        Failure { error, retry: unhealthy, unhealthy, unsent: false, retry_after: after }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Blocking on its thread is an error if the last owner is a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, HttpError> {
    let bad = |message| HttpError::BadAuthority { message };
    let found = Certificate::from_pem_bundle(pem).map_err(|error| bad(inner_cause(&error)))?;
    if found.is_empty() { Err(bad("it contains none".to_owned())) } else { Ok(found) }
}

/// The text with U+FFFD for every control character. Format characters that reverse the
/// direction of writing count too.
fn without_controls(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(|s: u64| Duration::from_secs(s.min(LONGEST_PAUSE)))
}
