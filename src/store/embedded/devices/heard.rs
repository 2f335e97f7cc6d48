//! What other processes did to devices, as their entries in the audit tell.

use super::super::error::Fault;
use crate::store::devices::{Change, Changes};
use rusqlite::{Connection, OptionalExtension};

/// Entries looked at one by one; beyond them anything may have changed.
const MOST: usize = 500;

/// What is new since the last look.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Heard {
    /// The last entry seen; `None` before the first look.
    last: Option<i64>,
}

/// What a look found.
#[derive(Debug)]
pub(in crate::store::embedded) struct News {
    changes: Vec<Change>,
    entries: usize,
    last: i64,
}

impl Heard {
    /// Where the next look begins.
    pub(in crate::store::embedded) fn last(&self) -> Option<i64> {
        self.last
    }

    /// Tells what a look found. Whatever was done before the first look may be news.
    pub(in crate::store::embedded) fn tell(&mut self, news: News, changes: &Changes) {
        let before = self.last.replace(news.last);
        if before.is_none() || news.entries >= MOST {
            changes.tell(Change::Everything);
        } else {
            news.changes.into_iter().for_each(|change| changes.tell(change));
        }
    }
}

/// Looks at the entries after `last`.
pub(in crate::store::embedded) fn look(connection: &Connection, last: Option<i64>) -> Result<News, Fault> {
    let Some(last) = last else {
        let last = connection.query_row("SELECT max(id) FROM audit", [], |row| row.get(0)).optional()?;
        return Ok(News { changes: Vec::new(), entries: 0, last: last.flatten().unwrap_or_default() });
    };
    let mut statement =
        connection.prepare_cached("SELECT id, what, subject FROM audit WHERE id > ?1 ORDER BY id")?;
    let mut rows = statement.query([last])?;
    let mut news = News { changes: Vec::new(), entries: 0, last };
    while let Some(row) = rows.next()? {
        let (what, subject): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        news.last = row.get(0)?;
        news.entries += 1;
        if news.entries >= MOST {
            news.last = connection.query_row("SELECT max(id) FROM audit", [], |row| row.get(0))?;
            break;
        }
        news.changes.extend(Change::of_audit(&what, &subject.unwrap_or_default()));
    }
    Ok(news)
}
