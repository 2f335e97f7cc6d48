//! The devices that exist, as far as this server has heard.

use super::super::error::Fault;
use rusqlite::{Connection, params};

/// All of them: (`pub_id`, `hash`).
pub(super) fn all(connection: &Connection) -> Result<Vec<(i64, Option<i64>)>, Fault> {
    let mut statement = connection.prepare("SELECT pub_id, hash FROM known")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds, changes and removes, in one commit.
pub(super) fn learn(
    connection: &mut Connection,
    changes: &[(i64, Option<Option<i64>>)],
) -> Result<(), Fault> {
    let transaction = connection.transaction()?;
    let mut add = transaction.prepare_cached(
        "INSERT INTO known (pub_id, hash) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET hash = excluded.hash
          WHERE hash IS NOT excluded.hash",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM known WHERE pub_id = ?1")?;
    for (pub_id, change) in changes {
        match change {
            Some(hash) => add.execute(params![pub_id, hash])?,
            None => remove.execute([pub_id])?,
        };
    }
    drop((add, remove));
    Ok(transaction.commit()?)
}
