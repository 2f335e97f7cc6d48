//! How the file is opened: made private, durable, and left usable by other processes.

use super::error::Fault;
use crate::store::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

/// How long another process may hold the file's write lock before we say so.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// What the write-ahead log is cut back to once it was copied into the file, in bytes.
const WAL_KEPT: i64 = 64 << 20;

/// Statements kept prepared on each connection; there are about twenty.
const STATEMENTS: usize = 32;

/// The connection that writes; makes the file (mode 0600) if there is none.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    make(path)?;
    connect(path)
        .and_then(|connection| {
            let mode: String =
                connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
            if mode != "wal" {
                let text = format!("{}: no write-ahead log on this file system", path.display());
                return Err(StoreError::Refused(text).into());
            }
            connection.pragma_update(None, "synchronous", "full")?; // COMMIT returns after fsync
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
            Ok(connection)
        })
        .map_err(|fault| fault.explain(path))
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    connect(path)
        .and_then(|connection| {
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        })
        .map_err(|fault| fault.explain(path))
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// SQLite would make it readable for all; the files beside it (-wal, -shm) take its mode.
///
/// A file that exists is left alone, and one that was made is never closed: closing *any*
/// descriptor of it ends the locks this process has on it (POSIX), and another process could
/// then take the write-ahead log away under a connection that is still writing.
fn make(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            std::mem::forget(file);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot_make(path, &error)),
    }
}

fn cannot_make(path: &Path, error: &io::Error) -> StoreError {
    let directory = path.parent().unwrap_or(path).display();
    let text = match error.kind() {
        ErrorKind::NotFound => format!("{}: no directory {directory}", path.display()),
        ErrorKind::PermissionDenied => format!("{}: no right to make it in {directory}", path.display()),
        _ => format!("{}: {error}", path.display()),
    };
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Unavailable(text),
        _ => StoreError::Refused(text),
    }
}

/// At the start this is a matter of rights, later (out of descriptors) it may pass.
fn cannot_open(path: &Path, error: &rusqlite::Error) -> StoreError {
    let hint = if path.is_dir() { "it is a directory" } else { "m0v needs the right to read and write it" };
    StoreError::Refused(format!("{}: {error}: {hint}", path.display()))
}
