//! TLS: one listener, two stacks.
//!
//! [`Acceptor::accept`] reads a connection's ClientHello without touching either stack
//! ([`hello`]), judges it ([`verdict`]), and replays the bytes read into rustls if rustls can
//! serve it, else into s2n-tls if the owner's `compat` level takes it, else refuses it with an
//! alert and a [`Reason`] in words. Both stacks read the chain and key of one [`Keys`] at every
//! handshake, so a swap serves the next one. Both can ask for a client certificate ([`ClientAuth`]), of
//! which they prove that the client holds its key; who that is, is judged above, by [`Session::peer`]. [`load_files`] checks what is configured;
//! [`ensure_local`] makes a CA and certificate where nothing is.

pub mod hello;
pub mod message;
pub mod names;
pub mod verdict;

mod acceptor;
mod assemble;
mod chain;
mod check;
mod client;
mod compat;
mod element;
mod explain;
mod failure;
mod farewell;
mod keys;
mod local;
mod modern;
mod peer;
mod roots;
mod stream;

pub use acceptor::{Acceptor, AcceptorOptions, SetupError};
pub use assemble::assemble;
pub use chain::{CertifiedChain, ChainError, ChainOptions, Root, Warning, load_files, load_pem};
pub use check::{MAX_CERTIFICATES, MAX_CHAIN_BYTES};
pub use client::{ClientAuth, PeerCheck, PeerFault, Refusal, RefusalAlert};
pub use compat::CompatStream;
pub use element::Element;
pub use explain::Explanation;
pub use failure::{Alert, Failure};
pub use keys::Keys;
pub use local::{LocalFiles, ensure_local};
pub use modern::ModernStream;
pub(crate) use peer::hex;
pub use peer::{Peer, certificate_id};
pub use roots::{Roots, root_file};
pub use stream::{Session, Stack, Stream};
pub use verdict::{Compat, Offer, Reason};
