//! Requests to `serve` and `cloud`, over sockets.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokenroute_model::{ChatTemplate, LoadOptions, load_model};
use tokenroute_server::completions::{BatchConfig, CompletionService};
use tokenroute_server::net::{ConnectionLimits, MemoryLimit, Server};
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerPair};

use crate::counting::{alone, cost, live};
use crate::growth::{Measure, growth};

/// Longest wait of `/health` while hostile requests are read.
const HEALTH: Duration = Duration::from_millis(100);

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";

/// The folder of a bundled model.
pub fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// `cloud` with the bundled SLM.
fn cloud(memory: Option<MemoryLimit>) -> Server {
    let model = load_model(&bundled("word-problems-slm"), &LoadOptions::default());
    let model = model.expect("the bundled SLM");
    let service = CompletionService::new(
        "tiny".to_owned(),
        model.decoder,
        model.vocabulary,
        Box::new(model.tokenizer),
        None,
        BatchConfig { memory, kept_positions: 0, ..BatchConfig::default() },
    );
    service.start(loopback()).expect("a server")
}

/// `serve` with the bundled SLM alone.
fn serve(memory: Option<MemoryLimit>) -> Server {
    let model = load_model(&bundled("word-problems-slm"), &LoadOptions::default());
    let model = model.expect("the bundled SLM");
    let source = "{% for m in messages %}{{ m.content }}{% endfor %}{{ enable_thinking }}";
    let template = ChatTemplate::new(Path::new("chat"), source, BTreeMap::new());
    let pair = ServerPair {
        name: "tiny".to_owned(),
        slm: model.decoder,
        vocabulary: model.vocabulary,
        tokenizer: model.tokenizer,
        template: Some(template.expect("a template")),
        llm: None,
        announce: None,
    };
    let connections = ConnectionLimits { per_peer: 4096, ..ConnectionLimits::default() };
    let config = ServeConfig { memory, kept_positions: 0, connections, ..ServeConfig::default() };
    RoutedService::new(pair, None, config).start(loopback()).expect("a server")
}

/// Sends a request and reads its reply to the end. Returns the status.
fn exchange(address: SocketAddr, path: &str, body: &[u8]) -> u16 {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    socket.write_all(head.as_bytes()).expect("a request");
    // A server may refuse before it has read all.
    drop(socket.write_all(body));
    status(socket)
}

/// The status of a reply, which is read to its end without keeping it.
fn status(mut socket: TcpStream) -> u16 {
    let (mut part, mut first) = ([0; 4096], None);
    while let Ok(read @ 1..) = socket.read(&mut part) {
        first.get_or_insert_with(|| String::from_utf8_lossy(&part[..read.min(12)]).into_owned());
    }
    first.and_then(|line| line.get(9..)?.parse().ok()).unwrap_or(0)
}

/// Bodies of n parts, for `cloud` and `serve`: a name, n, a path, and what to send.
type Family<'f> = (&'f str, usize, &'f str, &'f dyn Fn(usize) -> String);

/// What both servers answer.
const BOTH: [Family<'static>; 10] = [
    ("a text", 20_000, TEXT, &|n| json!({"prompt": "a ".repeat(n), "max_tokens": 1}).to_string()),
    ("one word", 20_000, TEXT, &|n| json!({"prompt": "a".repeat(n), "max_tokens": 1}).to_string()),
    ("ids", 5000, TEXT, &|n| json!({"prompt": vec![1; n], "max_tokens": 1}).to_string()),
    ("escapes", 8000, TEXT, &|n| {
        json!({"prompt": "HERE", "max_tokens": 1}).to_string().replace("HERE", &"\\u0041".repeat(n))
    }),
    ("spaces", 40_000, TEXT, &|n| format!("{{{}}}", " ".repeat(n))),
    ("brackets", 40_000, TEXT, &|n| "[".repeat(n)),
    ("lists of lists", 10_000, TEXT, &|n| format!("{{\"prompt\":[{}]}}", "[],".repeat(n))),
    ("objects", 10_000, TEXT, &|n| "{\"prompt\":".repeat(n)),
    ("fields that are not known", 4000, TEXT, &|n| {
        format!("{{{}\"prompt\":[1],\"max_tokens\":1}}", "\"x\":{\"y\":[1]},".repeat(n))
    }),
    ("numbers with many digits", 40_000, TEXT, &|n| format!("{{\"prompt\":[1{}]}}", "0".repeat(n))),
];

