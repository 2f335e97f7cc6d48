//! Keys whose value is one of a few words.

/// Says which words stand for which value; the words are those of `m0v.toml`.
pub(super) trait Words: Sized + Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// What to do with a packet of an id that is in no row of `pub`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownId {
    /// Answer `!OK unknown id 17`.
    #[default]
    Reject,
    /// Make the row, capped per peer and hour.
    Create,
}

/// Whether a port asks for a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// Not asked for.
    #[default]
    Off,
    /// Asked for; none is fine, one that is not accepted is refused.
    Optional,
    /// A connection without an accepted one is refused.
    Required,
}

/// Whether a PROXY protocol header comes before TLS, and in which version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The peer's address is the socket's.
    #[default]
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
    /// Either.
    Any,
}

/// How old a client may be; each level takes all that the one before takes (DESIGN §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compat {
    /// rustls alone.
    Strict,
    /// Also TLS 1.2, ECDHE with AEAD, from a client that names no groups.
    #[default]
    Cc3220,
    /// Also ECDHE with CBC.
    Cbc,
    /// Also static RSA and TLS 1.0 and 1.1: weak, for CC3100 and CC3200.
    RsaKx,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Words for UnknownId {
    const WORDS: &'static [(&'static str, Self)] = &[("reject", Self::Reject), ("create", Self::Create)];
}

impl Words for ClientCert {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Words for ProxyProtocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("v1", Self::V1), ("v2", Self::V2), ("any", Self::Any)];
}

impl Words for Compat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("strict", Self::Strict), ("cc3220", Self::Cc3220), ("cbc", Self::Cbc), ("rsa-kx", Self::RsaKx)];
}

impl Words for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Words for log::LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}
