//! Which stack serves a hello, and why none does.

use std::fmt;

/// How much weakness the owner allows, `[tls] compat`; each level includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Compat {
    /// rustls alone.
    Strict,
    /// TLS 1.2, ECDHE and AEAD, for devices that name no groups.
    #[default]
    Cc3220,
    /// Also ECDHE with CBC.
    Cbc,
    /// Also static RSA with AES, and TLS 1.0 and 1.1.
    RsaKx,
}

/// Why a hello is served by no stack: offered what, lacking what, which level would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {}

impl Reason {
    /// One word for counters and rate limits.
    #[must_use]
    pub fn label(&self) -> &'static str {
        "suites"
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}