/// How the families are named whose replies list tokens.
const LISTED: &str = "listed probabilities";

/// What `cloud` answers.
const CLOUD: [Family<'static>; 5] = [
    ("prompts", 60, TEXT, &|n| json!({"prompt": vec![[1, 2, 3]; n], "max_tokens": 1}).to_string()),
    ("texts", 60, TEXT, &|n| json!({"prompt": vec!["Mia"; n], "max_tokens": 1}).to_string()),
    (LISTED, 60, TEXT, &|n| {
        json!({"prompt": vec![[1, 2, 3]; n], "max_tokens": 1, "logprobs": 20,
               "prompt_logprobs": 20})
        .to_string()
    }),
    ("listed probabilities of an echo", 60, TEXT, &|n| {
        json!({"prompt": vec![[1, 2, 3]; n], "max_tokens": 1, "logprobs": 20, "echo": true})
            .to_string()
    }),
    ("an echo", 220, TEXT, &|n| {
        json!({"prompt": "a ".repeat(n), "max_tokens": 0, "echo": true}).to_string()
    }),
];

/// What `serve` answers.
const SERVE: [Family<'static>; 8] = [
    ("messages", 2000, CHAT, &|n| {
        let message = json!({"role": "user", "content": "a"});
        json!({"messages": vec![message; n], "max_tokens": 1}).to_string()
    }),
    ("a message", 40_000, CHAT, &|n| {
        json!({"messages": [{"role": "user", "content": "a".repeat(n)}], "max_tokens": 1})
            .to_string()
    }),
    ("parts of a message", 2000, CHAT, &|n| {
        let part = json!({"type": "text", "text": "a"});
        json!({"messages": [{"role": "user", "content": vec![part; n]}], "max_tokens": 1})
            .to_string()
    }),
    ("items of a response", 2000, RESPONSES, &|n| {
        let part = json!({"type": "input_text", "text": "a"});
        let item = json!({"type": "message", "role": "user", "content": [part]});
        json!({"input": vec![item; n], "max_output_tokens": 1}).to_string()
    }),
    ("instructions", 40_000, RESPONSES, &|n| {
        json!({"instructions": "a".repeat(n), "input": "a", "max_output_tokens": 1}).to_string()
    }),
    ("variables of the template", 10_000, CHAT, &|n| {
        format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}}],\"max_tokens\":1,\"chat_template_kwargs\":{{\"x\":[{}1]}}}}",
            "[],".repeat(n)
        )
    }),
    ("a stop string", 400, TEXT, &|n| {
        json!({"prompt": "Mia", "max_tokens": 60, "stop": ["a".repeat(n)]}).to_string()
    }),
    ("stop strings with one beginning", 25, TEXT, &|n| {
        let stops: Vec<String> = (0..16).map(|i| format!("{}{i}", " apples".repeat(n))).collect();
        json!({"prompt": "Mia", "max_tokens": 60, "stop": stops}).to_string()
    }),
];

/// Compares the families of requests.
pub fn grow(measure: Measure) -> Vec<String> {
    let (cloud, serve) = (cloud(None), serve(None));
    let compare = |server: &Server, named: &str, families: &[Family<'_>]| {
        let mut found = Vec::new();
        for (name, n, path, body) in families {
            let read = |body: &String| {
                let status = exchange(server.address(), path, body.as_bytes());
                assert!(status >= 200, "{named}, {name}: no reply");
            };
            found.extend(growth(measure, &format!("{named}, {name}"), *n, body, read));
        }
        found
    };
    let found = [
        compare(&cloud, "cloud", &BOTH),
        compare(&cloud, "cloud", &CLOUD),
        compare(&serve, "serve", &BOTH),
        compare(&serve, "serve", &SERVE),
    ];
    assert!(cloud.is_alive() && serve.is_alive());
    found.concat()
}

