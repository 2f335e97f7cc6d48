//! Certificates judged, made and issued, without a server: tables, properties, and openssl's word.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod leaves;
mod paths;
mod pki;
mod random;
