//! The endpoints, and what every request passes before it reaches them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokenroute_llm::server::{check_key, check_origin};
use tokenroute_runtime::Wait;

use crate::metrics::{Now, Outcome};
use crate::page::page;
use crate::refusal::Refusal;
use crate::reply::{shortest, streamed, whole};
use crate::request::{Kind, Plan};
use crate::running::Running;
use crate::service::Inner;

/// Longest time for a request to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Bytes of a request that are read in less time than it takes to hand the other
/// requests to another thread.
const SMALL: usize = 8 << 10;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    let chat = async |state, request| answered(state, Kind::Chat, request).await;
    let text = async |state, request| answered(state, Kind::Text, request).await;
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/metrics", get(metrics))
        .route_layer(from_fn_with_state(Arc::clone(&inner), keyed))
        .route("/", get(async || page()))
        .route("/health", get(async || "ok"))
        .fallback(async |request: Request| {
            Refusal::NoPlace(format!("nothing is at {}; see /v1/models", request.uri().path()))
        })
        .layer(DefaultBodyLimit::max(inner.facts.body))
        .layer(from_fn_with_state(Arc::clone(&inner), own))
        .layer(from_fn(sealed))
        .with_state(inner)
}

async fn keyed(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    match check_key(inner.key.as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => Refusal::Denied(denied).into_response(),
    }
}

/// A page from elsewhere does not know the key, so the check is for servers without one.
async fn own(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    if inner.key.is_none()
        && let Err(denied) = check_origin(request.headers(), request.uri().authority())
    {
        return Refusal::Denied(denied).into_response();
    }
    next.run(request).await
}

/// Headers of every reply.
async fn sealed(request: Request, next: Next) -> Response {
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

async fn metrics(State(inner): State<Arc<Inner>>) -> Response {
    let now = Now {
        under_way: inner.worker.under_way(),
        places: inner.worker.places(),
        traffic: inner.traffic.as_ref().map(|traffic| traffic()),
    };
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, inner.metrics.text(now)).into_response()
}

fn card(inner: &Inner) -> Value {
    let facts = &inner.facts;
    json!({
        "id": facts.name, "object": "model", "created": 0, "owned_by": "tokenroute",
        "max_model_len": facts.context,
        "tokenroute": {
            "routed": facts.routed, "tau": shortest(facts.policy.tau.get()),
            "max_offload": facts.policy.budget.share(), "wait": wait(facts.policy.wait),
            "chat": facts.template.is_some(),
            "max_prompt_tokens": facts.most_prompt, "max_tokens": facts.most_tokens,
        },
    })
}

/// What answers do while the large model is waited for. A relay's tokens are not those
/// of the other two, so clients must be able to see it.
fn wait(wait: Wait) -> Value {
    match wait {
        Wait::Block => json!({"policy": "block"}),
        Wait::Speculate { branches, max_ahead } => {
            json!({"policy": "speculate", "branches": branches, "max_ahead": max_ahead})
        }
        Wait::Relay { tokens } => json!({"policy": "relay", "tokens": tokens}),
    }
}

async fn models(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(json!({"object": "list", "data": [card(&inner)]}))
}

async fn model(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Response {
    if name == inner.facts.name {
        return Json(card(&inner)).into_response();
    }
    let own = &inner.facts.name;
    Refusal::NoModel(format!("no model {name:?} here; this one is {own:?}")).into_response()
}

async fn answered(State(inner): State<Arc<Inner>>, kind: Kind, request: Request) -> Response {
    let start = Instant::now();
    let reply = match begin(&inner, kind, request, start).await {
        Ok(running) if running.plan.stream => Ok(streamed(running)),
        Ok(running) => whole(running).await,
        Err(refusal) => {
            let busy = refusal == Refusal::Busy;
            inner.metrics.outcome(if busy { Outcome::Busy } else { Outcome::Refused });
            Err(refusal)
        }
    };
    reply.unwrap_or_else(Refusal::into_response)
}

/// Reads a request and hands its prompt to the decoding thread.
async fn begin(
    inner: &Arc<Inner>,
    kind: Kind,
    request: Request,
    start: Instant,
) -> Result<Running, Refusal> {
    let body = tokio::time::timeout(ARRIVAL, Bytes::from_request(request, &()));
    let body =
        body.await.map_err(|_| Refusal::Slow)?.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge { most: inner.facts.body },
            _ => Refusal::Bad { field: None, message: rejection.body_text() },
        })?;
    // A place first: reading a long prompt is work too.
    let place = inner.worker.place().ok_or(Refusal::Busy)?;
    let read = || Plan::read(kind, &body, &inner.facts);
    let plan = if body.len() > SMALL { tokio::task::block_in_place(read)? } else { read()? };
    let ticket = inner.worker.submit(place, &plan)?;
    let number = inner.requests.fetch_add(1, Ordering::Relaxed);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let kind = match kind {
        Kind::Chat => "chatcmpl",
        Kind::Text => "cmpl",
    };
    let id = format!("{kind}-{created}-{number}");
    Ok(Running::new(Arc::clone(inner), plan, ticket, id, created, start))
}
