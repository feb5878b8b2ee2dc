//! Replies of an LLM's server, as its client reads them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokenroute_core::{Ask, Llm};
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Api, BreakerConfig, Http, HttpConfig, Spelling};

use crate::counting::{alone, cost};
use crate::growth::{Measure, growth};

/// What the server answers.
static REPLY: Mutex<Vec<u8>> = Mutex::new(Vec::new());

const APIS: [Api; 5] = [Api::Tokenroute, Api::Vllm, Api::OpenAi, Api::Sglang, Api::LlamaCpp];

/// The greatest bytes that a reply takes for each of its bytes, beside [`BASE`].
const PER_BYTE: usize = 48;
const BASE: usize = 2 << 20;

/// The address of a server that answers every request with [`REPLY`].
fn replying() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            read_request(&mut socket);
            let reply = REPLY.lock().unwrap_or_else(PoisonError::into_inner);
            let length = reply.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            drop(socket.write_all(head.as_bytes()));
            drop(socket.write_all(&reply));
        }
    });
    address
}

/// Reads a request to its end.
fn read_request(socket: &mut TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            if request.len() >= head + 4 + length {
                return;
            }
        }
        match socket.read(&mut part) {
            Ok(read @ 1..) => request.extend(&part[..read]),
            _ => return,
        }
    }
}

/// A client for each API, and one that reads the list of models.
fn clients() -> Vec<Http> {
    let url = format!("http://{}", replying());
    let client = |api: Option<Api>| {
        let config = HttpConfig {
            api,
            model: api.map(|_| "m".to_owned()),
            attempts: 1,
            connect: Duration::from_secs(20),
            first_byte: Duration::from_secs(20),
            total: Duration::from_secs(20),
            breaker: BreakerConfig { failures: u32::MAX, ..BreakerConfig::default() },
            ..HttpConfig::new(&url)
        };
        let texts = (b'a'..b'q').map(|letter| char::from(letter).to_string());
        Http::new(config, ToyModel::vocabulary(), Some(Spelling::new(texts))).expect("a client")
    };
    APIS.map(Some).into_iter().chain([None]).map(client).collect()
}

/// Replies of n parts.
type Family = (&'static str, usize, fn(usize) -> String);

const FAMILIES: [Family; 10] = [
    ("a long text", 100_000, |n| json!({"choices": [{"text": "a".repeat(n)}]}).to_string()),
    ("escapes", 20_000, |n| {
        json!({"choices": [{"text": "HERE"}]}).to_string().replace("HERE", &"\\u0041".repeat(n))
    }),
    ("choices", 2000, |n| json!({"choices": vec![json!({"text": "a"}); n]}).to_string()),
    ("empty objects", 4000, |n| format!("{{\"choices\":[{}{{}}]}}", "{},".repeat(n))),
    ("brackets", 8000, |n| "[".repeat(n)),
    ("spaces", 100_000, |n| format!("{{{}}}", " ".repeat(n))),
    ("fields", 8000, |n| format!("{{{}\"choices\":[]}}", "\"x\":1,".repeat(n))),
    ("listed tokens", 4000, |n| {
        let all = Value::from_iter((0..n).map(|i| (format!("token_id:{i}"), json!(-1.0))));
        json!({"choices": [{"text": "a", "token_ids": [1], "logprobs": {
            "tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [all], "text_offset": [0]}}]})
        .to_string()
    }),
    ("ids", 20_000, |n| json!({"choices": [{"text": "a", "token_ids": vec![1; n]}]}).to_string()),
    ("models", 2000, |n| {
        json!({"data": vec![json!({"id": "x", "owned_by": "vllm"}); n]}).to_string()
    }),
];

const STREAMS: [Family; 5] = [
    ("events", 2000, |n| {
        let event = json!({"choices": [{"text": "a", "token_ids": [1]}]});
        format!("data: {event}\n\n").repeat(n) + "data: [DONE]\n\n"
    }),
    ("empty events", 8000, |n| "data:\n\n".repeat(n)),
    ("line breaks", 50_000, |n| "\n".repeat(n)),
    ("one long line", 50_000, |n| format!("data: {}", "x".repeat(n))),
    ("comments", 8000, |n| ": a\n".repeat(n)),
];

fn put(reply: &str) {
    *REPLY.lock().unwrap_or_else(PoisonError::into_inner) = reply.as_bytes().to_vec();
}

/// Asks every API for a token.
fn ask_all(clients: &[Http]) {
    for (client, api) in clients.iter().zip(APIS.map(Some).into_iter().chain([None])) {
        match api {
            Some(_) => drop(client.ask(&[Ask::greedy(&[1, 2, 3], 2).with_top(2)])),
            None => drop(client.server()),
        }
    }
}

/// Asks the APIs that stream for several tokens.
fn stream_all(clients: &[Http]) {
    for client in &clients[..2] {
        drop(client.stream(&[1, 2, 3], 1000, &mut |_| {}));
    }
}

/// Compares the families of replies.
pub fn grow(measure: Measure) -> Vec<String> {
    let clients = clients();
    let mut found = Vec::new();
    for (families, kind, all) in [
        (&FAMILIES[..], "reply", ask_all as fn(&[Http])),
        (&STREAMS[..], "stream", stream_all as fn(&[Http])),
    ] {
        for (name, n, make) in families {
            let read = |reply: &String| {
                put(reply);
                all(&clients);
            };
            found.extend(growth(measure, &format!("{kind}, {name}"), *n, make, read));
        }
    }
    found
}

/// Every shape of reply takes memory in a bounded proportion to its bytes.
pub fn amplification() {
    let _alone = alone();
    let clients = clients();
    let mut found = Vec::new();
    for (families, all) in
        [(&FAMILIES[..], ask_all as fn(&[Http])), (&STREAMS[..], stream_all as fn(&[Http]))]
    {
        for (name, n, make) in families {
            let reply = make(2 * n);
            put(&reply);
            all(&clients);
            let spent = cost(|| all(&clients));
            println!("{name}: {} bytes take {} at once", reply.len(), spent.peak);
            if spent.peak > BASE + PER_BYTE * reply.len() {
                found.push(format!("{name}: {} bytes take {} at once", reply.len(), spent.peak));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
