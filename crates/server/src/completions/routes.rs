//! The endpoints: `/v1/completions`, `/v1/models`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokenroute_llm::ApiKey;

use crate::completions::model::ServedModel;
use crate::completions::request::CompletionRequest;
use crate::completions::running::{RunningCompletion, chunks, whole};
use crate::net::front::{body, guarded};
use crate::net::openai::events::streamed;
use crate::net::openai::fields::parsed_bytes;
use crate::net::openai::reply;
use crate::net::refusal::Refusal;

/// Most bytes of a request.
pub(crate) const BODY_LIMIT: usize = 8 << 20;

pub(crate) fn router(model: &Arc<ServedModel>, key: Option<ApiKey>) -> Router {
    let keyed = Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .with_state(Arc::clone(model));
    guarded(keyed, Router::new(), key, BODY_LIMIT, model.batcher.liveness.clone())
}

async fn models(State(model): State<Arc<ServedModel>>) -> Json<Value> {
    Json(reply::models(&model.listed()))
}

async fn completions(
    State(model): State<Arc<ServedModel>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (body, held) = body(request, BODY_LIMIT).await?;
    let bytes = body.len();
    let (reading, reads) = (model.reading.clone(), Arc::clone(&model));
    let read = move || {
        let _held = (held, reads.memory.reserve(parsed_bytes(&body))?);
        CompletionRequest::read(&body, &reads)
    };
    let request = reading.run(bytes, read).await?;
    let running = RunningCompletion::begin(model, request)?;
    match running.request.stream {
        true => Ok(streamed(chunks(running))),
        false => whole(running).await,
    }
}
