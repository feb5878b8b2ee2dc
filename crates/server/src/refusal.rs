//! Refusals, as OpenAI's API words them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokenroute_llm::server::Denied;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request cannot be understood or done; the field at fault, if it is one.
    Bad { field: Option<&'static str>, message: String },
    /// Who asks may not.
    Denied(Denied),
    /// Another model is wanted.
    NoModel(String),
    /// Nothing is here.
    NoPlace(String),
    /// More bytes than are read.
    TooLarge { most: usize },
    /// The request took too long to arrive.
    Slow,
    /// Too much is waiting already.
    Busy,
    /// The answer took too long to make.
    Late { seconds: u64 },
    /// The model failed.
    Failed(String),
}

impl Refusal {
    /// A field that holds what it may not.
    pub(crate) fn field(field: &'static str, message: String) -> Refusal {
        Refusal::Bad { field: Some(field), message }
    }

    /// Status, type, code and message.
    fn parts(&self) -> (StatusCode, &'static str, Option<&'static str>, String) {
        let bad = "invalid_request_error";
        match self {
            Refusal::Bad { message, .. } => (StatusCode::BAD_REQUEST, bad, None, message.clone()),
            Refusal::Denied(denied @ Denied::NoKey) => {
                let code = Some("invalid_api_key");
                (StatusCode::UNAUTHORIZED, "authentication_error", code, denied.to_string())
            }
            Refusal::Denied(denied @ (Denied::Host { .. } | Denied::Origin)) => {
                (StatusCode::FORBIDDEN, "permission_error", None, denied.to_string())
            }
            Refusal::NoModel(message) => {
                (StatusCode::NOT_FOUND, bad, Some("model_not_found"), message.clone())
            }
            Refusal::NoPlace(message) => (StatusCode::NOT_FOUND, bad, None, message.clone()),
            Refusal::TooLarge { most } => {
                let message = format!("the request exceeds {most} bytes; shorten it");
                (StatusCode::PAYLOAD_TOO_LARGE, bad, None, message)
            }
            Refusal::Slow => {
                let message = "the request did not arrive in time; send it at once";
                (StatusCode::REQUEST_TIMEOUT, bad, None, message.to_owned())
            }
            Refusal::Busy => {
                let message = "too many requests are waiting; try again";
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", None, message.to_owned())
            }
            Refusal::Late { seconds } => {
                let message = format!(
                    "the answer took longer than {seconds} s; ask for fewer tokens, or raise the server's --time"
                );
                (StatusCode::GATEWAY_TIMEOUT, "timeout_error", None, message)
            }
            Refusal::Failed(message) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message.clone())
            }
        }
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// The refusal in OpenAI's words.
    pub(crate) fn json(&self) -> Value {
        let (_, kind, code, message) = self.parts();
        let field = match self {
            Refusal::Bad { field, .. } => *field,
            Refusal::NoModel(_) => Some("model"),
            _ => None,
        };
        json!({"error": {"message": message, "type": kind, "param": field, "code": code}})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self.json())).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
