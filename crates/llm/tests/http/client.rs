//! Deadlines, retries, the circuit breaker, and the key in no output.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::{Ask, Llm, LlmError, Reply};
use tokenroute_llm::http::{Api, Http, HttpConfig, Spelling};
use tokenroute_llm::{ApiKey, ToyModel};

use crate::stub::{Said, Stub, config};

const OK: &str = r#"{"choices": [{"text": "", "token_ids": [5]}]}"#;

fn known(config: &mut HttpConfig) {
    config.api = Some(Api::Vllm);
    config.model = Some("m".to_owned());
}

fn ask(llm: &Http) -> Result<Reply, LlmError> {
    llm.ask(&[Ask::greedy(&[1, 2], 2)]).remove(0)
}

#[test]
fn asks_again_only_where_that_can_help() {
    for (status, body, requests, answered) in [
        (503, "down", 3, true),
        (429, "busy", 3, true),
        (500, "", 3, true),
        (200, "{\"choices\": [{", 3, true),
        (400, "bad prompt", 1, false),
        (401, "who are you", 1, false),
        (404, "", 1, false),
        (302, "elsewhere", 1, false),
    ] {
        let stub = Stub::start(move |number, _| match number {
            0 | 1 => Said::status(status, body),
            _ => Said::ok(OK),
        });
        let llm = stub.client(|config| {
            known(config);
            config.breaker.failures = 9;
        });
        let result = ask(&llm);
        assert_eq!(stub.requests().len(), requests, "{status}");
        match result {
            Ok(reply) => {
                assert!(answered && reply.tokens == [5], "{status}");
                // All attempts are counted.
                assert_eq!(reply.bytes, llm.traffic().bytes, "{status}");
                assert_eq!(reply.bytes.down as usize, 2 * body.len() + OK.len());
                assert_eq!(reply.bytes.up % 3, 0, "three times the same body");
                assert_eq!(ask(&llm).expect("an answer").bytes.up, reply.bytes.up / 3);
            }
            Err(error) => {
                assert!(!answered && matches!(error, LlmError::Refused(_)), "{status}: {error}");
                assert!(error.to_string().contains(body), "{error}");
            }
        }
    }
}

#[test]
fn connections_are_kept_and_batches_keep_their_order() {
    let stub = Stub::start(|_, asked| {
        let last = asked.body["prompt"].as_array().and_then(|p| p.last().cloned());
        Said::ok(&OK.replace('5', &last.unwrap_or_default().to_string()))
    });
    let llm = stub.client(known);
    for _ in 0..10 {
        assert_eq!(ask(&llm).expect("an answer").tokens, [2]);
        // A connection is free again a moment after its reply was read.
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stub.connections.load(Ordering::SeqCst), 1, "one connection for all");
    assert_eq!(llm.traffic().requests, 10);
    assert!(llm.traffic().bytes.up > 200 && llm.traffic().bytes.down > 200);

    let contexts: Vec<[u32; 2]> = (0..14).map(|i| [1, i]).collect();
    let mut asks: Vec<Ask<'_>> = contexts.iter().map(|c| Ask::greedy(c, 2)).collect();
    asks[3].from = 0;
    let replies = llm.ask(&asks);
    for (i, reply) in replies.into_iter().enumerate() {
        match reply {
            Ok(reply) => assert_eq!(reply.tokens, [i as u32]),
            Err(error) => assert!(i == 3 && error.to_string().contains("from 0"), "{i}: {error}"),
        }
    }
    // A connection that was just read may not be free when the next call needs it.
    assert!(stub.connections.load(Ordering::SeqCst) <= 14, "no more than there are asks");
    assert!(llm.ask(&[]).is_empty());
}

