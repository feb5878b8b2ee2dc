//! A proxy that damages HTTP exchanges on their way to a healthy server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The damage to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No damage.
    None,
    /// The reply comes this many milliseconds late.
    Delay(u64),
    /// The reply comes up to this many milliseconds late.
    Jitter(u64),
    /// The reply comes at this many bytes per second.
    Bandwidth(u64),
    /// The connection closes before the request is read.
    CloseAtOnce,
    /// The connection closes in the middle of the reply.
    CloseMidReply,
    /// The connection is reset in the middle of the reply.
    ResetMidReply,
    /// The request is read, and no reply comes.
    Silence,
    /// The connection is accepted and not used.
    NeverRead,
    /// A connection is dead after its first exchange, without being closed.
    HalfOpen,
    /// A status instead of an answer.
    Status(u16),
    /// A whole reply whose body is not JSON.
    Garbage,
    /// A whole reply whose JSON breaks off.
    BrokenOff,
    /// A token outside the pair's vocabulary.
    ForeignToken,
    /// The answer to an earlier request.
    OtherPrefix,
}

/// The damaged exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// Six in a row out of each ten.
    Bursts,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    when: When,
}

impl Plan {
    fn fault(&self, number: usize) -> Fault {
        let spoils = self.when == When::Always || number % 10 < 6;
        if spoils { self.fault } else { Fault::None }
    }
}

/// How long a silent connection is held. No client waits that long.
const SILENCE: Duration = Duration::from_secs(10);

/// The proxy; its plan can change at any time.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    exchanges: AtomicUsize,
    /// The body of the last good completion.
    earlier: Mutex<Option<Vec<u8>>>,
}

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(Plan { fault: Fault::None, when: When::Always }),
            exchanges: AtomicUsize::new(0),
            earlier: Mutex::new(None),
        });
        let proxy = Proxy { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.expect("a stream"), Arc::clone(&shared));
                // Broken connections are expected here.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        proxy
    }

    /// Damages exchanges from now on.
    pub fn spoil(&self, fault: Fault, when: When) {
        *self.shared.plan.lock().expect("no panic") = Plan { fault, when };
    }
}

/// Head and body of a request or reply.
struct HttpMessage {
    head: String,
    body: Vec<u8>,
}

fn read(reader: &mut impl BufRead) -> io::Result<HttpMessage> {
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
    Ok(HttpMessage { head, body })
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
        let mut served = 0;
        loop {
            // The damage is chosen after the request has come.
            if requests.fill_buf()?.is_empty() {
                return Ok(());
            }
            let number = self.exchanges.fetch_add(1, Ordering::SeqCst);
            let fault = self.plan.lock().expect("no panic").fault(number);
            match fault {
                Fault::CloseAtOnce => return Ok(()),
                Fault::NeverRead => {
                    thread::sleep(SILENCE);
                    return Ok(());
                }
                _ => {}
            }
            let request = read(&mut requests)?;
            if fault == Fault::Silence || fault == Fault::HalfOpen && served > 0 {
                thread::sleep(SILENCE);
                return Ok(());
            }
            served += 1;
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
            match fault {
                Fault::CloseMidReply => return Ok(()),
                // Closed without lingering, a connection is reset.
                Fault::ResetMidReply => {
                    return socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                }
                _ => {}
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
            Fault::Bandwidth(rate) => {
                for piece in whole.chunks(64) {
                    client.write_all(piece)?;
                    thread::sleep(Duration::from_micros(piece.len() as u64 * 1_000_000 / rate));
                }
                return Ok(());
            }
            Fault::CloseMidReply | Fault::ResetMidReply => {
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
