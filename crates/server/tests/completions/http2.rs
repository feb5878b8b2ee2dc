//! HTTP/2: one connection carries calls in parallel, and is replaced when the network drops
//! it silently. TLS: negotiation of HTTP/2, and trust.

use std::time::{Duration, Instant};

use tokenroute_core::{Ask, Llm, LlmError};
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_llm::{ApiKey, InProcess, ToyModel};
use tokenroute_server::completions::BatchConfig;

use crate::cable::{AUTHORITY, Cable};
use crate::support::serve;

/// Asks in parallel, three times, and compares the answers with the model's.
fn ask_in_parallel(llm: &Http) {
    llm.server().expect("a server");
    let plain = InProcess::new(ToyModel::new(3));
    let contexts: Vec<[u32; 3]> = (0..40).map(|i| [i % 13, i % 7, 5]).collect();
    let asks: Vec<Ask<'_>> = contexts.iter().map(|c| Ask::greedy(c, 1)).collect();
    for _ in 0..3 {
        for (ours, theirs) in llm.ask(&asks).into_iter().zip(plain.ask(&asks)) {
            let (ours, theirs) = (ours.expect("an answer"), theirs.expect("an answer"));
            assert_eq!(ours.tokens, theirs.tokens);
        }
    }
    assert_eq!(llm.traffic().requests, 121, "the list of models, and each ask");
}

#[test]
fn one_connection_carries_calls_in_parallel() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    for (http2, connections) in [(true, 1..=1), (false, 2..=60)] {
        let cable = Cable::plain(&server);
        ask_in_parallel(&cable.client("http", |config| config.http2 = http2));
        let found = cable.connections();
        assert!(connections.contains(&found), "HTTP/2 {http2}: {found} connections");
    }
}

#[test]
fn over_tls_http2_is_taken_where_it_is_offered() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let trusting = |config: &mut HttpConfig| config.authority = Some(AUTHORITY.to_vec());
    let cable = Cable::tls(&server, &["h2", "http/1.1"]);
    ask_in_parallel(&cable.client("https", trusting));
    assert_eq!(cable.spoken(), ["h2"], "one connection");
    for offers in [&["http/1.1"][..], &[]] {
        let cable = Cable::tls(&server, offers);
        ask_in_parallel(&cable.client("https", trusting));
        let spoken = cable.spoken();
        assert!(spoken.iter().all(|name| name != "h2") && spoken.len() <= 60, "{spoken:?}");
    }
}

#[test]
fn an_untrusted_server_gets_no_key() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let cable = Cable::tls(&server, &["h2", "http/1.1"]);
    let llm = cable.client("https", |config| {
        config.key = Some(ApiKey::new("sesame-4711").expect("a key"));
    });
    let error = llm.ask(&[Ask::greedy(&[1, 2], 2)]).remove(0).expect_err("no trust");
    // No attempt would change that, so it is no outage.
    assert!(matches!(&error, LlmError::Refused(m) if m.contains("certificate")), "{error:?}");
    assert!(error.to_string().contains("--llm-ca"), "{error}");
    assert_eq!(llm.traffic().requests, 1, "the list of models was asked for once");
    assert!(cable.connections() > 0 && cable.spoken().is_empty(), "no handshake succeeded");
    let config = HttpConfig {
        authority: Some(b"-----BEGIN CERTIFICATE-----\n!".to_vec()),
        ..HttpConfig::new("https://127.0.0.1")
    };
    let error = Http::new(config, ToyModel::vocabulary(), None).expect_err("no certificate");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Attempts of an ask.
const ATTEMPTS: usize = 3;

#[test]
fn a_connection_that_died_silently_is_replaced() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    for http2 in [true, false] {
        let cable = Cable::plain(&server);
        let llm = cable.client("http", |config| {
            config.http2 = http2;
            config.attempts = ATTEMPTS as u32;
            config.connect = Duration::from_millis(300);
            config.first_byte = Duration::from_millis(200);
            config.total = Duration::from_millis(300);
            config.breaker.pause = Duration::from_millis(50);
        });
        let ask = || llm.ask(&[Ask::greedy(&[1, 2], 2)]).remove(0);
        ask().expect("an answer");
        cable.cut();
        let (start, mut asks) = (Instant::now(), 1);
        while ask().is_err() {
            asks += 1;
            assert!(start.elapsed() < Duration::from_secs(20), "HTTP/2 {http2}: no recovery");
            std::thread::sleep(Duration::from_millis(10));
        }
        // HTTP/1.1 may open one per attempt: a late exchange loses its connection.
        let most = if http2 { 2 } else { 1 + asks * ATTEMPTS };
        let opened = cable.connections();
        assert!((2..=most).contains(&opened), "HTTP/2 {http2}: {opened} after {asks} asks");
    }
}
