//! What an exchange fails by: whether a retry may help, and the causes within an error.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::time::Duration;

use tokenroute_core::LlmError;

/// A failed exchange.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: LlmError,
    /// A retry may help.
    pub(crate) retry: bool,
    /// The server failed, as opposed to refusing a request.
    pub(crate) unhealthy: bool,
    /// The request did not reach the server.
    pub(crate) unsent: bool,
    /// Earliest time for a retry, by the server's `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure after which a retry may help.
    pub(crate) fn passing(error: LlmError) -> Self {
        Failure { error, retry: true, unhealthy: true, unsent: false, retry_after: None }
    }

    /// A failure that no retry can mend.
    pub(crate) fn lasting(error: LlmError) -> Self {
        Failure { error, retry: false, unhealthy: true, unsent: false, retry_after: None }
    }

    /// A request that cannot be made, whatever the server does.
    pub(crate) fn own(error: LlmError) -> Self {
        Failure { error, retry: false, unhealthy: false, unsent: true, retry_after: None }
    }
}

/// The inner causes of an error: the outermost text repeats the URL.
pub(super) fn inner_cause(error: &reqwest::Error) -> String {
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

/// Whether the server's certificate is not accepted.
pub(super) fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut inner = error.source();
    while let Some(error) = inner {
        // The source of an I/O error is that of the error within, not the error within.
        let mut within: &(dyn Error + 'static) = error;
        while let Some(inner) = within.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            within = inner;
        }
        let tls = within.downcast_ref::<rustls::Error>();
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        inner = error.source();
    }
    false
}

/// Whether the reply was not HTTP.
pub(super) fn is_not_http(error: &reqwest::Error) -> bool {
    let mut inner = error.source();
    while let Some(error) = inner {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse();
        }
        inner = error.source();
    }
    false
}
