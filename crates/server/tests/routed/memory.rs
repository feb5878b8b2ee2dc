//! Memory: sessions beyond the process's limit are refused, with what their router remembers, and
//! bodies that do not end share a limit on their connection and in all.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::json;
use tokenroute_core::{Position, Score, ScoreError, Scorer, Tau};
use tokenroute_runtime::{Budget, Policy, RUN, Wait};
use tokenroute_server::net::{ConnectionLimits, MemoryLimit, ServerError};
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerLlm};

use crate::support::{
    Client, FirstNumber, Gate, Script, alone, large, loopback, saying, served, until,
};

const TEXT: &str = "/v1/completions";

/// Bytes of a request at most, in these tests.
const BODY: usize = 4000;

#[test]
fn a_session_beyond_the_limit_waits_for_no_one_and_comes_back_later() {
    let start = |total| {
        let gate = Gate::default();
        let door = gate.clone();
        let model = Script::new(move |tokens| {
            door.pass();
            tokens.len() as u32 % 8
        });
        let memory = Some(MemoryLimit { total, loaded: 0 });
        let config = ServeConfig { memory, ..ServeConfig::default() };
        let service = RoutedService::new(served(model, None), None, config);
        (service.start(loopback()), service, gate)
    };
    let least = match start(1).0 {
        Err(ServerError::NoMemory { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    let total = least + 300_000;
    let (_, service, gate) = start(total);
    let client = Client::of(&service);
    let body = json!({"prompt": [1], "max_tokens": 1000}).to_string();
    let socket = begin(&client, &body, body.len());
    until("the first", || client.metric("tokenroute_requests_under_way") == 1.0);
    let refused = client.post(TEXT, &body);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.text.contains(&format!("--memory {total}")), "{}", refused.text);
    assert_eq!(client.metric("tokenroute_requests_total{outcome=\"busy\"}"), 1.0);
    let small = json!({"prompt": [1], "max_tokens": 2}).to_string();
    gate.open();
    assert_eq!(client.post(TEXT, &small).status, 200);
    assert_eq!(read_until(socket, |text| text.matches("completion_tokens").count() == 1), 1);
    until("room", || client.post(TEXT, &body).status == 200);
}

/// A toy router that says how much it remembers of an answer.
struct Remembering(usize);

impl Scorer for Remembering {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        FirstNumber.score(position)
    }

    fn state_bytes(&self) -> usize {
        self.0
    }
}

/// A service of this limit and policy, whose router remembers this many bytes.
fn remembering(total: usize, bytes: usize, policy: Policy, gate: &Gate) -> RoutedService {
    let door = gate.clone();
    let model = Script::new(move |tokens| {
        door.pass();
        tokens.len() as u32 % 8
    });
    let large = ServerLlm { scorer: Box::new(Remembering(bytes)), ..large() };
    let memory = Some(MemoryLimit { total, loaded: 0 });
    let config = ServeConfig { memory, policy, ..ServeConfig::default() };
    RoutedService::new(served(model, Some(large)), None, config)
}

/// The least limit with room for one request.
fn least(bytes: usize, policy: Policy) -> usize {
    match remembering(1, bytes, policy, &Gate::default()).start(loopback()) {
        Err(ServerError::NoMemory { least, .. }) => least,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_reserves_what_its_router_remembers_and_the_steps_of_a_run() {
    let policy = Policy::new(Tau::new(0.0).expect("in range"));
    let waiting = |wait| Policy { wait, ..policy };
    assert_eq!(least(1000, policy) - least(0, policy), 2 * 1000);
    let relay = |tokens| waiting(Wait::Relay { tokens });
    let (one, many) = (NonZeroUsize::MIN, NonZeroUsize::new(1 << 16).expect("positive"));
    assert_eq!(least(9, relay(one)), least(9, policy));
    // A step of the toy has sixteen logits.
    for wait in [relay(many), waiting(Wait::Whole)] {
        assert!(least(0, wait) - least(0, policy) > 4 * 16 * (RUN - 1), "{wait:?}");
    }
    let ahead = Wait::Speculate { branches: NonZeroUsize::new(2).expect("positive"), max_ahead: 3 };
    let [none, some] = [0, 1000].map(|bytes| least(bytes, waiting(ahead)));
    assert_eq!(some - none, 2 * 1000 * (1 + 2 * 4));

    // Two sessions do not fit.
    const BYTES: usize = 300_000;
    let gate = Gate::default();
    let service = remembering(least(BYTES, policy) + BYTES, BYTES, policy, &gate);
    let client = Client::of(&service);
    let body = json!({"prompt": [1], "max_tokens": 4}).to_string();
    let socket = begin(&client, &body, body.len());
    until("the first", || client.metric("tokenroute_requests_under_way") == 1.0);
    let refused = client.post(TEXT, &body);
    assert_eq!(refused.status, 503, "{}", refused.text);
    gate.open();
    assert_eq!(read_until(socket, |text| text.matches("completion_tokens").count() == 1), 1);
    until("room", || client.post(TEXT, &body).status == 200);
}

#[test]
fn whole_answers_within_a_budget_are_not_served() {
    let budget = Budget::new(0.5).expect("a share");
    let policy = Policy { wait: Wait::Whole, budget, ..Policy::new(Tau::LLM_ONLY) };
    let service = remembering(usize::MAX, 0, policy, &Gate::default());
    let error = service.start(loopback()).expect_err("a budget").to_string();
    assert!(error.contains("budget (max_offload) of 0.5"), "{error}");
}

/// Begins a request with this part of its body.
fn begin(client: &Client, part: &str, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(client.server.address()).expect("a connection");
    let head =
        format!("POST {TEXT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(format!("{head}{part}").as_bytes()).expect("a part");
    socket
}

/// Reads until this is true of the text; the count of answers in it.
fn read_until(mut socket: TcpStream, enough: impl Fn(&str) -> bool) -> usize {
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !enough(&text) {
        let read = socket.read(&mut part).expect("more of the reply");
        assert!(read > 0, "the connection ended: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    text.matches("completion_tokens").count()
}

fn bounded() -> Client {
    let connections = ConnectionLimits { body: Duration::from_secs(600), ..Default::default() };
    alone(saying(&[1]), ServeConfig { body: BODY, connections, ..ServeConfig::default() })
}

#[test]
fn bodies_that_do_not_end_share_a_limit() {
    let client = bounded();
    let part = " ".repeat(BODY - 1);
    // Sixty-four bodies fit.
    let open: Vec<TcpStream> = (0..65).map(|_| begin(&client, &part, BODY)).collect();
    let refused = |socket: &TcpStream| {
        socket.set_nonblocking(true).expect("an option");
        match (&mut &*socket).read(&mut [0; 12]) {
            Ok(read) => read > 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                false
            }
        }
    };
    let found = Cell::new(0);
    until("a refusal", || {
        found.set(found.get() + open.iter().filter(|socket| refused(socket)).count());
        found.get() > 0
    });
    assert_eq!(found.get(), 1);
    drop(open);
    let whole = json!({"prompt": [1], "max_tokens": 1}).to_string();
    until("room", || client.post(TEXT, &whole).status == 200);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

#[test]
fn bodies_of_one_http_2_connection_share_a_limit() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let client = bounded();
    let mut socket = TcpStream::connect(client.server.address()).expect("a connection");
    // POST, http, and literals for the path (4) and the authority (1).
    let head = [
        &[0x83, 0x86, 0x04, TEXT.len() as u8],
        TEXT.as_bytes(),
        &[0x01, b"localhost".len() as u8],
        b"localhost",
    ]
    .concat();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    let body = json!({"prompt": [1], "max_tokens": 1}).to_string();
    let body = format!("{body}{}", " ".repeat(BODY - body.len()));
    let streams = [1, 3, 5, 7, 9];
    for stream in streams {
        sent.extend(frame(HEADERS, 0x4, stream, &head));
        sent.extend(frame(DATA, 0, stream, &body.as_bytes()[..BODY - 1]));
    }
    socket.write_all(&sent).expect("five requests");
    let reader = socket.try_clone().expect("a handle");
    // Four bodies fit.
    let refusal = "requests of this connection";
    let answers = read_until(reader, |text| text.contains(refusal));
    assert_eq!(answers, 0);
    for stream in streams {
        socket.write_all(&frame(DATA, 0x1, stream, b" ")).expect("the ends");
    }
    let answers = read_until(socket, |text| {
        assert!(!text.contains(refusal), "a second refusal: {text}");
        text.matches("completion_tokens").count() == 4
    });
    assert_eq!(answers, 4);
}
