//! What each error of SQLite means for the caller: one table, on purpose.

use crate::store::StoreError;
use rusqlite::{Error, ErrorCode, ffi};
use std::path::Path;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same call may succeed later.
    Retry,
    /// This row is at fault, and only this row.
    RejectRow,
    /// Someone must act.
    Stop,
}

/// The remedy for a failure.
pub(super) fn remedy(error: &Error) -> Remedy {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged,
        ) => Remedy::Retry,
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            Remedy::RejectRow
        }
        _ => Remedy::Stop,
    }
}

/// Whether the row names a device that is not there.
pub(super) fn is_foreign_key(error: &Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// A failure on the way to an answer: SQLite's, or one already explained.
#[derive(Debug)]
pub(super) enum Fault {
    /// To be explained.
    Sql(Error),
    /// Explained.
    Store(StoreError),
}

impl Fault {
    /// The failure in the store's words.
    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(error) => {
                let text = format!("{}: {error}", path.display());
                match remedy(&error) {
                    Remedy::Retry => StoreError::Unavailable(text),
                    Remedy::RejectRow | Remedy::Stop => StoreError::Refused(text),
                }
            }
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::{Remedy, is_foreign_key, remedy};
    use rusqlite::{Error, ffi};

    fn failure(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn maps_every_code_on_purpose() {
        let table = [
            (ffi::SQLITE_BUSY, Remedy::Retry),
            (ffi::SQLITE_LOCKED, Remedy::Retry),
            (ffi::SQLITE_FULL, Remedy::Retry),
            (ffi::SQLITE_IOERR, Remedy::Retry),
            (ffi::SQLITE_IOERR_FSYNC, Remedy::Retry),
            (ffi::SQLITE_NOMEM, Remedy::Retry),
            (ffi::SQLITE_CANTOPEN, Remedy::Retry),
            (ffi::SQLITE_PROTOCOL, Remedy::Retry),
            (ffi::SQLITE_CONSTRAINT_CHECK, Remedy::RejectRow),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, Remedy::RejectRow),
            (ffi::SQLITE_TOOBIG, Remedy::RejectRow),
            (ffi::SQLITE_MISMATCH, Remedy::RejectRow),
            (ffi::SQLITE_CORRUPT, Remedy::Stop),
            (ffi::SQLITE_NOTADB, Remedy::Stop),
            (ffi::SQLITE_READONLY, Remedy::Stop),
            (ffi::SQLITE_PERM, Remedy::Stop),
            (ffi::SQLITE_ERROR, Remedy::Stop),
            (ffi::SQLITE_MISUSE, Remedy::Stop),
        ];
        for (code, expected) in table {
            assert_eq!(remedy(&failure(code)), expected, "{code}");
        }
        assert!(is_foreign_key(&failure(ffi::SQLITE_CONSTRAINT_FOREIGNKEY)));
        assert!(!is_foreign_key(&failure(ffi::SQLITE_CONSTRAINT_CHECK)));
    }
}
