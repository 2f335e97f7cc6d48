//! Why there is no tunnel, and how the gateway hears of it: RFC 9110's status codes, and a body in
//! the shape of the API's refusals.
//!
//! 403 is a proxy's word for a target or a certificate it will not serve, as 502 and 504 are for one that it
//! cannot (RFC 9110 §15, RFC 9209 §2.3); the API never says it.

use crate::device::Refused;
use crate::net::authority::Authority;
use http::StatusCode;
use serde_json::json;
use std::io;
use std::time::Duration;

/// Longest head of a request in bytes: four times what curl or Node send with a long token.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// Header fields of a request.
pub(super) const MAX_FIELDS: usize = 64;

/// Seconds a gateway should wait where waiting helps.
const RETRY_AFTER: u64 = 5;

/// Why a gateway got no tunnel. Its text is for whoever reads the gateway's log.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Its certificate is not accepted.
    #[error("{0}")]
    Certificate(Refused),
    /// No HTTP.
    #[error("the request cannot be read: {0}")]
    Malformed(httparse::Error),
    /// Over `MAX_HEAD`, or too many fields.
    #[error("the head of the request is over {MAX_HEAD} bytes or {MAX_FIELDS} fields")]
    TooLong,
    /// The head did not come in time.
    #[error("no whole request came within {} s", .0.as_secs())]
    Slow(Duration),
    /// Not HTTP/1.
    #[error("this proxy speaks HTTP/1.1")]
    Version,
    /// Something else was asked for than a tunnel.
    #[error("this proxy takes CONNECT and no other method")]
    Method,
    /// Not `host:port`.
    #[error("the request target must be host:port, as in CONNECT meter.example.org:38981")]
    Form,
    /// HTTP/1.1 asks for one.
    #[error("Host is missing")]
    NoHost,
    /// Which of them counts?
    #[error("Host is given twice")]
    TwoHosts,
    /// Somebody between us reads the request differently.
    #[error("Host names another target than CONNECT")]
    OtherHost,
    /// A request to connect has no content.
    #[error("{0} is given, but CONNECT has no content")]
    Content(&'static str),
    /// `[tunnel] allow` does not have it.
    #[error("{0} is not among [tunnel] allow")]
    NotAllowed(Authority),
    /// The name leads where no name may.
    #[error("{0} leads to a {1} address, which is allowed only where that address is listed itself")]
    Reserved(Authority, &'static str),
    /// A port of this process that no tunnel leads to.
    #[error("{0} {1}")]
    Closed(Authority, &'static str),
    /// The name has no address, or its servers do not answer.
    #[error("{0} has no address: {1}")]
    Unresolved(Authority, io::Error),
    /// Nothing there takes connections.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(Authority, io::Error),
    /// Nothing there answers.
    #[error("{0} does not answer")]
    Silent(Authority),
    /// This gateway has as many tunnels as one may have.
    #[error("this gateway has {0} tunnels, as many as one may have")]
    TooMany(usize),
    /// All gateways together have.
    #[error("there are as many connections as there may be; try again")]
    Full,
    /// The server stops.
    #[error("this server is stopping; try again")]
    Stopping,
}

impl Denied {
    /// The word of the metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Malformed(_) | Self::TooLong | Self::Version => "malformed",
            Self::Slow(_) => "timeout",
            Self::Method => "method",
            Self::Form | Self::NoHost | Self::TwoHosts | Self::OtherHost | Self::Content(_) => "bad request",
            Self::NotAllowed(_) | Self::Reserved(..) | Self::Closed(..) => "not allowed",
            Self::Unresolved(..) => "unresolved",
            Self::Unreachable(..) | Self::Silent(_) => "unreachable",
            Self::TooMany(_) => "too many",
            Self::Full => "full",
            Self::Stopping => "stopping",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_)
            | Self::Form
            | Self::NoHost
            | Self::TwoHosts
            | Self::OtherHost
            | Self::Content(_) => StatusCode::BAD_REQUEST,
            Self::Certificate(refused) if refused.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Certificate(_) | Self::NotAllowed(_) | Self::Reserved(..) | Self::Closed(..) => {
                StatusCode::FORBIDDEN
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unresolved(..) | Self::Unreachable(..) => StatusCode::BAD_GATEWAY,
            Self::Full | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// The whole answer, after which the connection is closed.
    pub(super) fn answer(&self) -> Vec<u8> {
        let status = self.status();
        let (code, error) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
        let body = json!({"code": code, "error": error, "message": self.to_string()}).to_string();
        let mut head = format!(
            "HTTP/1.1 {code} {error}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nconnection: close\r\n",
            body.len()
        );
        match self {
            Self::Method => head.push_str("allow: CONNECT\r\n"),
            _ if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                head.push_str(&format!("retry-after: {RETRY_AFTER}\r\n"));
            }
            _ => {}
        }
        (head + "\r\n" + &body).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_http_with_a_body_of_the_length_it_names() {
        let target = Authority::parse("a.example:1").unwrap();
        for denied in [
            Denied::Malformed(httparse::Error::Token),
            Denied::Method,
            Denied::Full,
            Denied::Slow(Duration::from_secs(30)),
            Denied::NotAllowed(target.clone()),
            Denied::Unreachable(target, io::Error::from_raw_os_error(libc::ECONNREFUSED)),
        ] {
            let answer = denied.answer();
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut fields);
            let httparse::Status::Complete(head) = response.parse(&answer).unwrap() else {
                panic!("{denied}")
            };
            assert_eq!(response.code, Some(denied.status().as_u16()));
            let length = response.headers.iter().find(|field| field.name == "content-length").unwrap();
            assert_eq!(length.value, (answer.len() - head).to_string().as_bytes());
            let body: serde_json::Value = serde_json::from_slice(answer.get(head..).unwrap()).unwrap();
            assert_eq!(body["message"], denied.to_string());
        }
    }
}
