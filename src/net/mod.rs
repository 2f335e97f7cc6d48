//! A socket before TLS: binding, admission, the PROXY header, replay of what was read ahead.

pub mod accept;
pub mod admission;
pub mod authority;
pub mod listen;
pub mod plain;
pub mod proxied;
pub mod proxy;
pub mod rate;
pub mod remote;
pub mod replay;
pub mod socket;
pub mod write_deadline;
