//! A small server that replies like the Hub: repository information, files with ranges,
//! redirects for large files, and the statuses of refusals.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// The commit of every repository on this server.
pub const COMMIT: &str = "7ae557604adf67be50417f59c2c2f167def9a775";

#[derive(Default)]
pub struct Hub {
    /// Content of each file, by `owner/name` (or `datasets/owner/name`) and path.
    pub files: BTreeMap<(String, String), Vec<u8>>,
    /// If set, the status of every reply.
    pub status: Option<u16>,
    /// Breaks off the first reply with a whole file after this many bytes.
    pub breaks_after: Option<usize>,
    /// Stops sending a whole file after this many bytes, and keeps the connection open.
    pub stalls_after: Option<usize>,
    /// Gives every file its SHA-256 as its etag, as the Hub does for large ones.
    pub hashed: bool,
    /// Replaces the etag of every file.
    pub etag: Option<String>,
    /// Replaces the commit, in the repository's information and in the header of files.
    pub commit: Option<(String, String)>,
    /// Status of the first reply to a resumed download.
    pub refuses_resume: Option<u16>,
    /// Ignores where a resumed download starts, and sends the whole file.
    pub ignores_range: bool,
    /// Sends the first whole file without a length and ends it after this many bytes.
    pub ends_after: Option<usize>,
    /// Replaces one header of every reply, or leaves it out. Its name is in lower case.
    pub spoilt: Option<(String, Option<Vec<u8>>)>,
    /// Sends a resumed download from another place than its header states.
    pub shifted: usize,
    /// The server that large files are on, if it is another one.
    pub cdn: Option<String>,
    /// Another server that every other request is redirected to.
    pub moved: Option<String>,
    /// Path, range and authorisation of each request.
    pub seen: Vec<String>,
}

/// Serves until the test ends. Returns the URL.
pub fn serve(hub: Hub) -> (String, Arc<Mutex<Hub>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let hub = Arc::new(Mutex::new(hub));
    let (shared, here) = (hub.clone(), address.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (hub, here) = (shared.clone(), here.clone());
            std::thread::spawn(move || while answer(&stream, &hub, &here).is_some() {});
        }
    });
    (address, hub)
}

fn answer(stream: &TcpStream, hub: &Mutex<Hub>, here: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    let (mut range, mut token) = (None, String::new());
    for line in lines {
        let line = line.ok()?;
        let (name, value) = match line.split_once(": ") {
            Some(parts) => parts,
            None => break,
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.trim_start_matches("bytes=").to_owned()),
            "authorization" => token = value.to_owned(),
            _ => {}
        }
    }
    let mut hub = hub.lock().expect("no panic elsewhere");
    hub.seen.push(format!("{path} {} {token}", range.as_deref().unwrap_or("-")));
    let (head, body) = reply(&mut hub, &path, range.as_deref(), here);
    let length = body.len();
    let mut sent = &body[..];
    let whole = range.as_deref() != Some("0-0") && head.starts_with("206");
    if let Some(most) = hub.breaks_after.filter(|&most| whole && most < length) {
        sent = &body[..most];
        hub.breaks_after = None;
    }
    let stalls = hub.stalls_after.filter(|&most| whole && most < length);
    if let Some(most) = stalls {
        sent = &body[..most];
    }
    let ends = hub.ends_after.take_if(|most| whole && *most < length);
    let length_header = match ends {
        Some(most) => {
            sent = &body[..most];
            "Connection: close".to_owned()
        }
        None => format!("Content-Length: {length}"),
    };
    let spoilt = hub.spoilt.clone();
    drop(hub);
    let head = spoil(&format!("{head}\r\n{length_header}"), spoilt.as_ref());
    let mut stream = stream;
    stream.write_all(&head).ok()?;
    stream.write_all(sent).ok()?;
    stream.flush().ok()?;
    while stalls.is_some() {
        std::thread::park();
    }
    // A broken reply closes the connection.
    (sent.len() == length && spoilt.is_none()).then_some(()).or_else(|| {
        let _ = stream.shutdown(std::net::Shutdown::Both);
        None
    })
}

