//! One call to the ACME server: its deadline, its nonce, its trust, and what its failure means.

use super::{
    AcmeError, Pace,
    answer::{Answer, Document, Refusal},
    options::Checked,
    problem::{Kind, Problem},
    trust,
};
use async_web_client::prelude::*;
use http::{Request, header};
use rustls::ClientConfig;
use rustls_acme::acme;
use std::{path::PathBuf, sync::Arc};

/// Largest answer read, in bytes; a chain of six RSA-4096 certificates is 15 kB.
const BODY_MAX: usize = 1 << 20;

/// Speaks to one ACME server.
pub(crate) struct Caller {
    /// For the calls made by `rustls_acme`.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) pace: Pace,
    ca_file: Option<PathBuf>,
}

impl Caller {
    /// How often a call is made again with another nonce. At half of all nonces refused, one
    /// call in 2,000 still fails.
    pub(crate) const NONCE_TRIES: u8 = 10;

    pub(crate) fn new(checked: &Checked, pace: Pace) -> Result<Self, AcmeError> {
        let ca_file = checked.options.ca_file.clone();
        Ok(Self { tls: trust::client_config(ca_file.as_deref())?, pace, ca_file })
    }

    /// Makes one of the crate's calls, again for each bad nonce.
    pub(crate) async fn run<T, F>(
        &self,
        call: &'static str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, AcmeError>
    where
        F: Future<Output = Result<T, acme::AcmeError>>,
    {
        let mut tries = Self::NONCE_TRIES;
        loop {
            let error = match self.timed(call, attempt()).await? {
                Ok(value) => return Ok(value),
                Err(error) => from_crate(call, &error),
            };
            match &error {
                AcmeError::Problem(problem) if tries > 0 && Self::is_bad_nonce(problem) => tries -= 1,
                _ => return Err(error),
            }
        }
    }

    /// A fresh nonce.
    pub(crate) async fn nonce(&self, new_nonce: &str) -> Result<String, AcmeError> {
        let request = request("HEAD", new_nonce)?.body(Vec::new()).map_err(|e| not_acme("newNonce", &e))?;
        let answer =
            self.send("newNonce", request).await?.success("newNonce").map_err(Refusal::into_error)?;
        answer.header("replay-nonce").ok_or_else(|| not_acme("newNonce", "no nonce in it"))
    }

    /// A plain GET.
    pub(crate) async fn fetch(&self, call: &'static str, url: &str) -> Result<Answer, AcmeError> {
        let request = request("GET", url)?.body(Vec::new()).map_err(|e| not_acme(call, &e))?;
        self.send(call, request).await?.success(call).map_err(Refusal::into_error)
    }

    pub(crate) fn signed_post(url: &str, body: String) -> Result<Request<Vec<u8>>, AcmeError> {
        request("POST", url)?
            .header(header::CONTENT_TYPE, "application/jose+json")
            .body(body.into_bytes())
            .map_err(|e| not_acme("POST", &e))
    }

    pub(crate) fn is_bad_nonce(problem: &Problem) -> bool {
        problem.kind == Kind::BadNonce
    }

    /// Sends and reads the whole answer within one deadline.
    pub(crate) async fn send(
        &self,
        call: &'static str,
        request: Request<Vec<u8>>,
    ) -> Result<Answer, AcmeError> {
        let url = request.uri().to_string();
        let exchange = async {
            let mut response = request.send_with_client_config(self.tls.clone()).await?;
            let body = response
                .body_mut()
                .bytes(Some(BODY_MAX))
                .await
                .map_err(|e| async_web_client::HttpError::IoError(Arc::new(e)))?;
            Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
        };
        self.timed(call, exchange)
            .await?
            .map_err(|error| trust::explain(&url, &error, self.ca_file.as_deref()))
    }

    async fn timed<T>(&self, call: &'static str, work: impl Future<Output = T>) -> Result<T, AcmeError> {
        let limit = self.pace.call;
        tokio::time::timeout(limit, work).await.map_err(|_| AcmeError::Silent { call, limit })
    }
}

/// The crate keeps status and body of a refusal in a private type; only its text shows them:
/// `non 2xx http status: 400 "{\"type\":…}"`.
fn from_crate(call: &'static str, error: &acme::AcmeError) -> AcmeError {
    let text = error.to_string();
    if let Some((_, refusal)) = text.split_once("non 2xx http status: ") {
        let (status, quoted) = refusal.split_once(' ').unwrap_or((refusal, "\"\""));
        let document = serde_json::from_str::<String>(quoted)
            .ok()
            .and_then(|body| serde_json::from_str::<Document>(&body).ok())
            .unwrap_or_else(|| Document::of_type(urn_in(quoted)));
        return AcmeError::Problem(Box::new(document.into_problem(call, status.parse().unwrap_or(500))));
    }
    match error {
        acme::AcmeError::Io(_) | acme::AcmeError::HttpRequest(_) => {
            AcmeError::Unreachable { url: format!("(during `{call}`)"), cause: text }
        }
        _ => not_acme(call, &text),
    }
}

fn urn_in(text: &str) -> String {
    const URN: &str = "urn:ietf:params:acme:error:";
    let name = text.split_once(URN).map_or("", |(_, rest)| rest);
    format!("{URN}{}", name.chars().take_while(char::is_ascii_alphanumeric).collect::<String>())
}

fn request(method: &str, url: &str) -> Result<http::request::Builder, AcmeError> {
    if !url.starts_with("https://") {
        return Err(not_acme("an address from the directory", &format!("{url} is not https")));
    }
    Ok(Request::builder().method(method).uri(url).header(header::USER_AGENT, USER_AGENT))
}

const USER_AGENT: &str = concat!("m0v/", env!("CARGO_PKG_VERSION"));

pub(crate) fn not_acme(call: &'static str, cause: &(impl ToString + ?Sized)) -> AcmeError {
    AcmeError::NotAcme { call, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_what_the_crate_only_shows_as_text() {
        let status = |text: &str| match from_crate(
            "order",
            &acme::AcmeError::Io(std::io::Error::other(text.to_owned())),
        ) {
            AcmeError::Problem(problem) => (problem.status, problem.kind, problem.detail),
            other => panic!("{other}"),
        };
        let quoted = r#"non 2xx http status: 400 "{\n  \"type\": \"urn:ietf:params:acme:error:badNonce\", \"detail\": \"JWS\"}""#;
        assert_eq!(status(quoted), (400, Kind::BadNonce, "JWS".to_owned()));
        let odd = r#"non 2xx http status: 503 "{\u{1} urn:ietf:params:acme:error:serverInternal""#;
        assert_eq!(status(odd), (503, Kind::ServerInternal, String::new()));
    }
}
