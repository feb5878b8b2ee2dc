//! Who may ask: a key where there is one; on loopback without a key, pages of this
//! server alone. A browser is everywhere, and a page from elsewhere must not drive a
//! server that trusts its own machine: not by a request across origins, and not
//! under a name that it points to 127.0.0.1 (DNS rebinding).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use crate::ApiKey;

/// Why a request is not heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key, or a wrong one.
    #[error("no API key, or a wrong one; send it as a bearer token")]
    NoKey,
    /// Another name than this machine's own, under which a page from elsewhere may have
    /// reached it.
    #[error(
        "the Host header is {found:?}; expected localhost, 127.0.0.1 or [::1]. To be reached by another name, start the server with an API key"
    )]
    Host {
        /// The name that was asked for.
        found: String,
    },
    /// A web page that is not this server's.
    #[error("the request comes from a web page of another origin; use the page of this server")]
    Origin,
}

/// Refuses a request without the key, where there is one.
///
/// # Errors
/// [`Denied::NoKey`].
pub fn check_key(key: Option<&ApiKey>, headers: &HeaderMap) -> Result<(), Denied> {
    let Some(key) = key else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION);
    match given.is_some_and(|value| key.opens(value.as_bytes())) {
        true => Ok(()),
        false => Err(Denied::NoKey),
    }
}

/// Refuses a request to another name than this machine's own, or from a page that
/// is not this server's. Over HTTP/2 the name is the `authority` of the request, and
/// there need be no Host header. This is for servers without a key, which a page from
/// elsewhere does not know.
///
/// # Errors
/// [`Denied::Host`], [`Denied::Origin`].
pub fn check_origin(headers: &HeaderMap, authority: Option<&Authority>) -> Result<(), Denied> {
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
    fn only_this_machine_s_names_and_this_server_s_pages() {
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
            // Over HTTP/2 the same name stands elsewhere.
            let authority = headers
                .remove(header::HOST)
                .and_then(|host| Authority::try_from(host.as_bytes()).ok());
            let found = check_origin(&headers, authority.as_ref());
            assert_eq!(found.is_ok(), good, "{host:?} {origin:?}");
        }
    }
}
