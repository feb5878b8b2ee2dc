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
use crate::net::arrival::Arrived;
use crate::net::front::guarded;
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
    guarded(keyed, Router::new(), key, model.batcher.liveness.clone())
}

async fn models(State(model): State<Arc<ServedModel>>) -> Json<Value> {
    Json(reply::models(&model.listed()))
}

async fn completions(
    State(model): State<Arc<ServedModel>>,
    request: Request,
) -> Result<Response, Refusal> {
    let arrived = Arrived::receive(request, BODY_LIMIT, &model.memory).await?;
    let bytes = arrived.bytes.len();
    let (reading, reads) = (model.reading.clone(), Arc::clone(&model));
    let read = move || {
        let mut parsed = reads.memory.reserve(parsed_bytes(&arrived.bytes))?;
        let request = CompletionRequest::read(&arrived.bytes, &reads)?;
        let ids = request.prompts.iter().map(|prompt| size_of_val(prompt.as_slice())).sum();
        Ok((request, parsed.part(ids)))
    };
    let (request, ids) = reading.run(bytes, read).await?;
    let running = RunningCompletion::begin(model, request)?;
    // The memory of the reply counts the prompts.
    drop(ids);
    match running.request.stream {
        true => Ok(streamed(chunks(running))),
        false => whole(running).await,
    }
}
