//! Requests by curl, a judge that is not ours: it verifies the certificate and the framing.

use crate::harness::{Server, run_tool};
use serde_json::Value;

/// Which HTTP curl shall speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Of old devices and old tools.
    Http10,
    Http11,
    Http2,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Http11, Version::Http2];

/// An answer, as curl printed it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header that comes once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} comes twice: {self:?}");
        value
    }

    /// The body, as JSON of the content type that says so.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Insists on a refusal in the shape of DESIGN §2.5, and returns its message.
    pub(crate) fn refusal(&self, status: u16, error: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        let members = body.as_object().expect("an object");
        assert_eq!(members.keys().collect::<Vec<_>>(), ["code", "error", "message"], "{self:?}");
        assert_eq!((body["code"].as_u64(), body["error"].as_str()), (Some(status.into()), Some(error)));
        body["message"].as_str().expect("a text").to_owned()
    }
}

/// GET of a path, sent as it is.
pub(crate) fn get(server: &Server<'_>, version: Version, path: &str) -> Answer {
    curl(server, version, path, &[])
}

/// A request to the API port with further arguments of curl.
pub(crate) fn curl(server: &Server<'_>, version: Version, path: &str, more: &[&str]) -> Answer {
    let (http, name) = match version {
        Version::Http10 => ("--http1.0", "HTTP/1.0"),
        Version::Http11 => ("--http1.1", "HTTP/1.1"),
        Version::Http2 => ("--http2", "HTTP/2"),
    };
    let url = format!("https://localhost:{}{path}", server.api_addr().port());
    let ca_file = server.ca_file();
    let ca_file = ca_file.to_str().expect("a path of ours is text");
    let mut arguments = vec![http, "-sS", "-i", "--max-time", "80", "--path-as-is", "--globoff"];
    arguments.extend(["-H", "Expect:", "--noproxy", "*", "--cacert", ca_file]);
    arguments.extend_from_slice(more);
    arguments.push(&url);
    let said = run_tool("curl", &arguments).succeeded();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {said}"));
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    assert_eq!(status.next(), Some(name), "{said}");
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Answer {
        status: status.next().and_then(|status| status.parse().ok()).expect("a status"),
        headers: headers.collect(),
        body: body.to_owned(),
    }
}
