//! A simulated network on one machine: bytes between a client and a server arrive with the
//! delay and bandwidth of a real link.
//!
//! It models propagation (half the round trip each way), a bandwidth for each direction that
//! all connections share in order of arrival, and the round trip of TCP's handshake. It does
//! not model loss, jitter, packet headers or slow start.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Most bytes that travel together: the payload of a TCP packet over Ethernet.
const PACKET: usize = 1460;

/// Delay and bandwidth of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkConfig {
    /// Time from one end to the other and back, without transmission.
    pub round_trip: Duration,
    /// Bits a second in each direction; `None` is no limit.
    pub bits_per_second: Option<f64>,
}

/// Bytes of TCP payload carried, HTTP headers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// From client to server.
    pub up: u64,
    /// From server to client.
    pub down: u64,
    /// Connections opened.
    pub connections: u64,
}

/// A running link. Dropping it breaks its connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    wires: Arc<Wires>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Wires {
    upstream: SocketAddr,
    config: LinkConfig,
    up: Lane,
    down: Lane,
    connections: AtomicU64,
    closed: AtomicBool,
    /// Both ends of every connection, to break them.
    ends: Mutex<Vec<TcpStream>>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// When the last byte will have left.
    free: Mutex<Option<Instant>>,
    carried: AtomicU64,
}

/// Bytes under way, and when they arrive.
type Packet = (Instant, Vec<u8>);

impl Link {
    /// Listens on loopback and carries every connection to `upstream`.
    ///
    /// # Errors
    /// No port to listen on.
    pub fn start(upstream: SocketAddr, config: LinkConfig) -> io::Result<Link> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let wires = Arc::new(Wires {
            upstream,
            config,
            up: Lane::default(),
            down: Lane::default(),
            connections: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            ends: Mutex::default(),
        });
        let shared = Arc::clone(&wires);
        let accepting = thread::Builder::new().name("link".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                // A failure closes the client's connection.
                drop(client.and_then(|client| shared.carry(client)));
            }
        })?;
        Ok(Link { address, wires, accepting: Some(accepting) })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes carried so far, those still under way included.
    #[must_use]
    pub fn carried(&self) -> Carried {
        Carried {
            up: self.wires.up.carried.load(Ordering::Relaxed),
            down: self.wires.down.carried.load(Ordering::Relaxed),
            connections: self.wires.connections.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.wires.closed.store(true, Ordering::SeqCst);
        // One more connection wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        for end in self.wires.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be closed already.
            drop(end.shutdown(Shutdown::Both));
        }
    }
}

impl Wires {
    /// Connects a client to the server. Each direction has a thread that reads and a thread
    /// that delivers what was read when it is due.
    fn carry(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        // The client's first byte leaves after the handshake.
        let open = Instant::now() + self.config.round_trip;
        let server = TcpStream::connect(self.upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ends = [client.try_clone()?, server.try_clone()?];
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
        self.connections.fetch_add(1, Ordering::Relaxed);
        let pairs = [(client.try_clone()?, server.try_clone()?, true), (server, client, false)];
        for (from, to, up) in pairs {
            let (sender, packets) = channel();
            let wires = Arc::clone(self);
            let read = move || wires.read(from, up.then_some(open), up, &sender);
            thread::Builder::new().spawn(read)?;
            thread::Builder::new().spawn(move || deliver(&packets, to))?;
        }
        Ok(())
    }

    fn read(&self, mut from: TcpStream, open: Option<Instant>, up: bool, to: &Sender<Packet>) {
        let lane = if up { &self.up } else { &self.down };
        let delay = self.config.round_trip / 2;
        let mut buffer = [0; PACKET];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let now = Instant::now();
            let ready = open.map_or(now, |open| now.max(open));
            let left = lane.leaves(ready, read, self.config.bits_per_second);
            // An empty packet marks the end of the stream, which is delayed as well.
            if to.send((left + delay, buffer[..read].to_vec())).is_err() || read == 0 {
                return;
            }
        }
    }
}

impl Lane {
    /// When the last of some bytes has left, if they are ready at `ready`.
    fn leaves(&self, ready: Instant, bytes: usize, bits_per_second: Option<f64>) -> Instant {
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        let Some(rate) = bits_per_second else { return ready };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = free.map_or(ready, |free| free.max(ready));
        let left = begins + Duration::from_secs_f64(8.0 * bytes as f64 / rate);
        *free = Some(left);
        left
    }
}

fn deliver(packets: &Receiver<Packet>, mut to: TcpStream) {
    while let Ok((due, bytes)) = packets.recv() {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other end may have closed first.
    drop(to.shutdown(Shutdown::Write));
}
