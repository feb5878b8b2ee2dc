//! Access: the key, pages of other origins, and the rights of the page itself.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tokenroute_server::net::ServerError;
use tokenroute_server::routed::{RoutedService, ServeConfig};

use crate::support::{Client, guarded, pair, routed, served};

const CHAT: &str = "/v1/chat/completions";
const SECRET: &str = "sesame-xanadu";

#[test]
fn an_address_that_others_reach_wants_a_key() {
    let open: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    let service = RoutedService::new(served(pair().0, None), None, ServeConfig::default());
    let error = service.start(open).expect_err("no key");
    assert!(matches!(error, ServerError::NoKey { .. }), "{error:?}");
    guarded(SECRET).start(open).expect("a server with a key").stop().expect("an orderly end");
}

#[test]
fn the_key_opens_and_is_shown_nowhere() {
    let service = guarded(SECRET);
    let body = json!({"messages": [{"role": "user", "content": "abc"}], "max_tokens": 4});
    let mut seen = vec![format!("{service:?}")];
    for (key, opens) in [
        (None, false),
        (Some("sesame-xanad"), false),
        (Some("sesame-xanadu1"), false),
        (Some(SECRET), true),
    ] {
        let client = Client { key, ..Client::of(&service) };
        let body = body.to_string();
        let replies = [
            client.post(CHAT, &body),
            client.post("/v1/completions", "{"),
            client.get("/v1/models"),
            client.get("/metrics"),
            client.get("/v1/models/sesame"),
        ];
        for (i, reply) in replies.iter().enumerate() {
            let expected = if opens { [200, 400, 200, 200, 404][i] } else { 401 };
            assert_eq!(reply.status, expected, "{key:?}, {i}: {}", reply.text);
        }
        for path in ["/", "/health"] {
            assert_eq!(client.get(path).status, 200, "{path} is open");
        }
        seen.extend(replies.iter().map(|reply| format!("{reply:?}")));
        seen.push(format!("{:?}", client.server));
    }
    // The scheme has no case; the key has.
    let client = Client::of(&service);
    for (scheme, key, status) in [
        ("bearer", SECRET, 200),
        ("BEARER", SECRET, 200),
        ("Bearer", "SESAME-XANADU", 401),
        ("Basic", SECRET, 401),
    ] {
        let header = format!("{scheme} {key}");
        let reply = client.get_with("/v1/models", &[("authorization", &header)]);
        assert_eq!(reply.status, status, "{scheme}");
    }
    for text in seen {
        assert!(!text.contains("xanadu"), "{text}");
    }
    // A page of another origin does not know the key, so its origin is not checked.
    let client = Client::with_key(&service, SECRET);
    assert_eq!(client.get_with("/v1/models", &[("host", "edge.example.org")]).status, 200);
}

#[test]
fn a_page_from_elsewhere_cannot_drive_the_server() {
    let client = routed(ServeConfig::default());
    let own = format!("http://{}", client.server.address());
    for (name, value, status) in [
        ("origin", own.as_str(), 200),
        ("origin", "https://example.org", 403),
        ("origin", "null", 403),
        ("host", "rebound.example.org", 403),
    ] {
        for path in ["/v1/models", "/", "/health", "/metrics"] {
            let reply = client.get_with(path, &[(name, value)]);
            assert_eq!(reply.status, status, "{path}, {name}: {value}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
            assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
        }
    }
}

#[test]
fn the_page_is_whole_and_fenced_in() {
    let client = routed(ServeConfig::default());
    let page = client.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    // One script and one style, named by their hashes; no other source.
    assert_eq!(page.text.matches("<script").count(), 1);
    assert_eq!(page.text.matches("<style").count(), 1);
    for part in ["src=", "http://", "https://", "onclick", "style=\"", "innerHTML"] {
        assert!(!page.text.contains(part), "{part}");
    }
}
