//! A server with scripted replies that records its requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Http, HttpConfig};

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: String,
    pub body: Value,
}

/// One reply.
#[derive(Debug, Clone)]
pub struct Said {
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
    pub after: Duration,
}

impl Said {
    pub fn ok(body: &str) -> Said {
        Said::status(200, body)
    }

    pub fn status(status: u16, body: &str) -> Said {
        Said { status, headers: "", body: body.to_owned(), after: Duration::ZERO }
    }
}

pub struct Stub {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Stub {
    /// Answers request number n with `script(n, request)`.
    pub fn start(script: impl Fn(usize, &Asked) -> Said + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count, script) = (Arc::clone(&asked), Arc::clone(&connections), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(stream.expect("a stream"), &log, &*script));
            }
        });
        Stub { url, asked, connections }
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// A client with short waits; its vocabulary is the toys'.
    pub fn client(&self, change: impl FnOnce(&mut HttpConfig)) -> Http {
        let mut config = config(&self.url);
        change(&mut config);
        Http::new(config, ToyModel::vocabulary(), None).expect("a good URL")
    }
}

/// Short waits.
pub fn config(url: &str) -> HttpConfig {
    let mut config = HttpConfig::new(url);
    config.connect = Duration::from_millis(300);
    config.first_byte = Duration::from_millis(300);
    config.total = Duration::from_millis(800);
    config
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    script: &(dyn Fn(usize, &Asked) -> Said + Send + Sync),
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = String::new();
        loop {
            let before = headers.len();
            if reader.read_line(&mut headers).unwrap_or(0) == 0 {
                return;
            }
            if headers[before..].trim().is_empty() {
                break;
            }
        }
        let lower = headers.to_lowercase();
        let length = lower.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let asked = Asked { line: line.trim().to_owned(), headers, body };
        let number = {
            let mut log = log.lock().expect("no panic");
            log.push(asked.clone());
            log.len() - 1
        };
        let said = script(number, &asked);
        std::thread::sleep(said.after);
        let reply = format!(
            "HTTP/1.1 {} Said\r\ncontent-length: {}\r\n{}\r\n{}",
            said.status,
            said.body.len(),
            said.headers,
            said.body
        );
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}
