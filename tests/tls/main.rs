//! The tls room from outside: hellos as bytes, both stacks at the socket, chains as files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chains;
mod hellos;
mod levels;
mod local;
mod notes;
mod server;
mod sockets;
mod stacks;
