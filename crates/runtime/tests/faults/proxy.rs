//! A proxy that spoils HTTP exchanges on their way to a healthy server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Passed on as it is.
    None,
    /// The reply comes this many milliseconds late.
    Delay(u64),
    /// The reply comes up to this many milliseconds late.
    Jitter(u64),
    /// The reply comes a few bytes at a time, too slowly to be of use.
    Dribble,
    /// The connection closes before the request is read.
    CloseAtOnce,
    /// The connection closes in the middle of the reply.
    CloseMidReply,
    /// The request is read and nothing ever comes back.
    Silence,
    /// The connection is accepted and left alone.
    NeverRead,
    /// A status instead of an answer.
    Status(u16),
    /// A whole reply whose body is no JSON.
    Garbage,
    /// A whole reply whose JSON breaks off.
    BrokenOff,
    /// A token that the pair does not have.
    ForeignToken,
    /// The answer to an earlier request.
    OtherPrefix,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    /// Every n-th exchange is spoilt.
    every: usize,
}

/// The proxy; its plan can change at any time.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    exchanges: AtomicUsize,
    /// The body of the last good reply to a completion.
    earlier: Mutex<Option<Vec<u8>>>,
}

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(Plan { fault: Fault::None, every: 1 }),
            exchanges: AtomicUsize::new(0),
            earlier: Mutex::new(None),
        });
        let proxy = Proxy { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.expect("a stream"), Arc::clone(&shared));
                // A broken connection is what this is about.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        proxy
    }

    /// Spoils every n-th exchange from now on.
    pub fn spoil(&self, fault: Fault, every: usize) {
        *self.shared.plan.lock().expect("no panic") = Plan { fault, every };
    }
}

/// Head and body of a request or reply.
struct Message {
    head: String,
    body: Vec<u8>,
}

fn read(reader: &mut impl BufRead) -> io::Result<Message> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Message { head, body })
}

fn reply(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = BufReader::new(client.try_clone()?);
        let mut upstream: Option<(TcpStream, BufReader<TcpStream>)> = None;
        loop {
            // Nothing is decided before there is something to spoil.
            if requests.fill_buf()?.is_empty() {
                return Ok(());
            }
            let number = self.exchanges.fetch_add(1, Ordering::SeqCst);
            let plan = *self.plan.lock().expect("no panic");
            let fault = if number.is_multiple_of(plan.every) { plan.fault } else { Fault::None };
            match fault {
                Fault::CloseAtOnce => return Ok(()),
                Fault::NeverRead => {
                    thread::sleep(Duration::from_secs(10));
                    return Ok(());
                }
                _ => {}
            }
            let request = read(&mut requests)?;
            if fault == Fault::Silence {
                thread::sleep(Duration::from_secs(10));
                return Ok(());
            }
            if let Fault::Status(status) = fault {
                client
                    .write_all(&reply(&format!("{status} Spoilt"), b"{\"error\": \"spoilt\"}"))?;
                continue;
            }
            if upstream.is_none() {
                let stream = TcpStream::connect(self.upstream)?;
                stream.set_nodelay(true)?;
                upstream = Some((stream.try_clone()?, BufReader::new(stream)));
            }
            let Some((writer, reader)) = &mut upstream else { return Ok(()) };
            writer.write_all(request.head.as_bytes())?;
            writer.write_all(&request.body)?;
            let good = read(reader)?;
            let completion = request.head.starts_with("POST") && good.head.contains(" 200 ");
            self.answer(&mut client, fault, &good.body, completion, number)?;
            if fault == Fault::CloseMidReply {
                return Ok(());
            }
        }
    }

    fn answer(
        &self,
        client: &mut TcpStream,
        fault: Fault,
        body: &[u8],
        completion: bool,
        number: usize,
    ) -> io::Result<()> {
        let whole = reply("200 OK", body);
        match fault {
            Fault::Delay(ms) => thread::sleep(Duration::from_millis(ms)),
            Fault::Jitter(ms) => {
                thread::sleep(Duration::from_millis(number as u64 * 7919 % (ms + 1)));
            }
            Fault::Dribble => {
                for piece in whole.chunks(8) {
                    client.write_all(piece)?;
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Fault::CloseMidReply => {
                return client.write_all(&whole[..whole.len() - body.len() / 2]);
            }
            Fault::Garbage => return client.write_all(&reply("200 OK", b"<html>no</html>")),
            Fault::BrokenOff => return client.write_all(&reply("200 OK", &body[..body.len() / 2])),
            Fault::ForeignToken => {
                let text = String::from_utf8_lossy(body);
                let spoilt = match text.find("\"token_ids\":[") {
                    Some(at) => format!("{}9{}", &text[..at + 13], &text[at + 13..]),
                    None => text.into_owned(),
                };
                return client.write_all(&reply("200 OK", spoilt.as_bytes()));
            }
            Fault::OtherPrefix if completion => {
                let mut earlier = self.earlier.lock().expect("no panic");
                if let Some(earlier) = earlier.as_deref() {
                    return client.write_all(&reply("200 OK", earlier));
                }
                *earlier = Some(body.to_vec());
            }
            _ => {}
        }
        client.write_all(&whole)
    }
}
