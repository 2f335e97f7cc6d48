//! The chain and key being served: one place that both stacks read at every handshake.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::chain::CertifiedChain;

/// Holds the chain of all sections; swapping it drops no connection.
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

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