/// Bodies of several megabytes, for a server that has to read them.
fn large(most: usize) -> Vec<(&'static str, String)> {
    BOTH.iter()
        .map(|(name, n, _, body)| {
            // As many parts as fit.
            let part = body(*n).len().div_ceil(*n).max(1);
            (*name, body((most - 200) / part))
        })
        .collect()
}

/// Polls `/health` while each hostile body is read by four connections. Fails if it waits long.
pub fn health_meanwhile() {
    let _alone = alone();
    for (server, most) in [(cloud(None), 8 << 20), (serve(None), 1 << 20)] {
        let address = server.address();
        for (name, body) in large(most) {
            let done = AtomicBool::new(false);
            let longest = std::thread::scope(|scope| {
                let poll = scope.spawn(|| {
                    let mut longest = Duration::ZERO;
                    while !done.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        let mut socket = TcpStream::connect(address).expect("a connection");
                        let head =
                            "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                        socket.write_all(head.as_bytes()).expect("a request");
                        assert_eq!(status(socket), 200);
                        longest = longest.max(start.elapsed());
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    longest
                });
                let senders: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| exchange(address, TEXT, body.as_bytes())))
                    .collect();
                for sender in senders {
                    sender.join().expect("no panic");
                }
                done.store(true, Ordering::Relaxed);
                poll.join().expect("no panic")
            });
            println!("/health waits {longest:.2?} at most beside {name}");
            assert!(longest < HEALTH, "/health waits {longest:.2?} beside {name}");
        }
    }
}

/// Under `--memory`, whatever is sent at once: the process stays within its limit.
pub fn within_memory() {
    let _alone = alone();
    const ROOM: usize = 48 << 20;
    for of in [cloud, serve] {
        let loaded = {
            // What a server holds once it is loaded.
            let before = live();
            let server = of(None);
            let loaded = live() - before;
            drop(server);
            loaded
        };
        let server = of(Some(MemoryLimit { total: loaded + ROOM, loaded }));
        let bodies = large(1 << 20);
        let address = server.address();
        let spent = cost(|| {
            std::thread::scope(|scope| {
                for i in 0..40 {
                    let (_, body) = &bodies[i % bodies.len()];
                    scope.spawn(move || exchange(address, TEXT, body.as_bytes()));
                }
            });
        });
        assert!(server.is_alive());
        // What connections read before a request takes it, and what threads hold.
        let most = ROOM + ROOM / 10;
        println!("{} bytes at once beside {ROOM}", spent.peak);
        assert!(spent.peak < most, "{} bytes at once; expected at most {most}", spent.peak);
    }
}

/// The greatest bytes that a request takes for each byte of its body, beside [`BASE`].
const PER_BYTE: usize = 48;
/// The same for each token with a log-probability in its reply.
const PER_LISTED: usize = 1200;
const BASE: usize = 6 << 20;

/// Every shape of request takes memory in a bounded proportion to its bytes.
pub fn amplification() {
    let _alone = alone();
    let (cloud, serve) = (cloud(None), serve(None));
    let mut found = Vec::new();
    for (server, families) in
        [(&cloud, &BOTH[..]), (&cloud, &CLOUD[..]), (&serve, &BOTH[..]), (&serve, &SERVE[..])]
    {
        for (name, n, path, body) in families {
            let body = body(2 * n);
            exchange(server.address(), path, body.as_bytes());
            let spent = cost(|| {
                exchange(server.address(), path, body.as_bytes());
            });
            println!("{name}: {} bytes take {} at once", body.len(), spent.peak);
            // Four positions of each prompt list 20 tokens.
            let listed = if name.starts_with(LISTED) { 2 * n * 4 * 20 } else { 0 };
            if spent.peak > BASE + PER_BYTE * body.len() + PER_LISTED * listed {
                found.push(format!("{name}: {} bytes take {} at once", body.len(), spent.peak));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
