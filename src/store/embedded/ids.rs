//! Ids that several tables share, or that may be given explicitly (table `sequence`).

use super::error::Fault;
use crate::store::StoreError;
use rusqlite::{Connection, params};

/// Explicit ids above do not count as the last one: nothing would be left to count to
/// (the same bound as on PostgreSQL, 2³² below the end of bigint).
const LAST_COUNTED_ID: i64 = i64::MAX - (1 << 32);

/// What an id is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sequence {
    /// `sub` and `csub`.
    Sub,
    /// `pub`.
    Pub,
    /// `confo` and `cconfo`.
    Confo,
}

/// Counts an id given explicitly as given out, so that it is not given to another when its row is gone.
pub(super) fn pass(connection: &Connection, id: i64) -> Result<(), Fault> {
    if id <= LAST_COUNTED_ID {
        connection
            .prepare_cached("UPDATE sequence SET last = max(last, ?1) WHERE name = 'pub'")?
            .execute([id])?;
    }
    Ok(())
}

/// Gives out the next id, past those inserted by hand. The caller holds the write lock.
pub(super) fn next(connection: &Connection, sequence: Sequence) -> Result<i64, Fault> {
    let (name, highest) = match sequence {
        Sequence::Sub => (
            "sub",
            "SELECT max(a, b) FROM (SELECT
                 (SELECT coalesce(max(sub_id), 0) FROM sub WHERE sub_id <= ?1) AS a,
                 (SELECT coalesce(max(sub_id), 0) FROM csub WHERE sub_id <= ?1) AS b)",
        ),
        Sequence::Pub => ("pub", "SELECT coalesce(max(pub_id), 0) FROM pub WHERE pub_id <= ?1"),
        Sequence::Confo => (
            "confo",
            "SELECT max(a, b) FROM (SELECT
                 (SELECT coalesce(max(id), 0) FROM confo WHERE id <= ?1) AS a,
                 (SELECT coalesce(max(id), 0) FROM cconfo WHERE id <= ?1) AS b)",
        ),
    };
    let taken: i64 = connection.prepare_cached(highest)?.query_row([LAST_COUNTED_ID], |row| row.get(0))?;
    let id: Option<i64> = connection
        .prepare_cached("UPDATE sequence SET last = max(last, ?2) + 1 WHERE name = ?1 RETURNING last")?
        .query_map(params![name, taken], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?
        .pop();
    id.ok_or_else(|| StoreError::Refused(format!("table sequence has no row {name}")).into())
}
