//! The `acme` room against judges it did not write: the real `pebble` and `openssl`, a kill
//! -9, and, for what pebble 2.4 cannot do, a scripted server. Needs the Debian packages
//! `pebble` and `openssl`.

#![allow(
    clippy::unwrap_used,
    clippy::let_underscore_must_use,
    reason = "a test that cannot go on should stop where it stands"
)]

mod alternates;
mod bad_input;
mod cache;
mod issue;
mod keep;
mod kill;
mod node;
mod pebble;
mod scripted;
mod trouble;
