//! Refusals, as OpenAI's API words them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::server::Denied;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request cannot be understood or done.
    Bad(String),
    /// Who asks may not.
    Denied(Denied),
    /// Another model is wanted.
    NoModel(String),
    /// Too much is waiting already.
    Busy,
    /// The request took too long to arrive.
    Slow(String),
    /// The model failed.
    Failed(String),
    /// The server is stopping and waits no longer.
    Over,
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str, String) {
        let bad = "invalid_request_error";
        match self {
            Refusal::Bad(message) => (StatusCode::BAD_REQUEST, bad, message.clone()),
            Refusal::Denied(denied @ Denied::NoKey) => {
                (StatusCode::UNAUTHORIZED, "authentication_error", denied.to_string())
            }
            Refusal::Denied(denied @ (Denied::Host { .. } | Denied::Origin)) => {
                (StatusCode::FORBIDDEN, "permission_error", denied.to_string())
            }
            Refusal::NoModel(message) => (StatusCode::NOT_FOUND, bad, message.clone()),
            Refusal::Busy => {
                let message = "too many requests are waiting; try again".to_owned();
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
            }
            Refusal::Slow(message) => (StatusCode::REQUEST_TIMEOUT, bad, message.clone()),
            Refusal::Failed(message) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", message.clone())
            }
            Refusal::Over => {
                let message = "the server is stopping; ask again once it is back".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "server_error", message)
            }
        }
    }

    /// The refusal in OpenAI's words.
    pub(crate) fn json(&self) -> Value {
        let (status, kind, message) = self.parts();
        let code = status.as_u16();
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, ..) = self.parts();
        let mut response = (status, Json(self.json())).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
