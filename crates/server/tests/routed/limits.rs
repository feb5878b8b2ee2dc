//! Many clients: a bounded queue, slots that become free, time limits, and shutdown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tokenroute_llm::ToyModel;
use tokenroute_server::net::ConnectionLimits;
use tokenroute_server::routed::ServeConfig;

use crate::support::{Client, Gate, Script, alone, until};

const TEXT: &str = "/v1/completions";
const UNDER_WAY: &str = "tokenroute_requests_under_way";

/// A server for one request at a time, whose model waits while the gate is closed.
fn gated(config: ServeConfig) -> (Client, Gate) {
    let gate = Gate::default();
    let door = gate.clone();
    let model = Script::new(move |tokens| {
        door.pass();
        tokens.len() as u32 % 8
    });
    (alone(model, ServeConfig { sessions: 1, ..config }), gate)
}

/// Sends a request and does not read the reply.
fn begin(client: &Client, stream: bool, max_tokens: usize) -> TcpStream {
    let body = json!({"prompt": [1], "stream": stream, "max_tokens": max_tokens}).to_string();
    let mut socket = TcpStream::connect(client.server.address()).expect("a connection");
    let length = body.len();
    let head =
        format!("POST {TEXT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(format!("{head}{body}").as_bytes()).expect("a request");
    socket
}

#[test]
fn a_full_queue_refuses_and_a_client_that_leaves_frees_its_slot() {
    let (client, gate) = gated(ServeConfig { queue: 1, ..ServeConfig::default() });
    let ask = || client.post(TEXT, &json!({"prompt": [1], "max_tokens": 3}).to_string());
    for stream in [true, false] {
        let first = begin(&client, stream, 1000);
        let second = begin(&client, !stream, 1000);
        until("two requests", || client.metric(UNDER_WAY) == 2.0);
        let reply = ask();
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
        // One decodes, one waits; both clients have disconnected.
        drop(first);
        until("a free place", || client.metric(UNDER_WAY) == 1.0);
        drop(second);
        until("two free places", || client.metric(UNDER_WAY) == 0.0);
    }
    gate.open();
    assert_eq!(ask().json()["usage"]["completion_tokens"], 3);
    assert_eq!(client.metric("tokenroute_requests_total{outcome=\"left\"}"), 4.0);
    assert_eq!(client.metric("tokenroute_requests_total{outcome=\"busy\"}"), 2.0);
    // Answers of disconnected clients were not decoded to their end.
    assert!(client.metric("tokenroute_tokens_total{origin=\"slm\"}") < 100.0);
}

/// A connection that has sent half of a request's head.
fn half_a_head(client: &Client) -> TcpStream {
    let mut socket = TcpStream::connect(client.server.address()).expect("a connection");
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: local").expect("half a request");
    socket
}

#[test]
fn a_client_that_never_ends_a_head_loses_its_connection() {
    let connections = ConnectionLimits {
        most: 2,
        head: Duration::from_millis(200),
        ..ConnectionLimits::default()
    };
    let config = ServeConfig { connections, ..ServeConfig::default() };
    let client = alone(ToyModel::new(1), config);
    let slow = [half_a_head(&client), half_a_head(&client)];
    assert_eq!(client.get("/health").status, 200, "once there is a place");
    for mut socket in slow {
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("an end");
        assert!(!text.contains("200"), "{text}");
    }
}

#[test]
fn a_client_that_says_nothing_soon_makes_room() {
    let connections = ConnectionLimits {
        most: 2,
        head: Duration::from_secs(600),
        first: Duration::from_millis(200),
        ..ConnectionLimits::default()
    };
    let config = ServeConfig { connections, ..ServeConfig::default() };
    let client = alone(ToyModel::new(1), config);
    let silent = [half_a_head(&client), half_a_head(&client)];
    assert_eq!(client.get("/health").status, 200, "once there is a place");
    drop(silent);
}

#[test]
fn one_address_cannot_take_all_places() {
    let connections = ConnectionLimits { most: 9, per_peer: 2, ..ConnectionLimits::default() };
    let config = ServeConfig { connections, ..ServeConfig::default() };
    let client = alone(ToyModel::new(1), config);
    let first = [half_a_head(&client), half_a_head(&client)];
    let mut third = TcpStream::connect(client.server.address()).expect("a connection");
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let read = third.read(&mut [0]);
    assert!(read.as_ref().is_ok_and(|&n| n == 0) || is_reset(&read), "{read:?}");
    drop(first);
    until("a place", || {
        let mut again = half_a_head(&client);
        again.write_all(b"host\r\nconnection: close\r\n\r\n").expect("the other half");
        let mut text = String::new();
        again.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
    });
}

fn is_reset(read: &std::io::Result<usize>) -> bool {
    read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn connections_beyond_the_limit_wait() {
    let connections =
        ConnectionLimits { most: 1, head: Duration::from_secs(600), ..ConnectionLimits::default() };
    let config = ServeConfig { connections, ..ServeConfig::default() };
    let client = alone(ToyModel::new(1), config);
    let first = half_a_head(&client);
    // Its slot is taken before the next one requests one.
    let mut second = half_a_head(&client);
    second.write_all(b"host\r\nconnection: close\r\n\r\n").expect("the other half");
    second.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(second.read(&mut [0]).is_err(), "nothing is said while the first is there");
    drop(first);
    second.set_read_timeout(None).expect("no timeout");
    let mut text = String::new();
    second.read_to_string(&mut text).expect("a reply");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[test]
fn a_stopped_answer_is_not_decoded_further() {
    // Without the stop it would take four seconds.
    let model = Script::new(|tokens| {
        std::thread::sleep(Duration::from_millis(1));
        [8, 9, 0][tokens.len().clamp(1, 3) - 1]
    });
    let client = alone(model, ServeConfig::default());
    let body = json!({"prompt": [1], "max_tokens": 4000, "stop": "aaa"});
    assert_eq!(client.answer(TEXT, &body)["choices"][0]["text"], "hello wor");
    assert!(client.metric("tokenroute_tokens_total{origin=\"slm\"}") < 3000.0);
}

#[test]
fn an_answer_that_takes_too_long_is_an_error() {
    let (client, gate) = gated(ServeConfig { time: Duration::ZERO, ..ServeConfig::default() });
    let body = json!({"prompt": [1]});
    let reply = client.post(TEXT, &body.to_string());
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (504, &json!("timeout_error")));
    let body = json!({"prompt": [1], "stream": true});
    let reply = client.post(TEXT, &body.to_string());
    assert!(reply.text.contains("timeout_error") && !reply.text.contains("[DONE]"));
    gate.open();
    until("free places", || client.metric(UNDER_WAY) == 0.0);
}

#[test]
fn stopping_ends_what_is_under_way() {
    let (client, gate) = gated(ServeConfig::default());
    let mut socket = begin(&client, true, 5);
    until("a request", || client.metric(UNDER_WAY) == 1.0);
    let (address, server) = (client.server.address(), client.server);
    let stopping = std::thread::spawn(move || server.stop());
    until("a closed door", || TcpStream::connect(address).is_err());
    gate.open();
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("a reply");
    assert!(text.contains("\"finish_reason\":\"length\"") && text.contains("[DONE]"), "{text}");
    stopping.join().expect("no panic").expect("an orderly end");
}

#[test]
fn when_the_grace_ends_streams_end_with_an_error_and_replies_are_refused() {
    let connections =
        ConnectionLimits { grace: Duration::from_millis(50), ..ConnectionLimits::default() };
    let (client, gate) = gated(ServeConfig { connections, ..ServeConfig::default() });
    let sockets = [begin(&client, true, 5), begin(&client, false, 5)];
    // Half a head is not an open request.
    let mut half = half_a_head(&client);
    until("two requests", || client.metric(UNDER_WAY) == 2.0);
    client.server.stop().expect("an orderly end");
    let [stream, whole] = sockets.map(|mut socket| {
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("a reply, and no cut connection");
        text
    });
    assert!(stream.starts_with("HTTP/1.1 200"), "{stream}");
    // The stream's last event, and after it the chunk that ends an HTTP/1.1 body.
    let (_, last) = stream.rsplit_once("data: ").expect("an event");
    assert!(last.contains("the server is shutting down") && last.contains("\n\n"), "{stream}");
    assert!(stream.ends_with("\r\n0\r\n\r\n") && !stream.contains("[DONE]"), "{stream}");
    assert!(whole.starts_with("HTTP/1.1 503") && whole.contains("is shutting down"), "{whole}");
    assert_eq!(half.read(&mut [0]).ok(), Some(0), "an end");
    gate.open();
}

#[test]
fn a_failing_model_is_an_error_and_the_next_request_is_met() {
    // Token 11 makes it fail: 99 is outside the vocabulary.
    let says = |tokens: &[u32]| if tokens[0] == 11 { 99 } else { 14 };
    let client = alone(Script::new(says), ServeConfig::default());
    let reply = client.post(TEXT, &json!({"prompt": [11], "max_tokens": 3}).to_string());
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (500, &json!("server_error")));
    let reply = client.answer(TEXT, &json!({"prompt": [1]}));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let toy = alone(ToyModel::new(1), ServeConfig::default());
    assert_eq!(toy.answer(TEXT, &json!({"prompt": [1]}))["object"], "text_completion");
}
