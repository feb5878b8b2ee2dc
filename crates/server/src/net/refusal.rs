//! Refusals, in the shape of OpenAI's errors.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::net::guard::Denied;
use crate::net::memory::Limited;

/// Seconds until a client that found the server busy should retry.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request cannot be read or met; the field at fault, if it is one.
    Invalid { field: Option<&'static str>, message: String },
    /// The prompt, or the prompt with its answer, exceeds the context.
    TooLong { field: &'static str, message: String },
    /// A check of the guard failed.
    Denied(Denied),
    /// The request names a model that is not served.
    NoModel { wanted: String, served: String },
    /// The path has no endpoint.
    NotFound { path: String },
    /// The body has more bytes than the limit.
    TooLarge { most: usize },
    /// The body took too long to arrive.
    Slow { limit: Duration },
    /// Too many requests are waiting.
    Busy,
    /// A limit of memory leaves fewer bytes `free`, of `most`, than are wanted.
    NoMemory { limited: Limited, wanted: usize, most: usize, free: usize },
    /// The answer took too long to make.
    Late { limit: Duration },
    /// The model failed.
    Failed(String),
    /// The thread that makes the answers has ended.
    WorkerEnded,
    /// Shutdown cut the request off.
    ShuttingDown,
}

impl Refusal {
    /// A field with a value that is not allowed.
    pub(crate) fn field(field: &'static str, message: String) -> Refusal {
        Refusal::Invalid { field: Some(field), message }
    }

    /// A body that cannot be read.
    pub(crate) fn body(message: String) -> Refusal {
        Refusal::Invalid { field: None, message }
    }

    /// HTTP status, and OpenAI's type of error.
    fn kind(&self) -> (StatusCode, &'static str) {
        let invalid = "invalid_request_error";
        match self {
            Refusal::Invalid { .. } | Refusal::TooLong { .. } => (StatusCode::BAD_REQUEST, invalid),
            Refusal::Denied(Denied::NoKey) => (StatusCode::UNAUTHORIZED, "authentication_error"),
            Refusal::Denied(Denied::Host { .. } | Denied::Origin) => {
                (StatusCode::FORBIDDEN, "permission_error")
            }
            Refusal::NoModel { .. } | Refusal::NotFound { .. } => (StatusCode::NOT_FOUND, invalid),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, invalid),
            Refusal::Slow { .. } => (StatusCode::REQUEST_TIMEOUT, invalid),
            Refusal::Busy => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
            Refusal::Late { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout_error"),
            Refusal::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            Refusal::NoMemory { .. } | Refusal::WorkerEnded | Refusal::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "server_error")
            }
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::Invalid { message, .. }
            | Refusal::TooLong { message, .. }
            | Refusal::Failed(message) => message.clone(),
            Refusal::Denied(denied) => denied.to_string(),
            Refusal::NoModel { wanted, served } => {
                format!("no model {wanted:?} here; this server has {served:?}")
            }
            Refusal::NotFound { path } => format!("nothing is at {path}; see /v1/models"),
            Refusal::TooLarge { most } => {
                format!("the request exceeds {most} bytes; shorten it")
            }
            Refusal::Slow { limit } => {
                let seconds = limit.as_secs_f64();
                format!("the request took more than {seconds} s to arrive; send it in one go")
            }
            Refusal::Busy => "too many requests are waiting; try again".to_owned(),
            Refusal::NoMemory { limited, wanted, most, free } => {
                no_memory(*limited, *wanted, *most, *free)
            }
            Refusal::Late { limit } => {
                let seconds = limit.as_secs_f64();
                format!(
                    "the answer took longer than {seconds} s; ask for fewer tokens, or raise the server's --time"
                )
            }
            Refusal::WorkerEnded => {
                "the thread that makes the answers has ended; restart the server".to_owned()
            }
            Refusal::ShuttingDown => {
                "the server is shutting down; retry once it is back".to_owned()
            }
        }
    }

    /// The request's field at fault, and OpenAI's code of the error.
    fn param_and_code(&self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Refusal::Invalid { field, .. } => (*field, None),
            Refusal::TooLong { field, .. } => (Some(*field), Some("context_length_exceeded")),
            Refusal::NoModel { .. } => (Some("model"), Some("model_not_found")),
            Refusal::Denied(Denied::NoKey) => (None, Some("invalid_api_key")),
            _ => (None, None),
        }
    }

    /// The refusal as OpenAI's error object.
    pub(crate) fn json(&self) -> Value {
        let (_, kind) = self.kind();
        let (param, code) = self.param_and_code();
        let message = self.message();
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    }
}

/// Why a request gets no memory, by its limit.
fn no_memory(limited: Limited, wanted: usize, most: usize, free: usize) -> String {
    match limited {
        Limited::Connection => format!(
            "requests of this connection that are not read yet may have {most} bytes together; send fewer at once"
        ),
        Limited::Bodies => {
            format!("requests that are not read yet may have {most} bytes together; try again")
        }
        Limited::Process { total } if wanted > most => format!(
            "the request takes up to {wanted} bytes of memory; --memory {total} leaves {most} for requests, so ask for fewer prompts or tokens"
        ),
        Limited::Process { total } => format!(
            "the request takes up to {wanted} bytes of memory; of --memory {total}, {free} are free now, so try again, or ask for fewer prompts or tokens"
        ),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, _) = self.kind();
        let passes = matches!(self, Refusal::Busy | Refusal::NoMemory { .. });
        let mut response = (status, Json(self.json())).into_response();
        let headers = response.headers_mut();
        if passes {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
