//! One HTTP exchange within its time limits, and the kind of its failure. Connections are
//! kept alive. Redirects are not followed, so that the key is sent nowhere else. Replies
//! are read only here, and the key is removed from every error.

use std::error::Error;
use std::fmt::Write;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{
    Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, header,
    redirect,
};
use tokenroute_core::{Bytes, LlmError};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::ApiKey;
use crate::http::{HttpConfig, HttpError};

/// Most bytes of a reply.
const REPLY_LIMIT: usize = 64 << 20;

/// Most characters of a refusal that are shown.
const REFUSAL_SHOWN: usize = 200;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// How long an HTTP/2 connection may say nothing while a reply is wanted before it
/// is asked whether it is alive.
const SILENT: Duration = Duration::from_secs(1);

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
    /// One thread that moves the bytes; gone only while it is dropped.
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
            // One dead connection would hold up every request.
            .http2_keep_alive_interval(SILENT)
            .http2_keep_alive_timeout(config.connect);
        let client = if config.http2 { client.http2_prior_knowledge() } else { client };
        // The system's certificates take a while to read.
        let client = client.tls_built_in_native_certs(base.starts_with("https:"));
        let client = match &config.authority {
            Some(pem) => {
                authorities(pem)?.into_iter().fold(client, ClientBuilder::add_root_certificate)
            }
            None => client,
        };
        let start = |message: String| HttpError::Start { message };
        let client = client.build().map_err(|error| start(said_by(&error)))?;
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

    /// Sends a body, or asks for a page if there is none, and reads the reply's. What
    /// that takes is added to `bill` too.
    pub(crate) fn exchange<T>(
        &self,
        path: &str,
        body: Option<&[u8]>,
        deadline: Instant,
        bill: &Counters,
        read: impl FnOnce(&[u8]) -> Result<T, LlmError>,
    ) -> Result<T, Failure> {
        let exchange = async {
            let request = self.request(path, body, deadline, bill)?;
            self.body(self.reply(request, bill).await?, bill).await
        };
        // A reply may be garbled on its way; the next one need not be.
        let read = |bytes: Vec<u8>| read(&bytes).map_err(Failure::passing);
        self.wait(exchange).and_then(read).map_err(|failure| self.without_key(failure))
    }

    fn count(&self, bytes: Bytes, bill: &Counters) {
        self.counters.add(bytes);
        bill.add(bytes);
    }

    /// Sends a body and hands out the reply's as it arrives, until that fails.
    pub(crate) fn stream(
        &self,
        path: &str,
        body: &[u8],
        deadline: Instant,
        bill: &Counters,
        hear: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let exchange = async {
            let request = self.request(path, Some(body), deadline, bill)?;
            let mut response = self.reply(request, bill).await?;
            while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
                self.count(Bytes { up: 0, down: piece.len() as u64 }, bill);
                hear(&piece)?;
            }
            Ok(())
        };
        self.wait(exchange).map_err(|failure| self.without_key(failure))
    }

    /// A request to be sent at once, counted.
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
            return Err(Failure { error, again: false, sick: false, after: None });
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

    /// The reply to a request, which is no refusal; its body is yet to come.
    async fn reply(&self, request: RequestBuilder, bill: &Counters) -> Result<Response, Failure> {
        let response = match timeout(self.first_byte, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.broken(&error))?,
            Err(_) => return Err(self.late("no reply began in time")),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, after) = (response.status(), retry_after(&response));
        // A refusal that breaks off is a refusal.
        let said = self.body(response, bill).await.unwrap_or_default();
        Err(self.refused(status, after, &String::from_utf8_lossy(&said)))
    }

    async fn body(&self, mut response: Response, bill: &Counters) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            self.count(Bytes { up: 0, down: piece.len() as u64 }, bill);
            if bytes.len() + piece.len() > REPLY_LIMIT {
                let error = format!("{}: a reply of more than {REPLY_LIMIT} bytes", self.base);
                return Err(Failure::passing(LlmError::BadReply(error)));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Whether the server answers this page; a refusal is an answer.
    pub(crate) async fn is_well(&self, path: &str, deadline: Instant) -> bool {
        let bill = Counters::default();
        let page = async {
            let request = self.request(path, None, deadline, &bill)?;
            self.body(self.reply(request, &bill).await?, &bill).await
        };
        page.await.map_or_else(|failure| !failure.sick, |_| true)
    }

    /// Runs a task in the background, which ends with this transport.
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

    /// The failure with the key removed from its text.
    fn without_key(&self, mut failure: Failure) -> Failure {
        use LlmError::{BadReply, Late, Model, Refused, Unavailable};
        match &mut failure.error {
            Unavailable(said) | Late(said) | Refused(said) | BadReply(said) => {
                *said = self.redact(said);
            }
            Model(_) => {}
        }
        failure
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    /// Whether a text gives the key away.
    pub(crate) fn gives_key_away(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_in(text))
    }

    fn late(&self, what: &str) -> Failure {
        Failure::passing(LlmError::Late(format!("{}: {what}", self.base)))
    }

    /// A connection that could not be made or broke.
    fn broken(&self, error: &reqwest::Error) -> Failure {
        let message = format!("{}: {}", self.base, said_by(error));
        Failure::passing(if error.is_connect() {
            LlmError::Unavailable(message)
        } else if error.is_timeout() {
            LlmError::Late(message)
        } else if is_no_http(error) {
            LlmError::BadReply(message)
        } else {
            LlmError::Unavailable(message)
        })
    }

    /// A status other than success.
    fn refused(&self, status: StatusCode, after: Option<Duration>, said: &str) -> Failure {
        // Without the key first: half of one is no key to look for.
        let said: String = self.redact(said).chars().take(REFUSAL_SHOWN).collect();
        let message = format!("{} answered {status}: {}", self.base, said.trim());
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        let failing = status.is_server_error();
        let error =
            if failing { LlmError::Unavailable(message) } else { LlmError::Refused(message) };
        Failure { error, again: busy || failing, sick: busy || failing, after }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Waiting for its thread would be an error where the last owner is a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, HttpError> {
    let bad = |message| HttpError::BadAuthority { message };
    let found = Certificate::from_pem_bundle(pem).map_err(|error| bad(said_by(&error)))?;
    if found.is_empty() { Err(bad("it holds none".to_owned())) } else { Ok(found) }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost words of an error: the outer ones repeat the URL.
fn said_by(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut inner = error.source();
    while let Some(error) = inner {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{error}");
        inner = error.source();
    }
    if text.is_empty() { "the exchange failed".to_owned() } else { text }
}

/// Whether what came back was no HTTP.
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut inner = error.source();
    while let Some(error) = inner {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse();
        }
        inner = error.source();
    }
    false
}
