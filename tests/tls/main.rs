//! The tls room from outside: hellos as bytes, both stacks at the socket, chains as files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chains;
mod clients;
mod hellos;
mod identities;
mod levels;
mod local;
mod notes;
mod refusals;
mod resumption;
mod server;
mod sockets;
mod stacks;
