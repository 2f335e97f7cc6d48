//! What is sent along with a request that takes no body.

use super::error::ApiError;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// Longest body of a request, in bytes: a certificate with its chain is a tenth of it.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// A longer body is read and dropped up to here: a client in the midst of sending would take
/// an early answer for a broken connection.
const MAX_DISCARDED: usize = 1024 * 1024;

/// For the same, in time.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Drops the body of a request to a route that has no use for it, and refuses one that is too
/// long. Keeps none of it in memory.
pub(super) async fn discard(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let declared = declared.and_then(|length| length.parse().ok()).unwrap_or(0);
    // Late or broken: it is of no use either way.
    let length = match declared {
        0..=MAX_DISCARDED if body.is_end_stream() => 0,
        0..=MAX_DISCARDED => timeout(DISCARD_TIMEOUT, length_of(body)).await.unwrap_or(declared),
        _ => declared,
    };
    if length > MAX_BODY {
        return ApiError::TooLong.into_response();
    }
    next.run(Request::from_parts(parts, Body::empty())).await
}

async fn length_of(mut body: Body) -> usize {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, axum::body::Bytes::len);
        if length > MAX_DISCARDED {
            break;
        }
    }
    length
}
