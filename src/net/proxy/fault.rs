//! Why bytes are not the PROXY header that is wanted, in the operator's words.

use ppp::{v1, v2};

/// What is wrong; the text continues "the proxy …", and quotes nothing that was sent.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// TLS, where a header should come first.
    #[error("began TLS without a PROXY header before it: let it send one, or set proxy_protocol = \"off\"")]
    Tls,
    /// Anything else.
    #[error("sent no PROXY header: let it send one, or set proxy_protocol = \"off\"")]
    NoHeader,
    /// A header of the version that is not wanted.
    #[error("sent a PROXY header {sent}, and proxy_protocol wants {wanted}")]
    Version {
        /// Which came.
        sent: &'static str,
        /// Which should have come.
        wanted: &'static str,
    },
    /// More bytes than are read.
    #[error("sent a PROXY header that is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// A v1 header that ends in LF alone.
    #[error("sent a PROXY header v1 that does not end in CR LF")]
    LineEnd,
    /// A v1 header with what is neither letter, digit, dot, colon nor space.
    #[error("sent a PROXY header v1 with characters that have no place in it")]
    Characters,
    /// A v1 header that goes on after its last port.
    #[error("sent a PROXY header v1 with more in it than two addresses and two ports")]
    Trailing,
    /// The text form, broken.
    #[error("sent a PROXY header v1 that cannot be read: {0}")]
    V1(#[source] v1::BinaryParseError),
    /// The binary form, broken.
    #[error("sent a PROXY header v2 that cannot be read: {0}")]
    V2(#[source] v2::ParseError),
    /// A TLV that may come once.
    #[error("sent a PROXY header v2 with TLV type {0:#04x} twice")]
    Twice(u8),
    /// A TLV that does not hold what its type says.
    #[error("sent a PROXY header v2 with an invalid value of TLV type {0:#04x}")]
    Value(u8),
    /// A certificate that HAProxy took for text.
    #[error(
        "sent a PROXY header v2 with half a certificate in TLV type 0xe5: HAProxy ends it at its first NUL, so let it \
         send %[ssl_c_der,base64]"
    )]
    CutShort,
    /// The header was changed on its way.
    #[error("sent a PROXY header v2 with a wrong checksum")]
    Checksum,
}

impl Fault {
    /// What came instead, as far as its first byte tells.
    pub(super) fn no_header(bytes: &[u8]) -> Self {
        const HANDSHAKE: u8 = 22;
        if bytes.first() == Some(&HANDSHAKE) { Self::Tls } else { Self::NoHeader }
    }
}
