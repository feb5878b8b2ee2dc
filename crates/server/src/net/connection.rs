//! One connection, HTTP/1 or HTTP/2, within its limits.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::net::activity::{Activity, Busy};
use crate::net::arrival::{BodyMemory, Cut, LimitedBody};
use crate::net::limits::ConnectionLimits;
use crate::net::memory::{ReplyMemory, Room};
use crate::net::reading::{Reader, Streams, WatchedBody};
use crate::net::refusal::Refusal;
use crate::net::shutdown::{Phase, reached};

/// Content type of server-sent events, without parameters.
const EVENTS: &[u8] = b"text/event-stream";

/// Most bytes that are read from an HTTP/1 connection before a request takes them; its head
/// must fit.
const READ_BUFFER: usize = 64 << 10;

/// The same of an HTTP/2 connection, and of each of its streams.
const CONNECTION_WINDOW: u32 = 256 << 10;
const STREAM_WINDOW: u32 = 64 << 10;

/// Time for the end of a reply to leave.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers the requests of one connection until the client, a limit or shutdown ends it.
pub(super) async fn answer(
    socket: TcpStream,
    router: Router,
    limits: ConnectionLimits,
    bodies: Room,
    phases: watch::Receiver<Phase>,
) {
    // Without this option small replies wait for more data; they still arrive.
    drop(socket.set_nodelay(true));
    let (activity, reader) = (Activity::new(), Arc::<Reader>::default());
    let (begun, read) = (Arc::clone(&activity), Arc::clone(&reader));
    let closing = phases.clone();
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let (busy, read, cut) = (Busy::new(&begun), Arc::clone(&read), Cut::default());
        let memory = BodyMemory::new(bodies.nothing());
        let limited = |body| LimitedBody::new(body, limits.body, memory.clone(), cut.clone());
        let mut request = request.map(limited);
        request.extensions_mut().insert(memory);
        let (reply, closing) = (routes.call(request), closing.clone());
        async move {
            let mut reply = tokio::select! {
                reply = reply => reply?,
                () = reached(Phase::Closed, closing.clone()) => {
                    Refusal::ShuttingDown.into_response()
                }
            };
            if let Some(refusal) = cut.take() {
                reply = refusal.into_response();
            }
            let memory = reply.extensions_mut().remove::<ReplyMemory>();
            let kind = reply.headers().get(header::CONTENT_TYPE);
            let is_events = kind.is_some_and(|kind| kind.as_bytes().starts_with(EVENTS));
            let grace = is_events.then(|| Box::pin(reached(Phase::Closed, closing)) as _);
            let watched = |body| WatchedBody::new(body, Reader::here(&read), (busy, memory), grace);
            Ok::<_, Infallible>(reply.map(watched))
        }
    });
    let mut http = auto::Builder::new(Streams(limits.stalled));
    let mut first = http.http1();
    first.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(READ_BUFFER);
    let mut second = http.http2();
    second.timer(TokioTimer::new()).keep_alive_interval(limits.head);
    second.initial_connection_window_size(CONNECTION_WINDOW);
    second.initial_stream_window_size(STREAM_WINDOW);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    // An error that ends a connection early concerns its client alone.
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        () = reader.stalled(limits.stalled) => return,
        () = activity.unused(limits.first.min(limits.head), limits.head) => {}
        () = reached(Phase::Draining, phases) => {
            connection.as_mut().graceful_shutdown();
            // Half a head, or a client that ignores the GOAWAY, must not delay shutdown.
            tokio::select! {
                ended = connection => drop(ended),
                () = activity.idle(PAUSE) => {}
            }
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    // A request may have arrived at the last moment.
    let over = async {
        tokio::time::sleep(PAUSE).await;
        activity.idle(PAUSE).await;
    };
    tokio::select! {
        ended = connection => drop(ended),
        () = reader.stalled(limits.stalled) => {}
        () = over => {}
    }
}
