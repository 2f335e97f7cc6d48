//! A socket before TLS.

pub mod replay;
