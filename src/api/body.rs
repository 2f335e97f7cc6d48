//! What is sent along with a request: dropped, or read within bounds.

use super::error::ApiError;
use super::text;
use crate::protocol::body::Object;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest body of a request, in bytes: a certificate with its chain is a tenth of it.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// A body that nobody wants is read and dropped up to here: a client in the midst of sending would
/// take an early answer for a broken connection.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// How long a body may take, one that is dropped too.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Drops the body of a request to a route that has no use for it, and refuses one that is too
/// long. Keeps none of it in memory.
pub(super) async fn discard(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if drop_body(&parts.headers, body).await > MAX_BODY {
        return ApiError::TooLong.into_response();
    }
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// Drops the body of a request that nobody will look at, so that the refusal arrives.
pub(super) async fn drop_unread(request: Request) {
    let (parts, body) = request.into_parts();
    drop_body(&parts.headers, body).await;
}

/// Lends the body of a request to a route that may read it, refuses one that is too long, and
/// drops what the route left, so that a refusal reaches a client that is still sending.
pub(super) async fn lend(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if declared_length(&parts.headers).is_some_and(|length| length > MAX_BODY) {
        drop_body(&parts.headers, body).await;
        return ApiError::TooLong.into_response();
    }
    // Reading and dropping share it: a client that stalls hears of it while it listens.
    let deadline = Instant::now() + BODY_TIMEOUT;
    let (back, mut left) = oneshot::channel();
    let lent = Body::new(Lent { body, back: Some(back) });
    let response = next.run(Request::from_parts(parts, lent)).await;
    if let Ok(body) = left.try_recv()
        && !body.is_end_stream()
    {
        // Late or broken: the answer is the same.
        let _dropped = timeout_at(deadline, length_of(body)).await;
    }
    response
}

/// A body on loan: what is left of it goes back when it is dropped.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Nobody waits for it when the client is gone.
            let _gone = back.send(std::mem::take(&mut self.body));
        }
    }
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body to its end, within bounds, and returns its length.
async fn drop_body(headers: &HeaderMap, body: Body) -> usize {
    let declared = declared_length(headers).unwrap_or(0);
    // A client that waits for leave to send (`Expect`) is better told at once.
    let is_waiting = declared > MAX_BODY && headers.contains_key(header::EXPECT);
    match declared {
        0..=MAX_DISCARDED if body.is_end_stream() => 0,
        // Late or broken: it is of no use either way.
        0..=MAX_DISCARDED if !is_waiting => timeout(BODY_TIMEOUT, length_of(body)).await.unwrap_or(declared),
        _ => declared,
    }
}

async fn length_of(mut body: Body) -> usize {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > MAX_DISCARDED {
            break;
        }
    }
    length
}

/// All of a body, at most [`MAX_BODY`]; unpacked, it would be another length.
async fn read(request: Request) -> Result<Bytes, ApiError> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).into_iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::ContentEncoding);
    }
    let read = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    match read.map_err(|_| ApiError::Late)? {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::TooLong),
        Err(_) => Err(ApiError::Broken),
    }
}

/// A JSON body; taken after whoever asks is known, because it is read here.
pub(super) struct JsonBody(Bytes);

impl JsonBody {
    /// The object that it is.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn object(&self) -> Result<Object<'_>, ApiError> {
        Ok(Object::read(&self.0)?)
    }
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_of_type(request.headers(), "application/json") {
            return Err(ApiError::ContentType("application/json"));
        }
        Ok(Self(read(request).await?))
    }
}

/// The members of a form (`application/x-www-form-urlencoded`), in order.
pub(super) struct FormBody(Vec<(String, String)>);

impl FormBody {
    /// The only member of that name.
    ///
    /// # Errors
    /// It comes twice.
    pub(super) fn find(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut found = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let value = found.next();
        if found.next().is_some() { Err(ApiError::Twice(name)) } else { Ok(value) }
    }
}

impl<S: Sync> FromRequest<S> for FormBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        const TYPE: &str = "application/x-www-form-urlencoded";
        if !is_of_type(request.headers(), TYPE) {
            return Err(ApiError::ContentType(TYPE));
        }
        let body = read(request).await?;
        let body = str::from_utf8(&body).map_err(|_| ApiError::Encoding("the form"))?;
        let members = text::members(body).map(|(name, value)| {
            let decoded = |part| text::decode_form(part).ok_or(ApiError::Encoding("the form"));
            Ok((decoded(name)?, decoded(value)?))
        });
        Ok(Self(members.collect::<Result<_, ApiError>>()?))
    }
}

/// Whether a body says that it is of this type, in UTF-8 if it says so much.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    is_wanted
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use super::is_of_type;
    use axum::http::{HeaderMap, HeaderValue, header};

    #[test]
    fn judges_content_types() {
        for (value, is_json) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"; x=y", true),
            ("application/json; charset=iso-8859-1", false),
            ("application/jsonp", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!is_of_type(&headers, "application/json"), "none is not it");
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_of_type(&headers, "application/json"), is_json, "{value}");
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert!(!is_of_type(&headers, "application/json"), "two are one too many");
        }
    }
}
