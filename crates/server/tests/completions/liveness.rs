//! A panic in what reads and writes the text of one request, on the threads that serve
//! connections and on those for long work. Other requests are answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokenroute_core::TokenId;
use tokenroute_llm::ToyModel;
use tokenroute_server::completions::{BatchConfig, CompletionService, Texts};
use tokenroute_server::net::Server;

use crate::support::{Letters, get};

/// [`Letters`] that panic while the flag is set.
struct Breaking(Arc<AtomicBool>);

impl Breaking {
    fn letters(&self) -> Letters {
        assert!(!self.0.load(Ordering::SeqCst), "the texts break");
        Letters
    }
}

impl Texts for Breaking {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        self.letters().encode(text)
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, String> {
        self.letters().decode(ids)
    }

    fn longest_token(&self) -> usize {
        1
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        self.letters().token(id)
    }
}

/// What comes back within some seconds, an end of the connection included.
fn answer(server: &Server, body: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close";
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(head.as_bytes()).expect("a request");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("a reply, or the end of the connection");
    text
}

#[test]
fn a_panic_in_one_request_leaves_the_server_alive() {
    let breaks = Arc::new(AtomicBool::new(false));
    let texts = Box::new(Breaking(Arc::clone(&breaks)));
    let service = CompletionService::new(
        "toy".into(),
        ToyModel::new(1),
        ToyModel::vocabulary(),
        texts,
        None,
        BatchConfig::default(),
    );
    let server = service.start((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a server");
    let text = "abc".repeat(1300);
    // Bodies of more than 8 KiB are read on other threads.
    let spaces = &" ".repeat(9000);
    for (body, after) in [
        (json!({"prompt": "abc", "max_tokens": 1}), ""),
        (json!({"prompt": [1, 2], "max_tokens": 2}), ""),
        (json!({"prompt": [1, 2], "max_tokens": 2, "logprobs": 2}), ""),
        (json!({"prompt": [1, 2], "max_tokens": 2, "stream": true}), ""),
        (json!({"prompt": text, "max_tokens": 1}), spaces.as_str()),
        (json!({"prompt": vec![1; 4000], "max_tokens": 1}), spaces.as_str()),
    ] {
        let body = format!("{body}{after}");
        for _ in 0..3 {
            breaks.store(true, Ordering::SeqCst);
            let text = answer(&server, &body);
            assert!(!text.starts_with("HTTP/1.1 200") || !text.contains("[DONE]"), "{text}");
            breaks.store(false, Ordering::SeqCst);
            assert_eq!(get(&server, "/health").0, 200);
            let text = answer(&server, &body);
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        }
    }
    assert!(server.is_alive());
}
