//! Port 38979: confirmations and queries.

pub mod rules;
