//! Every refusal of the port in one shape: `{"code":404,"error":"Not Found","message":"…"}`.

use super::body::MAX_BODY;
use crate::protocol::confo::BadPart;
use crate::protocol::reply::Refusal;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What a client should wait for a database that is away.
const RETRY_STORE: u64 = 1;

/// What a client should wait until others' held queries have been answered.
const RETRY_HELD: u64 = 5;

/// Why a request is not served; rendered by `into_response`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A part of the path or of the query string is not percent-encoded UTF-8.
    #[error("{0} is not percent-encoded UTF-8")]
    Encoding(&'static str),
    /// A part is not what it must be.
    #[error(transparent)]
    Part(#[from] BadPart),
    /// A parameter comes twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// No such path.
    #[error("no such path; /openapi.json has them all")]
    UnknownPath,
    /// The path takes other methods; `Allow` names them.
    #[error("this path does not take {0}")]
    WrongMethod(Method),
    /// More than [`MAX_BODY`].
    #[error("the body is over {MAX_BODY} bytes")]
    TooLong,
    /// As on the line port, in its words.
    #[error("{0}")]
    Refused(Refusal),
}

/// The body of every refusal.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// The HTTP status.
    #[schema(example = 400)]
    code: u16,
    /// Its name.
    #[schema(example = "Bad Request")]
    error: &'static str,
    /// What is wrong with this request, for the developer.
    #[schema(example = "ssid must be 1 to 32 bytes")]
    message: String,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Encoding(_) | Self::Part(_) | Self::Twice(_) => StatusCode::BAD_REQUEST,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Refusal::TooManyQueries { .. } | Refusal::TooManyHeld) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds, where waiting helps.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(Refusal::TooManyQueries { seconds }) => Some(*seconds),
            Self::Refused(Refusal::TooManyHeld) => Some(RETRY_HELD),
            Self::Refused(_) => Some(RETRY_STORE),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = ErrorBody {
            code: status.as_u16(),
            error: status.canonical_reason().unwrap_or_default(),
            message: self.to_string(),
        };
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers whatever no route is for.
pub(super) async fn unknown_path() -> ApiError {
    ApiError::UnknownPath
}

/// Answers a method that a route has no answer for; axum adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> ApiError {
    ApiError::WrongMethod(method)
}
