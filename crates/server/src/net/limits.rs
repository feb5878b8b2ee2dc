//! Limits of a connection. A client that sends or reads slowly, or not at all, must not
//! hold memory or a slot for ever.

use std::time::Duration;

/// Limits of connections, and the time for shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at once; others wait to be accepted.
    pub most: usize,
    /// Most connections from one address; further ones are closed.
    pub per_peer: usize,
    /// Longest time until the head of the first request, if it is shorter than `head`.
    pub first: Duration,
    /// Longest time for the head of a request to arrive, idle time before it included.
    /// A connection without a request under way ends after that, pings or not.
    pub head: Duration,
    /// Longest time for the body of a request to arrive. Then the request is refused
    /// with 408.
    pub body: Duration,
    /// Longest time that a piece of a reply waits for its reader. Then the connection
    /// ends; over HTTP/2 only that stream ends.
    pub stalled: Duration,
    /// Time that requests under way have after shutdown began. Then streams end with an
    /// error event, and requests without a reply are refused.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        // Our own client drops an idle connection after a minute; it should be the one to
        // close it.
        ConnectionLimits {
            most: 512,
            per_peer: 256,
            first: Duration::from_secs(10),
            head: Duration::from_secs(65),
            body: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}
