//! Who is at the other end: the client's certificate chain, the same from both stacks.

/// A client certificate chain as the peer presented it; its key is proven, nothing else is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Lower-case hex SHA-256 of the leaf's DER.
    pub certificate_id: String,
}
