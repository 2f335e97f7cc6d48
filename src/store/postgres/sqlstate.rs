//! What each error of PostgreSQL means for the caller: one table, on purpose.

use super::super::StoreError;
use std::fmt::Display;
use tokio_postgres::{Error, error::SqlState};

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The same call may succeed later, on a new connection.
    Retry,
    /// This row is at fault, and only this row.
    RejectRow,
    /// Someone must act.
    Stop,
}

/// Classes (the first two characters of a SQLSTATE) and single states, the longer first.
/// What is not listed is [`Remedy::Stop`]: wrong passwords (28), missing databases (3D),
/// missing tables and rights (42), internal errors (XX) and whatever is invented later.
const REMEDIES: [(&str, Remedy); 10] = [
    ("25006", Remedy::Retry),  // read-only: a standby, after a failover
    ("25P03", Remedy::Retry),  // idle in transaction for too long: the session is gone
    ("08", Remedy::Retry),     // connection
    ("40", Remedy::Retry),     // serialization failure, deadlock
    ("53", Remedy::Retry),     // out of disk, memory, connections
    ("55", Remedy::Retry),     // lock not available
    ("57", Remedy::Retry),     // cancelled, shutting down, starting up
    ("58", Remedy::Stop),      // its files fail
    ("22", Remedy::RejectRow), // a value it cannot take
    ("23", Remedy::RejectRow), // a constraint
];

/// The remedy for a state.
pub(super) fn remedy(state: &SqlState) -> Remedy {
    let known = REMEDIES.iter().find(|(prefix, _)| state.code().starts_with(prefix));
    known.map_or(Remedy::Stop, |(_, remedy)| *remedy)
}

/// The remedy for a failure, also where PostgreSQL itself did not get to speak.
pub(super) fn remedy_of(error: &Error) -> Remedy {
    match error.code() {
        Some(state) => remedy(state),
        None if is_final(error) => Remedy::Stop,
        None => Remedy::Retry,
    }
}

/// The failure in the store's words. `target` names host, port, database and user.
pub(super) fn explain(error: &Error, target: &impl Display) -> StoreError {
    let text = format!("{target}: {}", describe(error));
    match remedy_of(error) {
        Remedy::Retry => StoreError::Unavailable(text),
        Remedy::RejectRow | Remedy::Stop => StoreError::Refused(text),
    }
}

/// One line for the operator. PostgreSQL's DETAIL is left out: it holds values of rows.
pub(super) fn describe(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// Failures of our own side that time does not heal: a certificate we do not trust, no TLS
/// where it is required, a password that is missing, a column of another type. Whatever else
/// came without a SQLSTATE is the connection's fault.
fn is_final(error: &Error) -> bool {
    let Some(source) = std::error::Error::source(error) else { return false };
    match source.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{Remedy, remedy};
    use tokio_postgres::error::SqlState;

    #[test]
    fn maps_every_class_on_purpose() {
        let table = [
            ("08006", Remedy::Retry),
            ("08P01", Remedy::Retry),
            ("40001", Remedy::Retry),
            ("40P01", Remedy::Retry),
            ("53100", Remedy::Retry),
            ("53300", Remedy::Retry),
            ("55P03", Remedy::Retry),
            ("57014", Remedy::Retry),
            ("57P01", Remedy::Retry),
            ("57P03", Remedy::Retry),
            ("25006", Remedy::Retry),
            ("25P03", Remedy::Retry),
            ("22003", Remedy::RejectRow),
            ("22P02", Remedy::RejectRow),
            ("22P05", Remedy::RejectRow),
            ("23502", Remedy::RejectRow),
            ("23503", Remedy::RejectRow),
            ("23505", Remedy::RejectRow),
            ("23514", Remedy::RejectRow),
            ("0A000", Remedy::Stop),
            ("25P02", Remedy::Stop),
            ("26000", Remedy::Stop),
            ("28000", Remedy::Stop),
            ("28P01", Remedy::Stop),
            ("3D000", Remedy::Stop),
            ("42501", Remedy::Stop),
            ("42P01", Remedy::Stop),
            ("54000", Remedy::Stop),
            ("58030", Remedy::Stop),
            ("P0001", Remedy::Stop),
            ("XX000", Remedy::Stop),
            ("XX001", Remedy::Stop),
        ];
        for (code, expected) in table {
            assert_eq!(remedy(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
