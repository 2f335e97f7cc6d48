//! A socket before TLS.
