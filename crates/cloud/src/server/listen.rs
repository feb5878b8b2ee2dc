//! A service on a socket, from bind to graceful end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ApiKey;
use crate::server::Service;

/// How long requests under way may take after the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

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
        Self::open(address, service.key(), service.router())
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
    ) -> Result<Self, ServerError> {
        check_bind(address, key)?;
        let io = |source| ServerError::Io { address, source };
        let listener = TcpListener::bind(address).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(io)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let result = runtime.block_on(serve(listener, router, stopped));
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

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    use axum::serve::ListenerExt;
    let listener = tokio::net::TcpListener::from_std(listener)?
        // Replies are small and wanted at once.
        .tap_io(|stream| drop(stream.set_nodelay(true)));
    let (draining, drained) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        // An error means that the sender is gone, which is the signal.
        drop(stopped.await);
        drop(draining);
    });
    tokio::select! {
        result = async { server.await } => result,
        () = async { drop(drained.await); tokio::time::sleep(GRACE).await } => Ok(()),
    }
}
