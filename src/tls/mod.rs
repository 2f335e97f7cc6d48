//! The hello, the two stacks, keys and chains.

mod acceptor;
mod failure;
mod keys;
mod local;
mod peer;
mod stream;
mod verdict;

pub use acceptor::{Acceptor, AcceptorOptions, SetupError};
pub use failure::Failure;
pub use keys::{CertifiedChain, ChainError, ChainOptions, Keys, Warning, load_files};
pub use local::{LocalError, LocalFiles, ensure_local};
pub use peer::Peer;
pub use stream::{Session, Stack, Stream};
pub use verdict::{Compat, Reason};
