//! The page that follows a running experiment, for this machine alone. It asks for the state
//! every two seconds.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use crate::net::front::guarded;
use crate::net::liveness::Liveness;
use crate::net::memory::ServiceMemory;
use crate::net::page::page;
use crate::net::{ConnectionLimits, Server, ServerError};

const PAGE: &str = include_str!("page.html");
/// Bytes of a body. None is read.
const BODY: usize = 1024;

/// Gives the state of the run.
pub type State = Arc<dyn Fn() -> Value + Send + Sync>;

/// Serves the page at `/` and the state at `/state`, without a key: the address must be
/// loopback.
///
/// # Errors
/// Another address; a port that cannot be bound.
pub fn start(address: SocketAddr, state: State) -> Result<Server, ServerError> {
    // Reading the state takes files, so it leaves the threads of the sockets.
    let answer = async move || {
        let state = Arc::clone(&state);
        let found = tokio::task::spawn_blocking(move || state()).await;
        Json(found.unwrap_or_default())
    };
    let (keyed, open) = (Router::new(), Router::new());
    let keyed = keyed.route("/state", get(answer));
    let open = open.route("/", get(async || page(PAGE)));
    let worker = Liveness::default();
    let router = guarded(keyed, open, None, worker.clone());
    let memory = ServiceMemory { limit: None, steps: 0, position_bytes: 0, sequence_bytes: 0 };
    let bodies = memory.room(0).for_bodies(BODY);
    Server::open(address, None, router, ConnectionLimits::default(), worker, bodies)
}
