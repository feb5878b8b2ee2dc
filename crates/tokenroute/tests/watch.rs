//! The page of `run --watch`: what it says while an experiment runs, and what it refuses.
#![cfg(all(feature = "lab", feature = "server"))]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use support::{Lab, Server, fail, tokenroute};

/// Head and body of a reply. `None` once the server is gone.
fn get(server: &Server, path: &str, header: &str) -> Option<(String, String)> {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

fn state(server: &Server) -> Option<Value> {
    serde_json::from_str(&get(server, "/state", "")?.1).ok()
}

fn relations(state: &Value) -> u64 {
    state["labels"].as_object().expect("counts").values().filter_map(Value::as_u64).sum()
}

#[test]
fn a_page_follows_the_stages_the_labels_and_the_curve() {
    let lab = Lab::new(40, 20, 16);
    let mut server = Server::start(tokenroute(&["run", &lab.experiment(), "--watch=127.0.0.1:0"]));
    assert_eq!(server.name, "run");
    let (head, page) = get(&server, "/", "").expect("a page");
    assert!(page.contains("Labelled positions so far"), "{page}");
    assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{head}");
    let (head, _) =
        get(&server, "/state", "Origin: http://elsewhere.example\r\n").expect("a reply");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");

    let mut seen = Vec::new();
    while let Some(state) = state(&server) {
        let ended = !state["ended"].is_null();
        seen.push(state);
        if ended {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.child.wait().expect("an end").success());
    let last = seen.last().expect("a state");
    assert_eq!(last["ended"], "finished");
    let phases: Vec<&str> = last["phases"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert!(phases.contains(&"label, round 0") && phases.contains(&"sweep"), "{phases:?}");
    assert!(last["phases"].as_array().expect("a list").iter().all(|phase| phase["over"] == true));
    // Shards are counted while others are made.
    let counts: Vec<u64> = seen.iter().map(relations).collect();
    let most = *counts.last().expect("a count");
    assert!(counts.is_sorted() && counts.iter().any(|&n| n > 0 && n < most), "{counts:?}");
    let summary: Value =
        serde_json::from_slice(&lab.bytes("reports/e/summary.json")).expect("JSON");
    let curve = &last["curves"][0];
    assert_eq!((&curve["policy"], &curve["questions"]), (&"router".into(), &16.into()));
    let [first, end] = [&curve["points"][0], &curve["points"][40]];
    assert_eq!(first[1], summary["slm"]["accuracy"]);
    assert_eq!((&end[0], &end[1]), (&1.0.into(), &summary["llm"]["accuracy"]));
    let bad = lab.experiment();
    fail(&["run", &bad, "--watch=0.0.0.0:8435"], &["--watch=0.0.0.0:8435", "this machine alone"]);
    fail(&["run", &bad, "--watch=here"], &["here"]);
}
