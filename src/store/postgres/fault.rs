//! What stands between an error of PostgreSQL and the store's words for it.

use super::{super::StoreError, connect::Target, sqlstate::explain};
use tokio_postgres::{Error, error::Severity};

/// A failure on the way to an answer: the database's, or one already explained.
#[derive(Debug)]
pub(super) enum Fault {
    /// To be explained.
    Sql(Error),
    /// Explained.
    Store(StoreError),
}

impl Fault {
    /// The failure in the store's words.
    pub(super) fn explain(self, target: &Target) -> StoreError {
        match self {
            Self::Sql(error) => explain(&error, target),
            Self::Store(error) => error,
        }
    }

    /// SQLSTATE, if the database gave one.
    fn state(&self) -> Option<&str> {
        match self {
            Self::Sql(error) => error.code().map(|state| state.code()),
            Self::Store(_) => None,
        }
    }

    /// The transaction lost against another one (class 40): at once again.
    pub(super) fn is_collision(&self) -> bool {
        self.state().is_some_and(|state| state.starts_with("40"))
    }

    /// The database answered with an ERROR, which ended the transaction: nothing is stored.
    /// After a FATAL, or no answer at all, that is not known, nor after an ERROR of class 08,
    /// with which a pooler says that it lost the database.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        error.as_db_error().is_some_and(|error| {
            error.parsed_severity() == Some(Severity::Error) && !error.code().code().starts_with("08")
        })
    }

    /// The connection leads to a server that became a standby (25006).
    pub(super) fn is_read_only(&self) -> bool {
        self.state() == Some("25006")
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
