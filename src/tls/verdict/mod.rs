//! Which stack serves a hello, and in words why none does. Pure, like [`super::hello`].
//!
//! The rule: rustls whenever rustls can; else s2n-tls, at the lowest level that takes the hello,
//! if the owner allows that level; else nobody. What each takes is in `needs`; tests at the socket
//! hold it to what the stacks really do.

mod needs;
mod reason;

use std::fmt;

use super::hello::ClientHello;
use needs::{compat_lack, modern_lack};

pub use needs::{Lack, likely_suite};
pub use reason::{Offer, Reason};

/// How much weakness the owner allows, `[tls] compat`; each level includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compat {
    /// rustls alone.
    Strict,
    /// TLS 1.2 with ECDHE and AES-GCM on P-256, for devices that name no groups.
    #[default]
    Cc3220,
    /// Also ECDHE with CBC.
    Cbc,
    /// Also static RSA with AES, and TLS 1.0 and 1.1.
    RsaKx,
}

impl Compat {
    /// Every level, strictest first.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Cc3220, Self::Cbc, Self::RsaKx];

    /// The level as the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Cc3220 => "cc3220",
            Self::Cbc => "cbc",
            Self::RsaKx => "rsa-kx",
        }
    }

    /// Whether what the level adds is known to be weak, rather than old.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::RsaKx)
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who serves a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// rustls.
    Modern,
    /// s2n-tls, at this level.
    Compat(Compat),
    /// Nobody.
    Refused(Box<Reason>),
}

/// Judges a hello under the level the owner allows. The server's key is RSA.
#[must_use]
pub fn verdict(hello: &ClientHello, allowed: Compat) -> Verdict {
    let Some(modern) = modern_lack(hello) else {
        return Verdict::Modern;
    };
    let would_take = Compat::ALL.into_iter().skip(1).find(|level| compat_lack(hello, *level).is_none());
    match would_take {
        Some(level) if level <= allowed => Verdict::Compat(level),
        _ => {
            let compat = match allowed {
                Compat::Strict => None,
                level => compat_lack(hello, level),
            };
            let offer = Offer::of(hello);
            Verdict::Refused(Box::new(Reason { offer, modern, allowed, compat, would_take }))
        }
    }
}
