//! Clients that send or read too slowly, or not at all, on raw sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokenroute_llm::ToyModel;
use tokenroute_server::net::ConnectionLimits;
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerPair};

use crate::support::{Client, Script, alone, served, until};

const TEXT: &str = "/v1/completions";
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(600);

/// HTTP/2's preface, and an empty settings frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// All limits out of reach, except the changed ones.
fn limits(change: impl FnOnce(&mut ConnectionLimits)) -> ServeConfig {
    let mut connections = ConnectionLimits {
        most: 1,
        per_peer: 9,
        first: LONG,
        head: LONG,
        body: LONG,
        stalled: LONG,
        grace: LONG,
    };
    change(&mut connections);
    ServeConfig { connections, ..ServeConfig::default() }
}

/// A connection whose blocking reads and writes fail soon.
fn connect(client: &Client) -> TcpStream {
    let socket = TcpStream::connect(client.server.address()).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    socket
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = [0, 0, payload.len() as u8];
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A request over HTTP/2, as HPACK literals without indexing.
fn request(stream: u8, body: &str) -> Vec<u8> {
    let header = |name: &str, value: &str| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let head = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", TEXT),
        header(":authority", "localhost"),
    ]
    .concat();
    [frame(1, 4, stream, &head), frame(0, 1, stream, body.as_bytes())].concat()
}

/// A received frame.
struct Frame<'b> {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: &'b [u8],
}

/// The whole frames in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        found.push(Frame { kind: head[3], flags: head[4], stream: head[8], payload });
        bytes = rest;
    }
    found
}

/// Reads until the other side ends the connection or `done` holds. `meanwhile` runs while no
/// bytes arrive.
fn read_until(
    socket: &mut TcpStream,
    done: impl Fn(&[u8]) -> bool,
    mut meanwhile: impl FnMut(&mut TcpStream, &[u8]),
) -> (Vec<u8>, bool) {
    let (mut bytes, begun) = (Vec::new(), Instant::now());
    let mut buffer = [0; 4096];
    while begun.elapsed() < Duration::from_secs(60) {
        match socket.read(&mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                meanwhile(socket, &bytes);
            }
            Err(_) => return (bytes, true),
        }
        if done(&bytes) {
            return (bytes, false);
        }
    }
    panic!("nothing came of it: {} bytes", bytes.len());
}

/// The server's only slot.
fn its_place_is_free(client: &Client) {
    let mut socket = connect(client);
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    socket.write_all(request).expect("a request");
    let (said, _) = read_until(&mut socket, |_| false, |_, _| {});
    assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_client_that_only_answers_pings_loses_its_connection() {
    let client = alone(ToyModel::new(1), limits(|limits| limits.head = SHORT));
    let mut socket = connect(&client);
    socket.write_all(PREFACE).expect("a preface");
    // It acknowledges the server's settings, and sends and answers pings forever.
    socket.write_all(&frame(4, 1, 0, &[])).expect("an acknowledgement");
    let mut answered = 0;
    let (said, ended) = read_until(
        &mut socket,
        |_| false,
        |socket, said| {
            let pings = frames(said).into_iter().filter(|f| (f.kind, f.flags) == (6, 0));
            for ping in pings.skip(answered) {
                // The server may have closed.
                drop(socket.write_all(&frame(6, 1, 0, ping.payload)));
                answered += 1;
            }
            drop(socket.write_all(&frame(6, 0, 0, &[7; 8])));
        },
    );
    assert!(ended && frames(&said).iter().any(|f| f.kind == 7), "a GOAWAY");
    its_place_is_free(&client);
}

#[test]
fn a_request_that_trickles_in_is_refused() {
    let client = alone(ToyModel::new(1), limits(|limits| limits.body = SHORT));
    let head = "HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{";
    let mut socket = connect(&client);
    socket.write_all(format!("POST {TEXT} {head}").as_bytes()).expect("a head");
    let (said, ended) = read_until(
        &mut socket,
        |_| false,
        |socket, _| {
            drop(socket.write_all(b" "));
        },
    );
    let said = String::from_utf8_lossy(&said);
    assert!(ended && said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("took more than 0.2 s to arrive"), "{said}");
    its_place_is_free(&client);
}

/// A model that generates for four seconds.
fn talker() -> Script<impl Fn(&[u32]) -> u32 + Send + Sync> {
    Script::new(|tokens| {
        thread::sleep(Duration::from_millis(1));
        tokens.len() as u32 % 8
    })
}

#[test]
fn a_client_that_stops_reading_loses_its_connection() {
    // Every event contains the name, so they soon fill the system's buffers of megabytes.
    let served = ServerPair { name: "long".repeat(5000), ..served(talker(), None) };
    let config = limits(|limits| limits.stalled = SHORT);
    let client = Client::of(&RoutedService::new(served, None, config));
    let body = json!({"prompt": [1], "stream": true, "max_tokens": 4000}).to_string();
    let head = format!("host: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    // Its own buffer is small.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(2048).expect("a small buffer");
    socket.connect(&client.server.address().into()).expect("a connection");
    let mut socket = TcpStream::from(socket);
    socket.write_all(format!("POST {TEXT} HTTP/1.1\r\n{head}{body}").as_bytes()).expect("sent");
    its_place_is_free(&client);
    assert!(client.metric("tokenroute_tokens_total{origin=\"slm\"}") < 3500.0);
    drop(socket);
}

#[test]
fn a_stream_whose_reader_stalls_ends_alone() {
    let client = alone(talker(), limits(|limits| (limits.stalled, limits.most) = (SHORT, 2)));
    let mut socket = connect(&client);
    // A stream may send one byte until the reader allows more. The reader never does.
    let narrow = frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]);
    let hello = [&PREFACE[..24], &narrow, &frame(4, 1, 0, &[])].concat();
    socket.write_all(&hello).expect("a preface");
    let body = json!({"prompt": [1], "stream": true, "max_tokens": 4000}).to_string();
    socket.write_all(&request(1, &body)).expect("a request");
    until("the answer given up", || {
        client.metric("tokenroute_requests_total{outcome=\"left\"}") == 1.0
    });
    assert!(client.metric("tokenroute_tokens_total{origin=\"slm\"}") < 3000.0);
    // The connection lives.
    socket.write_all(&frame(6, 0, 0, &[7; 8])).expect("a ping");
    let (_, ended) = read_until(
        &mut socket,
        |bytes| frames(bytes).iter().any(|f| (f.kind, f.stream) == (6, 0) && f.flags == 1),
        |_, _| {},
    );
    assert!(!ended, "a ping is answered");
}
