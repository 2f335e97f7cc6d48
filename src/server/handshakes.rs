//! Threads of their own for handshakes, so that a storm of them leaves established connections
//! their share.
//!
//! A handshake computes for half a millisecond (the RSA signature) without giving way. On the
//! threads that serve packets, two thousand of them stand before each packet in each of the
//! queues it passes; on threads beside those the kernel divides the processors fairly.

use std::{io, thread::available_parallelism};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// The threads; as many as cores, for a server that has nothing else to do than to shake hands.
pub(super) struct Handshakes {
    runtime: Option<Runtime>,
}

impl Handshakes {
    /// # Errors
    /// The system gives no threads.
    pub(super) fn new() -> io::Result<Self> {
        let threads = available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("m0v-handshake")
            .enable_time()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Does `work` there; it ends when this is dropped. `None` if it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.runtime.as_ref()?;
        AbortOnDropHandle::new(runtime.spawn(work)).await.ok()
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // Where this is dropped no thread may wait for others to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
