//! Every refusal of the port in one shape: `{"code":404,"error":"Not Found","message":"…"}`.

use super::body::MAX_BODY;
use super::forwarded::BadHeader;
use crate::device::Refused;
use crate::protocol::body::BadBody;
use crate::protocol::confo::BadPart;
use crate::protocol::reply::Refusal;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What a client should wait for a database that is away.
const RETRY_STORE: u64 = 1;

/// What a client should wait until others' held queries have been answered.
const RETRY_HELD: u64 = 5;

/// Seconds, for a device whose CA has brought along as many as it may within an hour.
const RETRY_NEW: u64 = 600;

/// What 401 asks for; the header is named in the message and in the description.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ApiKey realm=\"m0v\"");

/// The same, of a broker.
const BROKER_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"m0v\"");

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
    /// The body is of another type, or does not say which.
    #[error("content-type must be {0}, in UTF-8")]
    ContentType(&'static str),
    /// The body is packed.
    #[error("content-encoding is not taken; send the body as it is")]
    ContentEncoding,
    /// The body is not what it must be.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// The connection broke in the middle of the body, or its chunks are none.
    #[error("the body ends too early, or is badly framed")]
    Broken,
    /// The body did not come in time.
    #[error("the body did not arrive in time")]
    Late,
    /// A parameter breaks a rule of its own: its name, and what continues it.
    #[error("{0} {1}")]
    Parameter(&'static str, String),
    /// A trusted proxy's header with a certificate cannot be read: its name, and why.
    #[error("the header {0} {1}")]
    CertificateHeader(HeaderName, BadHeader),
    /// The certificate of the connection is not accepted.
    #[error("{0}")]
    Certificate(Refused),
    /// What was sent cannot be used; says so by name.
    #[error("{0}")]
    Invalid(String),
    /// Our own CA fails; the operator's log has the reason.
    #[error("the issuer of certificates does not work; the server's log says why")]
    CannotIssue,
    /// Nothing says who asks.
    #[error("who asks? Send an API key in the header {0}, or connect with a client certificate")]
    NoCredentials(HeaderName),
    /// The API key is none of those accepted; if it is there, only the key is judged.
    #[error("wrong API key")]
    WrongKey,
    /// This address has tried too many keys.
    #[error("too many wrong API keys from this address, try again in {seconds} s")]
    TooManyKeys {
        /// Until the next one is judged.
        seconds: u64,
    },
    /// No broker asks, or one with another token.
    #[error("who asks? Send the broker token as Authorization: Bearer, or as ?token=")]
    NoBroker,
    /// This address asks too often.
    #[error("too many requests of this address, try again in {seconds} s")]
    TooOften {
        /// Until the next one is answered.
        seconds: u64,
    },
    /// A proxy names this address for as many requests as one may have under way.
    #[error("too many requests of this address at once")]
    TooManyAtOnce,
    /// Known, but not entitled to this.
    #[error("{0}")]
    NotEntitled(&'static str),
    /// No such path.
    #[error("no such path; /openapi.json has them all")]
    UnknownPath,
    /// The path takes other methods; `Allow` names them.
    #[error("this path does not take {0}")]
    WrongMethod(Method),
    /// It cannot be, because of what is there already.
    #[error("{0}")]
    Conflict(String),
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
    /// This address must wait so long.
    pub(super) fn too_often(wait: Duration) -> Self {
        Self::TooOften { seconds: wait.as_secs() + 1 }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Encoding(_)
            | Self::Part(_)
            | Self::Twice(_)
            | Self::ContentType(_)
            | Self::ContentEncoding
            | Self::Body(_)
            | Self::Broken
            | Self::Late
            | Self::Invalid(_)
            | Self::CertificateHeader(..)
            | Self::Parameter(..) => StatusCode::BAD_REQUEST,
            Self::CannotIssue => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Certificate(Refused::TooManyUnknown | Refused::TooManyNew) => StatusCode::TOO_MANY_REQUESTS,
            Self::Certificate(refused) if refused.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Certificate(_)
            | Self::NoCredentials(_)
            | Self::WrongKey
            | Self::NoBroker
            | Self::NotEntitled(_) => StatusCode::UNAUTHORIZED,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyKeys { .. }
            | Self::TooOften { .. }
            | Self::TooManyAtOnce
            | Self::Refused(Refusal::TooManyQueries { .. } | Refusal::TooManyHeld) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds, where waiting helps.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyKeys { seconds }
            | Self::TooOften { seconds }
            | Self::Refused(Refusal::TooManyQueries { seconds }) => Some(*seconds),
            Self::TooManyAtOnce
            | Self::Certificate(Refused::TooManyUnknown)
            | Self::Refused(Refusal::TooManyHeld) => Some(RETRY_HELD),
            Self::Certificate(Refused::TooManyNew) => Some(RETRY_NEW),
            Self::Certificate(refused) if refused.is_ours() => Some(RETRY_STORE),
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
        if matches!(self, Self::Certificate(_)) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = if matches!(self, Self::NoBroker) { BROKER_CHALLENGE } else { CHALLENGE };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
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
