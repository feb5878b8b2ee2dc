//! The endpoints: the two APIs, the list of models, metrics, and the page.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokenroute_llm::ApiKey;

use crate::net::arrival::Arrived;
use crate::net::front::guarded;
use crate::net::openai::fields::parsed_bytes;
use crate::net::openai::reply::models as list;
use crate::net::page::page;
use crate::net::refusal::Refusal;
use crate::routed::answers::Answers;
use crate::routed::metrics::Outcome;
use crate::routed::reply::reply;
use crate::routed::request::{AnswerKind, RoutedRequest};
use crate::routed::response::response;
use crate::routed::shared::Shared;

const PAGE: &str = include_str!("page.html");

pub(crate) fn router(shared: &Arc<Shared>, key: Option<ApiKey>) -> Router {
    let chat = async |state, request| answer(state, AnswerKind::Chat, request).await;
    let text = async |state, request| answer(state, AnswerKind::Text, request).await;
    let response = async |state, request| answer(state, AnswerKind::Response, request).await;
    let keyed = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/responses", post(response))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shared));
    let open = Router::new().route("/", get(async || page(PAGE)));
    guarded(keyed, open, key, shared.worker.liveness.clone())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shared.metrics_text()).into_response()
}

async fn models(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(list(&shared.pair.listed()))
}

async fn model(
    State(shared): State<Arc<Shared>>,
    Path(wanted): Path<String>,
) -> Result<Json<Value>, Refusal> {
    if wanted == shared.pair.name {
        return Ok(Json(shared.pair.listed()));
    }
    Err(Refusal::NoModel { wanted, served: shared.pair.name.clone() })
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    kind: AnswerKind,
    request: Request,
) -> Result<Response, Refusal> {
    let start = Instant::now();
    match begin(&shared, kind, request, start).await {
        Ok(answers) => match kind {
            AnswerKind::Chat | AnswerKind::Text => reply(answers).await,
            AnswerKind::Response => response(answers).await,
        },
        Err(refusal) => {
            let busy = matches!(refusal, Refusal::Busy | Refusal::NoMemory { .. });
            shared.metrics.outcome(if busy { Outcome::Busy } else { Outcome::Refused });
            Err(refusal)
        }
    }
}

/// Reads a request and hands its prompt to the decoding thread, once for each answer.
async fn begin(
    shared: &Arc<Shared>,
    kind: AnswerKind,
    request: Request,
    start: Instant,
) -> Result<Answers, Refusal> {
    let pair = &shared.pair;
    let arrived = Arrived::receive(request, pair.body, &shared.memory).await?;
    let bytes = arrived.bytes.len();
    // The slot comes first: tokenising a long prompt is work too.
    let slot = shared.worker.slot().ok_or(Refusal::Busy)?;
    let reads = Arc::clone(shared);
    let read = move || {
        let mut parsed = reads.memory.reserve(parsed_bytes(&arrived.bytes))?;
        let request = RoutedRequest::read(kind, &arrived.bytes, &reads.pair, &reads.memory)?;
        let prompt = parsed.part(size_of_val(request.prompt.as_slice()));
        Ok((request, prompt))
    };
    let (request, prompt) = shared.reading.run(bytes, read).await?;
    let (n, slots) = (request.answers, shared.worker.slots());
    if n > slots {
        let message = format!("`n` is {n}; this server makes at most {slots} answers at a time");
        return Err(Refusal::field("n", message));
    }
    let more = (1..request.answers).map(|_| shared.worker.slot().ok_or(Refusal::Busy));
    let mut slots = vec![slot];
    slots.extend(more.collect::<Result<Vec<_>, _>>()?);
    // All answers have their memory before the first one begins.
    let memory = shared.memory.reserve(request.reply_bytes(pair))?;
    let session = request.session_bytes(pair);
    let mut sessions = shared.memory.reserve(session.saturating_mul(request.answers))?;
    // The memory of the reply counts the prompt.
    drop(prompt);
    let mut tickets = Vec::with_capacity(slots.len());
    for (slot, number) in slots.iter().zip(0..) {
        let memory = sessions.part(session);
        tickets.push(shared.worker.submit(slot, memory, &request, number)?);
    }
    Ok(Answers::new(shared, request, tickets, memory, start))
}
