//! What can go wrong with a database, by what the caller must do about it.

use crate::protocol::reply::Refusal;

/// A failure of the store. Messages name the object and what to do; never a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, starting, shutting down, out of resources, read-only: try again
    /// (SQLSTATE 08, 40, 53, 55, 57, 25006; `SQLITE_BUSY`, `SQLITE_FULL`, I/O errors).
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// It is there, but this call met its deadline: behind a lock, or behind too many others.
    /// Says nothing about whether the database is up.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// It answers, and says no: wrong password, no such database, missing right, a broken
    /// or foreign schema. Retrying cannot help; someone must act.
    #[error("the database refuses m0v: {0}")]
    Refused(String),
    /// Its settings would break the promise (`fsync` or `full_page_writes` off).
    #[error("the database is not durable: {0}")]
    Unsafe(String),
    /// Written by a newer m0v.
    #[error("the database has schema version {found}, this m0v knows up to {known}: run the newer m0v")]
    SchemaTooNew {
        /// The version found.
        found: i64,
        /// The newest version this binary knows.
        known: i64,
    },
}

impl StoreError {
    /// What a device is told; the operator reads the rest in the log.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        if matches!(self, Self::Busy(_)) { Refusal::Busy } else { Refusal::Unavailable }
    }

    /// Whether the same call may succeed later without anyone acting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_))
    }
}
