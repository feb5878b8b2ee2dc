//! A service on a socket, from bind to shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokenroute_llm::ApiKey;
use tokenroute_runtime::PolicyError;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::net::connection::answer;
use crate::net::limits::ConnectionLimits;
use crate::net::liveness::Liveness;
use crate::net::memory::Room;
use crate::net::peers::Peers;
use crate::net::shutdown::Phase;

/// Pause before the next attempt to accept, and the time that cut-off requests have to end.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for the threads that serve connections to start.
const START: Duration = Duration::from_secs(5);

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Other machines can reach the address, and there is no key.
    #[error(
        "{address} can be reached from other machines and there is no API key; set one, or bind to 127.0.0.1"
    )]
    NoKey {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The limit of memory leaves too little for requests.
    #[error(
        "--memory {total} is too small: the models take {loaded} bytes, and a request of {positions} tokens needs {needed} more; raise it to {least} or more"
    )]
    NoMemory {
        /// The limit.
        total: usize,
        /// Bytes of the loaded models.
        loaded: usize,
        /// Tokens of a request.
        positions: usize,
        /// Bytes that it needs, with buffers of the models' steps.
        needed: usize,
        /// The least limit.
        least: usize,
    },
    /// A policy whose parts do not go together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The socket or its threads failed.
    #[error("cannot serve on {address}: {source}")]
    Io {
        /// The address to bind.
        address: SocketAddr,
        /// The system's error.
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
    worker: Liveness,
}

impl Server {
    /// Binds and serves these routes on threads of its own. The routes check the key
    /// themselves.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a port that cannot be bound.
    pub(crate) fn open(
        address: SocketAddr,
        key: Option<&ApiKey>,
        router: Router,
        limits: ConnectionLimits,
        worker: Liveness,
        bodies: Room,
    ) -> Result<Self, ServerError> {
        check_bind(address, key)?;
        let io = |source| ServerError::Io { address, source };
        let listener = TcpListener::bind(address).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (begin, begun) = mpsc::sync_channel(1);
        let run = move || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let built = builder.worker_threads(2).thread_name("serve").enable_all().build();
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => {
                    drop(begin.send(Err(error)));
                    return Ok(());
                }
            };
            drop(begin.send(Ok(())));
            let result = runtime.block_on(serve(listener, router, limits, bodies, stopped));
            runtime.shutdown_background();
            result
        };
        let thread = thread::Builder::new().name("accept".to_owned()).spawn(run).map_err(io)?;
        // If the system refuses one of tokio's threads, tokio panics, and then waits for the
        // others for ever.
        let none = |_| Err(io::Error::other("its threads did not start"));
        begun.recv_timeout(START).unwrap_or_else(none).map_err(io)?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread), worker })
    }

    /// The address it listens on, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the server still listens and the thread that makes the answers still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.worker.is_alive() && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Shuts down: accepts no more connections, lets requests under way end, and returns.
    ///
    /// # Errors
    /// An error that broke the server earlier.
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

/// Accepts connections until the stop signal, then drains the open ones.
async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    bodies: Room,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let most = limits.most.clamp(1, 1 << 20);
    let slots = Arc::new(Semaphore::new(most));
    let peers = Peers::new(limits.per_peer);
    let (phase, phases) = watch::channel(Phase::Open);
    loop {
        // Connections beyond the limit wait in the system's queue.
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((slot, listener.accept().await?))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            // An error means that the sender was dropped, which is the signal.
            _ = &mut stopped => break,
        };
        match accepted {
            Ok((slot, (socket, peer))) => {
                let Some(place) = peers.enter(peer.ip()) else { continue };
                let (router, phases) = (router.clone(), phases.clone());
                let bodies = bodies.for_connection();
                tokio::spawn(async move {
                    answer(socket, router, limits, bodies, phases).await;
                    // The next connection takes the slot, and may need the place.
                    drop((place, slot));
                });
            }
            Err(error) if was_given_up(&error) => {}
            // Most likely no file handles are left; some will be freed.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    for (next, time) in [(Phase::Draining, limits.grace), (Phase::Closed, PAUSE)] {
        phase.send_replace(next);
        // A timeout is not an error of the server.
        if tokio::time::timeout(time, slots.acquire_many(most as u32)).await.is_ok() {
            break;
        }
    }
    Ok(())
}

/// Whether the client gave the connection up before it was accepted.
fn was_given_up(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
