//! The head of a CONNECT request: bytes in, target out. Pure; httparse reads HTTP.

use super::denied::{Denied, MAX_FIELDS, MAX_HEAD};
use crate::net::authority::{Authority, Host};

/// What a gateway asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) target: Authority,
    /// Bytes of the head; what follows them is the tunnel's.
    pub(super) length: usize,
}

/// Reads a head; `None` while it is not whole. Fields that say nothing about the target are not
/// looked at (`Proxy-Authorization`: the certificate says who it is; `Forwarded`: nobody asked).
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Connect>, Denied> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => {
            // Who speaks another protocol need not be heard to the end.
            return if request.method.is_none_or(|method| method == "CONNECT") {
                Ok(None)
            } else {
                Err(Denied::Method)
            };
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Denied::TooLong),
        Err(httparse::Error::Version) => return Err(Denied::Version),
        Err(error) => return Err(Denied::Malformed(error)),
    };
    if request.method != Some("CONNECT") {
        return Err(Denied::Method);
    }
    let target = request.path.and_then(Authority::parse).ok_or(Denied::Form)?;
    check_host(&target, request.headers, request.version == Some(0))?;
    check_content(request.headers)?;
    Ok(Some(Connect { target, length }))
}

/// RFC 9112 §3.2: one Host, and it is the target's; a port may be left out, as some clients do.
fn check_host(target: &Authority, fields: &[httparse::Header<'_>], old: bool) -> Result<(), Denied> {
    let mut hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let Some(host) = hosts.next() else { return if old { Ok(()) } else { Err(Denied::NoHost) } };
    if hosts.next().is_some() {
        return Err(Denied::TwoHosts);
    }
    let host = std::str::from_utf8(host.value).map_err(|_| Denied::OtherHost)?;
    let same = match Authority::parse(host) {
        Some(whole) => whole == *target,
        None => Host::parse(host).as_ref() == Some(target.host()),
    };
    if same { Ok(()) } else { Err(Denied::OtherHost) }
}

/// RFC 9110 §9.3.6: there is no content, and so nobody may count on some.
fn check_content(fields: &[httparse::Header<'_>]) -> Result<(), Denied> {
    let named = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    if named("transfer-encoding").is_some() {
        return Err(Denied::Content("Transfer-Encoding"));
    }
    match named("content-length") {
        Some(field) if field.value != b"0" => Err(Denied::Content("Content-Length")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(String, usize)>, &'static str> {
        match parse(text.as_bytes()) {
            Ok(connect) => Ok(connect.map(|connect| (connect.target.to_string(), connect.length))),
            Err(denied) => Err(match denied {
                Denied::Malformed(_) => "malformed",
                Denied::TooLong => "too long",
                Denied::Version => "version",
                Denied::Method => "method",
                Denied::Form => "form",
                Denied::NoHost => "no host",
                Denied::TwoHosts => "two hosts",
                Denied::OtherHost => "other host",
                Denied::Content(field) => field,
                _ => "?",
            }),
        }
    }

    #[test]
    fn reads_what_clients_send() {
        for head in [
            "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n\r\n",
            "CONNECT a.example:1 HTTP/1.1\r\nHost: A.example\r\n\r\n",
            "CONNECT a.example:1 HTTP/1.0\r\n\r\n",
            "CONNECT A.EXAMPLE:1 HTTP/1.1\r\nhost: a.example:1\r\nProxy-Authorization: Basic eDp5\r\n\
             User-Agent: curl/8\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
        ] {
            let whole = Ok(Some(("a.example:1".to_owned(), head.len())));
            assert_eq!(read(head), whole);
            assert_eq!(read(&format!("{head}\x16\x03\x01 and more")), whole, "what follows is the tunnel's");
            for end in 0..head.len() {
                assert_eq!(read(head.get(..end).unwrap()), Ok(None), "{:?}", head.get(..end));
            }
        }
    }

    #[test]
    fn refuses_what_is_no_request_for_a_tunnel() {
        let with = |fields: &str| format!("CONNECT a.example:1 HTTP/1.1\r\n{fields}\r\n");
        let to = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: a.example:1\r\n\r\n");
        for (head, why) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "method"),
            ("GET http://a.example:1/ HTTP/1.1\r\nHost: a.example:1\r\n\r\n".to_owned(), "method"),
            ("POST /a HTTP/1.1\r\n".to_owned(), "method"),
            ("connect a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n\r\n".to_owned(), "method"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "version"),
            ("\x16\x03\x01\x02\x00\x01".to_owned(), "malformed"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_owned(), "version"),
            ("{\"id\":17,\"status\":true}\n".to_owned(), "malformed"),
            (to("a.example"), "form"),
            (to("http://a.example:1/"), "form"),
            (to("https://a.example:1"), "form"),
            (to("/"), "form"),
            (to("*"), "form"),
            (to("user@a.example:1"), "form"),
            (to("a.example:0"), "form"),
            (to("a.example:99999"), "form"),
            (with(""), "no host"),
            (with("Host: a.example:1\r\nHost: a.example:1\r\n"), "two hosts"),
            (with("Host: a.example:2\r\n"), "other host"),
            (with("Host: b.example:1\r\n"), "other host"),
            (with("Host: \r\n"), "other host"),
            (with("Host: a.example:1, b.example:1\r\n"), "other host"),
            (with("Host: \u{e4}\r\n"), "other host"),
            (with("Host: a.example:1\r\nContent-Length: 5\r\n"), "Content-Length"),
            (with("Host: a.example:1\r\nTransfer-Encoding: chunked\r\n"), "Transfer-Encoding"),
            (with("Host : a.example:1\r\n"), "malformed"),
            (with("Host: a.example:1\r\n folded\r\n"), "malformed"),
            (with("a\0b: c\r\n"), "malformed"),
            (with(&"a: b\r\n".repeat(MAX_FIELDS + 1)), "too long"),
            (with(&format!("Host: a.example:1\r\na: {}\r\n", "b".repeat(MAX_HEAD))), "too long"),
            (format!("CONNECT {}", "a".repeat(MAX_HEAD)), "too long"),
        ] {
            assert_eq!(read(&head), Err(why), "{head:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_never_waits_beyond_its_bound(bytes: Vec<u8>) {
            let mut head = b"CONNECT ".to_vec();
            head.extend(&bytes);
            drop(parse(&bytes));
            if let Ok(None) = parse(&head) {
                proptest::prop_assert!(head.len() < MAX_HEAD);
            }
        }
    }
}