#[test]
fn the_deadline_holds_against_a_server_that_never_answers() {
    let slow = Duration::from_secs(5);
    let stub = Stub::start(move |_, _| Said { after: slow, ..Said::ok(OK) });
    let llm = stub.client(|config| {
        known(config);
        config.first_byte = Duration::from_millis(100);
        config.total = Duration::from_millis(250);
    });
    let asks = [Ask::greedy(&[1, 2], 2); 20];
    let start = Instant::now();
    for reply in llm.ask(&asks) {
        let error = reply.expect_err("late");
        assert!(matches!(error, LlmError::Late(_) | LlmError::Unavailable(_)), "{error:?}");
    }
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_is_down_costs_no_time_and_comes_back_by_itself() {
    for (api, page) in [(Api::Vllm, "/v1/models"), (Api::LlamaCpp, "/health")] {
        let up = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&up);
        let stub = Stub::start(move |_, asked| match state.load(Ordering::SeqCst) {
            true if asked.line.starts_with("GET") => Said::ok("{}"),
            true => Said::ok(r#"{"choices": [{"text": "", "token_ids": [5]}], "tokens": [5]}"#),
            false => Said::status(503, "down"),
        });
        let llm = stub.client(|config| {
            known(config);
            config.api = Some(api);
            brief_pauses(config);
        });
        assert!(ask(&llm).is_err());
        assert_eq!(asked_for(&stub, "POST"), 3, "the circuit opens after three failures");
        for _ in 0..100 {
            let error = ask(&llm).expect_err("open");
            assert!(error.to_string().contains("failed too often"), "{error}");
        }
        // Without asks, probes still find that the server is back.
        wait_for(|| asked_for(&stub, "GET") >= 2);
        assert_eq!(asked_for(&stub, "GET"), asked_for(&stub, &format!("GET {page} ")));
        up.store(true, Ordering::SeqCst);
        wait_for_quiet(&stub);
        assert_eq!(asked_for(&stub, "POST"), 3, "nothing was asked for but the page");
        for _ in 0..20 {
            assert_eq!(ask(&llm).expect("not one degraded").tokens, [5]);
        }
    }
}

#[test]
fn a_server_that_answers_probes_alone_is_asked_once_a_probe() {
    let stub = Stub::start(move |_, asked| match asked.line.starts_with("GET") {
        true => Said::ok("{}"),
        false => Said::status(503, "down"),
    });
    let llm = stub.client(|config| {
        known(config);
        brief_pauses(config);
        config.attempts = 1;
    });
    for _ in 0..3 {
        assert!(ask(&llm).is_err());
    }
    for more in 1..5 {
        wait_for(|| asked_for(&stub, "GET") == more);
        assert_eq!(asked_for(&stub, "POST"), 2 + more, "one failure opens it again");
        wait_for(|| ask(&llm).is_err_and(|error| error.to_string().contains("503")));
    }
}

#[test]
fn a_client_that_is_gone_probes_no_more() {
    let stub = Stub::start(|_, _| Said::status(503, "down"));
    let llm = stub.client(|config| {
        known(config);
        brief_pauses(config);
    });
    assert!(ask(&llm).is_err());
    wait_for(|| asked_for(&stub, "GET") >= 3);
    drop(llm);
    // Many pauses without a probe.
    wait_for_quiet(&stub);
}

fn brief_pauses(config: &mut HttpConfig) {
    config.breaker.pause = Duration::from_millis(20);
    config.breaker.longest = Duration::from_millis(40);
}

/// Requests with this beginning.
fn asked_for(stub: &Stub, line: &str) -> usize {
    stub.requests().iter().filter(|asked| asked.line.starts_with(line)).count()
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no request comes for ten pauses.
fn wait_for_quiet(stub: &Stub) {
    let mut before = usize::MAX;
    wait_for(|| {
        let now = stub.requests().len();
        let quiet = now == before;
        before = now;
        thread::sleep(Duration::from_millis(400));
        quiet
    });
}

#[test]
fn a_pause_of_any_length_that_a_server_asks_for_is_no_panic() {
    for headers in ["18446744073709551615", "9223372036854775807", "86400", "-1", "soon", ""] {
        let line: &'static str = format!("retry-after: {headers}\r\n").leak();
        let stub = Stub::start(move |_, _| Said { headers: line, ..Said::status(429, "busy") });
        let llm = stub.client(known);
        let error = ask(&llm).expect_err("busy").to_string();
        assert!(error.contains("429"), "{headers}: {error}");
    }
    // A configuration may be too long for the clock as well.
    let stub = Stub::start(|_, _| Said::ok(OK));
    let llm = stub.client(|config| {
        known(config);
        config.total = Duration::MAX;
    });
    assert_eq!(ask(&llm).expect("an answer").tokens, [5]);
}

#[test]
fn a_server_s_words_hold_no_control_characters_and_few_names() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}no\u{9b}31m\rsuch \u{8}model";
    let stub = Stub::start(move |number, _| match number % 3 {
        0 => Said::status(401, hostile),
        1 => Said::status(503, hostile),
        _ => Said::ok("{\"choices\": \"\\u001b[2J\\u202e\"}"),
    });
    let llm = stub.client(|config| {
        known(config);
        config.attempts = 1;
        config.breaker.failures = 99;
    });
    for _ in 0..6 {
        let text = ask(&llm).expect_err("refused").to_string();
        let hidden = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!text.contains(hidden), "{text:?}");
    }
    let names: Vec<String> = (0..20_000)
        .map(|i| format!(r#"{{"id": "model-{i}\u001b[2J", "owned_by": "vllm"}}"#))
        .collect();
    let list = format!(r#"{{"data": [{}]}}"#, names.join(","));
    let stub = Stub::start(move |_, _| Said::ok(&list));
    let llm = stub.client(|config| config.model = Some("other".to_owned()));
    let text = llm.server().expect_err("no such model").to_string();
    assert!(text.contains("model-11") && text.contains("and 19988 more"), "{text}");
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
}

#[test]
fn a_reply_is_as_long_as_its_question_allows() {
    // Two tokens were asked about. The padding is in a field that is not read.
    for (item, bytes, refused) in [
        ("0,", 900_000, None),
        ("0,", 2_000_000, Some("a reply of more than")),
        ("{},", 900_000, Some("brackets")),
    ] {
        let padding = item.repeat(bytes / item.len());
        let body = format!(r#"{{"x": [{padding}1], {}"#, &OK[1..]);
        let stub = Stub::start(move |_, _| Said::ok(&body));
        let llm = stub.client(|config| {
            known(config);
            (config.attempts, config.first_byte) = (1, Duration::from_secs(20));
            config.total = Duration::from_secs(20);
        });
        match (ask(&llm), refused) {
            (Ok(reply), None) => assert_eq!(reply.tokens, [5]),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (result, _) => panic!("{item}: {result:?}"),
        }
    }
    let endless = format!("data: {}", "x".repeat(5 << 20));
    let stub = Stub::start(move |_, _| Said::ok(&endless));
    let llm = stub.client(|config| {
        known(config);
        (config.first_byte, config.total) = (Duration::from_secs(20), Duration::from_secs(20));
    });
    let error = llm.stream(&[1, 2], 3, &mut |_| {}).expect_err("no event ends").to_string();
    assert!(error.contains("an event of more than"), "{error}");
}

#[test]
fn a_server_s_context_is_known_from_its_list() {
    for (field, context) in [("", None), (r#", "max_model_len": 512"#, Some(512))] {
        let list = format!(r#"{{"data": [{{"id": "m", "owned_by": "vllm"{field}}}]}}"#);
        let stub = Stub::start(move |_, _| Said::ok(&list));
        assert_eq!(stub.client(|_| {}).server().expect("a server").context, context);
    }
}

#[test]
fn a_url_that_no_client_can_ask_is_refused_at_once() {
    for url in
        ["http://127.0.0.1:99999", "http://127.0.0.1:0", "http://a b", "http://[::1", "http://h:x"]
    {
        let error = Http::new(HttpConfig::new(url), ToyModel::vocabulary(), None).expect_err(url);
        let text = error.to_string();
        assert!(text.contains(url) && text.contains("expected something like"), "{text}");
    }
}

#[test]
fn a_second_request_helps_where_the_first_is_slow() {
    let slow = Duration::from_secs(4);
    let stub = Stub::start(move |number, _| match number {
        0 => Said { after: slow, ..Said::ok(OK) },
        _ => Said::ok(OK),
    });
    let llm = stub.client(|config| {
        known(config);
        config.hedge = Some(Duration::from_millis(300));
        config.first_byte = Duration::from_secs(5);
        config.total = Duration::from_secs(5);
    });
    let start = Instant::now();
    assert_eq!(ask(&llm).expect("an answer").tokens, [5]);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(llm.traffic().hedges, 1);
    assert_eq!(ask(&llm).expect("an answer").tokens, [5]);
    assert_eq!(llm.traffic().hedges, 1, "a fast first request is alone");
}

#[test]
fn the_key_is_sent_and_shown_nowhere() {
    const KEY: &str = "sesame-4711";
    let stub = Stub::start(|number, _| match number {
        0 => Said::status(401, "Incorrect API key provided: sesame-4711."),
        1 => Said { headers: "location: http://127.0.0.1:9/\r\n", ..Said::status(307, "") },
        2 => Said::ok("not JSON: sesame-4711"),
        _ => Said::status(503, "sesame-4711"),
    });
    let llm = stub.client(|config| {
        known(config);
        config.attempts = 1;
        config.key = Some(ApiKey::new(KEY).expect("a key"));
    });
    let mut shown = format!("{llm:?} {:?}", llm.server());
    for _ in 0..6 {
        let error = ask(&llm).expect_err("refused");
        shown += &format!("{error} {error:?}");
    }
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(shown.contains("[key]"), "the server's words are there without it: {shown}");
    for asked in stub.requests() {
        assert!(asked.headers.to_lowercase().contains("authorization: bearer sesame-4711"));
    }
    // In every place where a server's text is read: lists, types, texts, streams.
    let named = r#"{"data": [{"id": "you sent Bearer sesame-4711", "owned_by": "vllm"}]}"#;
    let hashed = r#"{"data": [{"id": "m", "owned_by": "vllm", "tokenizer_hash": "sesame-4711"}]}"#;
    let text = r#"{"choices": [{"text": "sesame-4711"}]}"#;
    let piece = "data: {\"choices\": \"sesame-4711\"}\n";
    for (model, said, part) in [
        (Some("foo"), named, "no model foo; it has you sent Bearer [key]"),
        (None, named, "names its model by the API key"),
        (None, hashed, "names its model by the API key"),
        (None, r#"{"data": "sesame-4711"}"#, "[key]"),
        (Some("m"), text, "[key]"),
        (Some("m"), piece, "[key]"),
    ] {
        let stub = Stub::start(move |_, _| Said::ok(said));
        let mut config = config(&stub.url);
        config.api = (said == text || said == piece).then_some(Api::Vllm);
        config.model = model.map(str::to_owned);
        config.key = Some(ApiKey::new(KEY).expect("a key"));
        config.attempts = 1;
        let spelling = Spelling::new(["a".to_owned()]);
        let llm = Http::new(config, ToyModel::vocabulary(), Some(spelling)).expect("a good URL");
        let asked = ask(&llm).expect_err("refused");
        let streamed = llm.stream(&[1, 2], 3, &mut |_| {}).expect_err("refused");
        let shown = format!("{:?} {asked} {streamed} {asked:?} {llm:?}", llm.server());
        assert!(shown.contains(part) && !shown.contains("sesame"), "{said}: {shown}");
    }
    // Within quotation marks a key may be escaped.
    let stub = Stub::start(|_, _| Said::ok(r#"{"choices": [{"token_ids": "ses\"ame"}]}"#));
    let llm = stub.client(|config| {
        known(config);
        config.key = Some(ApiKey::new("ses\"ame").expect("a key"));
    });
    let error = ask(&llm).expect_err("no ids").to_string();
    assert!(error.contains("[key]") && !error.contains("ame"), "{error}");
    for bad in ["", "  ", "a b", "naïve", "line\nbreak"] {
        let error = ApiKey::new(bad).expect_err("no key");
        assert!(!error.to_string().contains(bad) || bad.trim().is_empty());
    }
}
