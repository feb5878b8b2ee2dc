//! A service on a socket, from bind to graceful end.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::ApiKey;
use crate::server::bounds::{Busy, Pulse, Read, Reader, Streams, Timed};
use crate::server::{Refusal, Service};

/// What the kind of a reply in server-sent events begins with.
const EVENTS: &[u8] = b"text/event-stream";

/// How long to wait for what the system lacks.
const PAUSE: Duration = Duration::from_secs(1);

/// What connections are held to, so that clients that send or read nothing, or a byte
/// now and then, take neither memory nor places without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Most of them at once; others wait to be accepted.
    pub most: usize,
    /// Longest time for the head of a request to arrive, idle time before it included:
    /// a connection on which no request is under way ends, whatever else it says.
    pub head: Duration,
    /// Longest time for the body of a request to arrive; then it is refused with 408.
    pub body: Duration,
    /// Longest time that a piece of a reply waits for its reader to take it. Then the
    /// connection ends or, over HTTP/2, that stream of it.
    pub stalled: Duration,
    /// How long requests under way may take after the server was told to stop. Then
    /// streams end with an error event, and what has not begun to answer is refused.
    pub grace: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        // Our own client keeps an idle connection for a minute; it should be the one to close it.
        Connections {
            most: 512,
            head: Duration::from_secs(65),
            body: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Others could reach it, and it has no key.
    #[error(
        "{address} can be reached from other machines and there is no API key; set one, or bind to 127.0.0.1"
    )]
    NoKey {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The socket or its threads cannot be had.
    #[error("cannot serve on {address}: {source}")]
    Io {
        /// The address to bind.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
}

/// Refuses an address that other machines can reach without a key.
///
/// # Errors
/// [`ServerError::NoKey`].
pub fn check_bind(address: SocketAddr, key: Option<&ApiKey>) -> Result<(), ServerError> {
    if address.ip().is_loopback() || key.is_some() {
        Ok(())
    } else {
        Err(ServerError::NoKey { address })
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Binds and serves on threads of its own. Plain HTTP: over open networks,
    /// put it behind a tunnel or a proxy that speaks TLS.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a port that cannot be bound.
    pub fn start(address: SocketAddr, service: &Service) -> Result<Self, ServerError> {
        Self::open(address, service.key(), service.router(), Connections::default())
    }

    /// Serves the routes of another service in the same way. That they ask for
    /// the key is their own business.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn open(
        address: SocketAddr,
        key: Option<&ApiKey>,
        router: axum::Router,
        limits: Connections,
    ) -> Result<Self, ServerError> {
        check_bind(address, key)?;
        let io = |source| ServerError::Io { address, source };
        let listener = TcpListener::bind(address).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(io)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let result = runtime.block_on(serve(listener, router, limits, stopped));
            runtime.shutdown_background();
            result
        });
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, ends what is under way, and returns.
    ///
    /// # Errors
    /// What broke the server earlier.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end().map_err(|source| ServerError::Io { address: self.address, source })
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("its thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// Accepts connections until told to stop, then lets those under way end.
async fn serve(
    listener: TcpListener,
    router: axum::Router,
    limits: Connections,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let most = limits.most.clamp(1, 1 << 20);
    let places = Arc::new(Semaphore::new(most));
    let (phase, phases) = watch::channel(Phase::Open);
    loop {
        // Whoever finds no place waits in the system's queue.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?.0))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            // An error means that the sender is gone, which is the signal.
            _ = &mut stopped => break,
        };
        match accepted {
            Ok((place, socket)) => {
                let (router, phases) = (router.clone(), phases.clone());
                tokio::spawn(async move {
                    talk(socket, router, limits, phases).await;
                    drop(place);
                });
            }
            Err(error) if gone(&error) => {}
            // Out of file handles, most likely: some will come back.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    for (next, time) in [(Phase::Ending, limits.grace), (Phase::Over, PAUSE)] {
        phase.send_replace(next);
        // Time being up is no fault of the server's.
        if tokio::time::timeout(time, places.acquire_many(most as u32)).await.is_ok() {
            break;
        }
    }
    Ok(())
}

/// How near a server's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Requests may come.
    Open,
    /// Those under way go on.
    Ending,
    /// Nothing goes on.
    Over,
}

/// Returns once the server's end is so near.
async fn reached(phase: Phase, mut phases: watch::Receiver<Phase>) {
    // An error means that the server is gone.
    drop(phases.wait_for(|&now| now >= phase).await);
}

/// Whether an error is of one connection that was given up before it was accepted.
fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers the requests of one connection, HTTP/1 or HTTP/2.
async fn talk(
    socket: TcpStream,
    router: axum::Router,
    limits: Connections,
    phases: watch::Receiver<Phase>,
) {
    // Replies are small and wanted at once; without that they are merely slower.
    drop(socket.set_nodelay(true));
    let (pulse, reader) = (Pulse::new(), Arc::<Reader>::default());
    let (begun, read) = (Arc::clone(&pulse), Arc::clone(&reader));
    let ending = phases.clone();
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let (busy, read, late) = (Busy::new(&begun), Arc::clone(&read), Arc::default());
        let request = request.map(|body| Timed::new(body, limits.body, Arc::clone(&late)));
        let (reply, ending) = (routes.call(request), ending.clone());
        async move {
            let mut reply = tokio::select! {
                reply = reply => reply?,
                () = reached(Phase::Over, ending.clone()) => Refusal::Over.into_response(),
            };
            if late.load(Ordering::Relaxed) {
                let time = limits.body;
                reply = Refusal::Slow(format!("the request took more than {time:?} to arrive"))
                    .into_response();
            }
            let events = reply.headers().get(header::CONTENT_TYPE);
            let events = events.is_some_and(|kind| kind.as_bytes().starts_with(EVENTS));
            let over = events.then(|| Box::pin(reached(Phase::Over, ending)) as _);
            Ok::<_, Infallible>(reply.map(|body| Read::new(body, Reader::here(&read), busy, over)))
        }
    });
    let mut http = auto::Builder::new(Streams(limits.stalled));
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(limits.head);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // What ends a connection early is the client's to know.
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        () = reader.stalled(limits.stalled) => return,
        () = pulse.idle(limits.head) => {}
        () = reached(Phase::Ending, phases) => {
            connection.as_mut().graceful_shutdown();
            // Half a head, or a client that says nothing to our goodbye, holds nobody up;
            // the end of a reply has time to leave.
            tokio::select! {
                ended = connection => drop(ended),
                () = pulse.idle(PAUSE) => {}
            }
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    // A request may have come at the last moment.
    let over = async {
        tokio::time::sleep(PAUSE).await;
        pulse.idle(PAUSE).await;
    };
    tokio::select! {
        ended = connection => drop(ended),
        () = reader.stalled(limits.stalled) => {}
        () = over => {}
    }
}
