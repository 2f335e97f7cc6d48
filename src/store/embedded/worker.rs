//! A thread that owns a connection and does what it is sent, one thing after the other.

use super::error::Fault;
use crate::store::StoreError;
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    thread::JoinHandle,
};
use tokio::sync::{mpsc, oneshot};

/// Waiting jobs; whoever comes next waits for room. A few lanes and confirmations, each of
/// which waits for its answer, never fill it.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The answer to a job, to be awaited.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// The thread. Dropping this ends it after the jobs already sent, and waits for that.
pub(super) struct Worker {
    path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread called `name` on a connection to `path`.
    pub(super) fn start(name: &str, path: &Path, mut connection: Connection) -> Result<Self, StoreError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the database: {error}")))?;
        Ok(Self { path: path.to_owned(), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Sends a job. Once this returns, the job will be done, whether its answer is awaited or not.
    pub(super) async fn send<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Answer<T>, StoreError> {
        let (answer, receiver) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            let result = job(connection).map_err(|fault| fault.explain(&path));
            if answer.send(result).is_err() {
                log::debug!("nobody waits for the database's answer any more");
            }
        });
        let jobs = self.jobs.as_ref().ok_or_else(|| self.gone())?;
        jobs.send(job).await.map_err(|_| self.gone())?;
        Ok(receiver)
    }

    /// Sends a job and waits for its answer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.send(job).await?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// The thread ended before its time: it panicked, a bug.
    pub(super) fn gone(&self) -> StoreError {
        StoreError::Refused(format!("{}: its thread ended", self.path.display()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the database's thread panicked: {}", self.path.display());
        }
    }
}
