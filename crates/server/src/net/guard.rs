//! Access checks: the key, or without a key the origin of web pages.
//!
//! Any web page that a browser shows can send requests to this machine. A server without a
//! key trusts its own machine, so it must refuse pages of other origins. It must also refuse
//! names that an attacker points to 127.0.0.1 (DNS rebinding).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use tokenroute_llm::ApiKey;

/// Why a request is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// The key is missing or wrong.
    #[error("no API key, or a wrong one; send it as a bearer token")]
    NoKey,
    /// The host name is not one of this machine's own, so a page of another origin may have
    /// sent the request.
    #[error(
        "the Host header is {found:?}; expected localhost, 127.0.0.1 or [::1]. To use another name, start the server with an API key"
    )]
    Host {
        /// The host name of the request.
        found: String,
    },
    /// The web page is of another origin.
    #[error("the request comes from a web page of another origin; use the page of this server")]
    Origin,
}

/// Refuses a request without the key, if there is a key.
///
/// # Errors
/// [`Denied::NoKey`].
pub(crate) fn check_key(key: Option<&ApiKey>, headers: &HeaderMap) -> Result<(), Denied> {
    let Some(key) = key else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION);
    match given.is_some_and(|value| key.opens(value.as_bytes())) {
        true => Ok(()),
        false => Err(Denied::NoKey),
    }
}

/// Refuses a request to a name that is not this machine's own, or from a page of another
/// origin. A server with a key does not need this check: pages of other origins do not know
/// the key. Over HTTP/2 the name is the request's `authority`; the Host header is optional.
///
/// # Errors
/// [`Denied::Host`], [`Denied::Origin`].
pub(crate) fn check_origin(
    headers: &HeaderMap,
    authority: Option<&Authority>,
) -> Result<(), Denied> {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => authority.map(Authority::as_str),
    };
    let Some(host) = host.filter(|host| is_loopback(host)) else {
        return Err(Denied::Host { found: host.unwrap_or("missing").to_owned() });
    };
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = |scheme: &str| origin.as_bytes() == format!("{scheme}://{host}").as_bytes();
    if own("http") || own("https") {
        return Ok(());
    }
    Err(Denied::Origin)
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_own_names_and_own_pages_pass() {
        for (host, origin, good) in [
            (Some("localhost:8434"), None, true),
            (Some("LOCALHOST"), None, true),
            (Some("127.0.0.1:8434"), Some("http://127.0.0.1:8434"), true),
            (Some("[::1]:8434"), Some("http://[::1]:8434"), true),
            (Some("127.0.0.1:8434"), Some("http://127.0.0.1:8435"), false),
            (Some("127.0.0.1:8434"), Some("http://localhost:8434"), false),
            (Some("127.0.0.1:8434"), Some("https://example.org"), false),
            (Some("127.0.0.1:8434"), Some("null"), false),
            (Some("example.org:8434"), None, false),
            (Some("localhost.example.org"), None, false),
            (Some("127.0.0.1.example.org:8434"), None, false),
            (Some("192.168.1.7"), None, false),
            (Some(""), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(check_origin(&headers, None).is_ok(), good, "{host:?} {origin:?}");
            // Over HTTP/2 the name is in the authority.
            let authority = headers
                .remove(header::HOST)
                .and_then(|host| Authority::try_from(host.as_bytes()).ok());
            let found = check_origin(&headers, authority.as_ref());
            assert_eq!(found.is_ok(), good, "{host:?} {origin:?}");
        }
    }
}
