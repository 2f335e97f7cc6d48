//! Port 38979: confirmations and queries.
