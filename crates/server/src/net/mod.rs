//! The HTTP layer of both servers: sockets, connection limits, guards, refusals, and the
//! shapes of OpenAI's API.
//!
//! - [`Server`]: a service on a socket, from bind to shutdown.
//! - [`ConnectionLimits`]: how long a connection may send, read or do nothing.
//! - [`MemoryLimit`]: how many bytes weights, KV caches and requests may take together.
//! - [`check_bind`]: an address beyond loopback needs a key.
//!
//! One request passes `connection` (its time limits), `front` (key, origin, size) and then
//! reaches an endpoint of `completions` or `routed`. A request that is not answered gets a
//! `refusal`.

mod activity;
pub(crate) mod arrival;
mod connection;
pub(crate) mod front;
mod guard;
mod limits;
pub(crate) mod liveness;
pub(crate) mod long_work;
pub(crate) mod memory;
pub(crate) mod openai;
pub(crate) mod page;
mod peers;
mod reading;
pub(crate) mod refusal;
mod server;
mod shutdown;

pub use limits::ConnectionLimits;
pub use memory::{MemoryLimit, ONE_REQUEST};
pub use server::{Server, ServerError, check_bind};
