//! The server's chain and key, swapped while it serves.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

/// How a chain is completed.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// Append the root if the chain does not end in one.
    pub append_root: bool,
    /// A folder of further PEM roots.
    pub roots: Option<PathBuf>,
}

/// A checked chain with its key, ready for both stacks.
pub struct CertifiedChain {}

/// Something the owner should know about a chain that is served all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A chain or key that cannot be served; one sentence naming the file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}", file = file.display())]
pub struct ChainError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: String,
}

/// The chain both stacks read at each handshake.
pub struct Keys {
    current: ArcSwap<CertifiedChain>,
}

impl Keys {
    /// Starts with this chain.
    #[must_use]
    pub fn new(chain: CertifiedChain) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(chain) })
    }

    /// The chain being served.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedChain> {
        self.current.load_full()
    }

    /// Serves this chain from the next handshake on; open connections keep theirs.
    pub fn swap(&self, chain: CertifiedChain) {
        self.current.store(Arc::new(chain));
    }
}

/// Reads and checks `[tls] chain` and `key`, and completes the chain.
pub fn load_files(
    chain: &Path,
    _key: &Path,
    _options: &ChainOptions,
    _now: SystemTime,
) -> Result<(CertifiedChain, Vec<Warning>), ChainError> {
    Err(ChainError { file: chain.to_owned(), fault: "not built yet".into() })
}
