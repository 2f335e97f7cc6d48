//! Checks of one value by itself. Messages never hold a secret.
#![expect(clippy::ptr_arg, reason = "a check is called with the field itself, whatever its type")]

use super::{Config, secret::Secret, value::quoted};
use crate::net::authority::{Authority, is_host_name};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{fmt::Display, ops::RangeInclusive, time::Duration};

type Checked = Result<(), String>;

/// Longest reply in bytes: with `\r\n` it stays in one small TLS record and one line of a terminal.
const MAX_REPLY_BYTES: usize = 100;

/// RFC 6066 §4: the lengths a client can ask for, so the ones small devices have buffers for.
const FRAGMENTS: [u16; 4] = [512, 1024, 2048, 4096];

/// A number in the range.
pub(super) fn between<T: PartialOrd + Display>(range: RangeInclusive<T>) -> impl Fn(&T) -> Checked {
    move |number| {
        if range.contains(number) {
            return Ok(());
        }
        Err(format!("must be between {} and {}, got {number}", range.start(), range.end()))
    }
}

/// Whole seconds in the range.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&Duration) -> Checked {
    move |duration| between(range.clone())(&duration.as_secs())
}

/// Nothing, or a value that passes.
pub(super) fn optional<T>(check: impl Fn(&T) -> Checked) -> impl Fn(&Option<T>) -> Checked {
    move |value| value.as_ref().map_or(Ok(()), &check)
}

/// A list of which every item passes.
pub(super) fn each<T>(check: impl Fn(&T) -> Checked) -> impl Fn(&Vec<T>) -> Checked {
    move |list| list.iter().try_for_each(&check)
}

/// Words that are said on the wire when all is well.
pub(super) fn reply(words: &String) -> Checked {
    if words.len() > MAX_REPLY_BYTES {
        return Err(format!("must be at most {MAX_REPLY_BYTES} bytes, got {}", words.len()));
    }
    if !words.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("must be printable ASCII without line ends".to_owned());
    }
    if words.starts_with("!OK") {
        return Err("must not start with !OK, which begins a refusal".to_owned());
    }
    Ok(())
}

/// The name of an HTTP header.
pub(super) fn header_name(name: &String) -> Checked {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return Ok(());
    }
    Err(format!("must be the name of an HTTP header, got {}", quoted(name)))
}

/// A token that fits in an HTTP header's value.
pub(super) fn header_value(value: &Secret) -> Checked {
    if value.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err("must be printable ASCII without spaces: it is sent in an HTTP header".to_owned())
}

/// `host:port`, `[IPv6]:port` with a port that can be connected to.
pub(super) fn host_port(text: &String) -> Checked {
    let valid = Authority::parse(text).is_some();
    if valid { Ok(()) } else { Err(format!("must be host:port, got {}", quoted(text))) }
}

/// A name that a CA can put in a certificate after tls-alpn-01 or http-01.
pub(super) fn domain(name: &String) -> Checked {
    crate::acme::name_fault(name.trim_end_matches('.')).map_or(Ok(()), Err)
}

/// Where a CA may write to.
pub(super) fn mailto(url: &String) -> Checked {
    let address = url.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
    if address.is_some_and(|(user, host)| !user.is_empty() && is_host_name(host)) {
        return Ok(());
    }
    Err(format!("must be \"mailto:somebody@example.org\", got {}", quoted(url)))
}

/// The URL of an ACME directory, fetched over TLS, or a name for one.
pub(super) fn directory(url: &String) -> Checked {
    let rest = url.strip_prefix("https://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let known = matches!(url.as_str(), "letsencrypt" | "letsencrypt-staging");
    if known || rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Ok(());
    }
    Err(format!(
        "must begin with https://, or be \"letsencrypt\" or \"letsencrypt-staging\", got {}",
        quoted(url)
    ))
}

/// A key as CAs show it. Padding and the older alphabet are forgiven.
pub(super) fn base64url(key: &Secret) -> Checked {
    let text = key.expose_secret().trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    match BASE64_URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(()),
        _ => Err("must be base64url: copy the key exactly as the CA shows it".to_owned()),
    }
}

/// A size of RSA key that devices verify.
pub(super) fn rsa_bits(bits: &u16) -> Checked {
    if matches!(bits, 2048 | 3072 | 4096) {
        return Ok(());
    }
    Err(format!("must be 2048, 3072 or 4096, got {bits}"))
}

/// Long enough not to be guessed.
pub(super) fn shared_secret(secret: &Secret) -> Checked {
    if secret.expose_secret().trim().len() >= Config::SECRET_MIN_BYTES {
        return Ok(());
    }
    let least = Config::SECRET_MIN_BYTES;
    Err(format!("must be at least {least} bytes, such as `openssl rand -base64 32` prints"))
}

/// A PostgreSQL URL, or libpq's `key=value` form. What is in it is judged by who connects.
pub(super) fn database_url(url: &Secret) -> Checked {
    let url = url.expose_secret();
    let scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if scheme || (url.contains('=') && !url.contains("://")) {
        return Ok(());
    }
    Err("must be postgres://user:password@host/database, or host=… user=… dbname=…".to_owned())
}

/// A record length.
pub(super) fn fragment(length: &u16) -> Checked {
    if FRAGMENTS.contains(length) {
        return Ok(());
    }
    Err(format!("must be one of 512, 1024, 2048, 4096, got {length}"))
}