/// The SHA-256 of bytes in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The head of a reply, with one header replaced or left out.
fn spoil(head: &str, spoilt: Option<&(String, Option<Vec<u8>>)>) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 ".to_vec();
    for line in head.split("\r\n") {
        let name = line.split(": ").next().unwrap_or_default().to_ascii_lowercase();
        match spoilt.filter(|(spoilt, _)| *spoilt == name) {
            None => bytes.extend(line.as_bytes()),
            Some((_, None)) => continue,
            Some((name, Some(value))) => bytes.extend([name.as_bytes(), b": ", value].concat()),
        }
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes
}

fn reply(hub: &mut Hub, path: &str, range: Option<&str>, here: &str) -> (String, Vec<u8>) {
    if let Some(status) = hub.status {
        let body = r#"{"error":"Invalid credentials in Authorization header"}"#;
        return (format!("{status} Refused"), body.into());
    }
    if let Some(to) = &hub.moved {
        return (format!("307 Moved\r\nLocation: {to}{path}"), Vec::new());
    }
    let missing = || ("404 Not Found\r\nX-Error-Code: EntryNotFound".to_owned(), b"{}".to_vec());
    if let Some(rest) = path.strip_prefix("/api/") {
        let Some((repository, revision)) = rest.split_once("/revision/") else { return missing() };
        let repository = repository.trim_start_matches("models/");
        let names = hub.files.keys().filter(|(r, _)| r == repository);
        let names: Vec<String> =
            names.map(|(_, file)| format!(r#"{{"rfilename":"{file}"}}"#)).collect();
        if names.is_empty() || !matches!(revision, "main" | COMMIT) {
            return missing();
        }
        let body = format!(
            r#"{{"_id":"66","id":"{repository}","private":false,"gated":false,"tags":[],"siblings":[{}],"sha":"{}"}}"#,
            names.join(","),
            hub.commit.as_ref().map_or(COMMIT, |(sha, _)| sha)
        );
        return ("200 OK\r\nContent-Type: application/json".into(), body.into());
    }
    let (large, path) = match path.strip_prefix("/cdn/") {
        Some(rest) => (true, rest),
        None => (false, path.trim_start_matches('/')),
    };
    let Some((repository, rest)) = path.split_once("/resolve/") else { return missing() };
    let Some((_, file)) = rest.split_once('/') else { return missing() };
    let key = (repository.to_owned(), file.to_owned());
    let Some(content) = hub.files.get(&key) else { return missing() };
    let tag = format!("{:040x}", content.iter().map(|&b| u64::from(b)).sum::<u64>());
    let tag = if hub.hashed { sha256(content) } else { tag };
    let tag = hub.etag.clone().unwrap_or(tag);
    let commit = hub.commit.as_ref().map_or(COMMIT, |(_, header)| header);
    if file.ends_with(".safetensors") && !large {
        let place = hub.cdn.as_deref().unwrap_or(here);
        let head = format!(
            "302 Found\r\nLocation: {place}/cdn/{path}\r\nX-Repo-Commit: {commit}\r\nX-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: {}",
            content.len()
        );
        return (head, Vec::new());
    }
    let (from, to) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let mut from: usize = from.parse().unwrap_or(0);
    if let Some(status) = hub.refuses_resume.take_if(|_| from > 0) {
        return (format!("{status} Refused"), b"<html>away</html>".to_vec());
    }
    if hub.ignores_range {
        from = 0;
    }
    let end = to.parse::<usize>().map_or(content.len(), |to| to + 1);
    let head = format!(
        "206 Partial Content\r\nETag: \"{tag}\"\r\nX-Repo-Commit: {commit}\r\nContent-Range: bytes {from}-{}/{}",
        end - 1,
        content.len()
    );
    let from = if from > 0 { from.saturating_sub(hub.shifted) } else { from };
    (head, content[from..end].to_vec())
}
