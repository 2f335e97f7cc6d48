//! What the ACME server answers: headers that count, and refusals read into problems.

use super::{AcmeError, call::not_acme, problem::Problem};
use http::{HeaderMap, header};
use serde::Deserialize;
use std::time::Duration;

/// An answer with everything in it.
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An answer that is no success.
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    pub(crate) nonce: Option<String>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    /// The targets of `Link: <…>;rel="…"` headers with this relation.
    pub(crate) fn links(&self, relation: &str) -> Vec<String> {
        let relation = format!("rel=\"{relation}\"");
        let values = self.headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .filter(|link| link.split(';').skip(1).any(|part| part.trim() == relation))
            .filter_map(|link| link.split_once('<')?.1.split_once('>').map(|(url, _)| url.to_owned()))
            .collect()
    }

    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self, call: &'static str) -> Result<T, AcmeError> {
        serde_json::from_slice(&self.body).map_err(|e| not_acme(call, &e))
    }

    /// How long the server asks to wait: seconds or a date (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?;
        let text = text.trim();
        let seconds = text.parse::<u64>().ok().or_else(|| {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp();
            let now = self.header("date").and_then(|now| chrono::DateTime::parse_from_rfc2822(&now).ok());
            u64::try_from(date - now?.timestamp()).ok()
        })?;
        Some(Duration::from_secs(seconds))
    }

    pub(crate) fn success(self, call: &'static str) -> Result<Self, Refusal> {
        if self.status.is_success() {
            return Ok(self);
        }
        let document: Document = serde_json::from_slice(&self.body).unwrap_or_default();
        let mut problem = document.into_problem(call, self.status.as_u16());
        problem.retry_after = self.retry_after();
        Err(Refusal { problem, nonce: self.header("replay-nonce") })
    }
}

impl Refusal {
    pub(crate) fn into_error(self) -> AcmeError {
        AcmeError::Problem(Box::new(self.problem))
    }
}

/// A problem document on the wire.
#[derive(Default, Deserialize)]
pub(crate) struct Document {
    #[serde(rename = "type", default)]
    typ: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    subproblems: Vec<Subproblem>,
}

#[derive(Deserialize)]
struct Subproblem {
    #[serde(default)]
    detail: String,
    identifier: Option<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

impl Document {
    /// What is left when only the type could be made out.
    pub(crate) fn of_type(typ: String) -> Self {
        Self { typ, ..Self::default() }
    }

    pub(crate) fn into_problem(self, call: &'static str, status: u16) -> Problem {
        let mut detail = self.detail;
        for Subproblem { detail: part, identifier } in self.subproblems {
            let name = identifier.map_or_else(String::new, |identifier| format!("{}: ", identifier.value));
            detail.push_str(&format!("; {name}{part}"));
        }
        Problem::new(call, status, &self.typ, &detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let pairs = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_str(value).unwrap())
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        Answer { status: status.try_into().unwrap(), headers: map, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn reads_retry_after_as_seconds_and_as_a_date() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (headers, seconds) in [
            (&[("retry-after", "120")][..], Some(120)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:29:30 GMT"), date], Some(90)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT"), date], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(
                answer(429, headers, "").retry_after(),
                seconds.map(Duration::from_secs),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn reads_a_problem_with_its_parts() {
        let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many",
            "subproblems":[{"detail":"wait","identifier":{"type":"dns","value":"a.example"}}]}"#;
        let Err(refusal) =
            answer(429, &[("retry-after", "7"), ("replay-nonce", "n")], body).success("newOrder")
        else {
            panic!("429 is a refusal");
        };
        assert_eq!(refusal.problem.kind, crate::acme::Kind::RateLimited);
        assert_eq!(refusal.problem.detail, "too many; a.example: wait");
        assert_eq!(refusal.problem.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(refusal.nonce.as_deref(), Some("n"));
    }

    #[test]
    fn finds_the_alternates_among_the_links() {
        let found = answer(
            200,
            &[
                ("link", r#"<https://ca/dir>;rel="index""#),
                ("link", r#"<https://ca/1>;rel="alternate", <https://ca/2>; rel="alternate""#),
            ],
            "",
        );
        assert_eq!(found.links("alternate"), ["https://ca/1", "https://ca/2"]);
    }
}
