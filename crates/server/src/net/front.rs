//! The checks that every request passes before an endpoint, and the headers of every reply.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokenroute_llm::ApiKey;

use crate::net::guard::{check_key, check_origin};
use crate::net::liveness::Liveness;
use crate::net::refusal::Refusal;

type Key = Arc<Option<ApiKey>>;

/// Puts the checks before the endpoints: those of `keyed` need the key, if there is one,
/// those of `open` do not. Adds `/health`, which fails once the worker is not alive.
pub(crate) fn guarded(
    keyed: Router,
    open: Router,
    key: Option<ApiKey>,
    worker: Liveness,
) -> Router {
    let key = Arc::new(key);
    let health = async move || match worker.is_alive() {
        true => "ok".into_response(),
        false => Refusal::WorkerEnded.into_response(),
    };
    keyed
        .route_layer(from_fn_with_state(Arc::clone(&key), require_key))
        .merge(open)
        .route("/health", get(health))
        .fallback(async |request: Request| Refusal::NotFound {
            path: request.uri().path().to_owned(),
        })
        .layer(from_fn_with_state(key, require_own_origin))
        .layer(from_fn(add_headers))
}

async fn require_key(State(key): State<Key>, request: Request, next: Next) -> Response {
    match check_key(key.as_ref().as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => Refusal::Denied(denied).into_response(),
    }
}

/// Checks the origin on servers without a key.
async fn require_own_origin(State(key): State<Key>, request: Request, next: Next) -> Response {
    if key.is_none()
        && let Err(denied) = check_origin(request.headers(), request.uri().authority())
    {
        return Refusal::Denied(denied).into_response();
    }
    next.run(request).await
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
