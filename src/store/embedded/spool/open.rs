//! How the file is opened: checked first; a broken one is set aside, and what can be read of it saved.

use super::{
    super::{error::Fault, open as sqlite},
    salvage,
};
use crate::store::StoreError;
use rusqlite::{Connection, OpenFlags, ffi};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The newest version this binary knows.
const KNOWN: i64 = 1;

const SCHEMA: &str = include_str!("schema.sql");

/// Pages (4 KiB) after which the write-ahead log is copied into the file: small, because it
/// comes on top of the spool's bound.
const CHECKPOINT_PAGES: i64 = 512;

/// In the spool's folder: one server's at a time. Two would drain each other's batches.
const LOCK: &str = "lock";

/// Makes the folder (0700) if it is missing, and locks it until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| cannot(dir, &error))?;
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|error| cannot(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(cannot(&path, &error)),
        Err(TryLockError::WouldBlock) => {
            let text =
                format!("the spool {}: another m0v uses it; choose another [spool] dir", dir.display());
            Err(StoreError::Refused(text))
        }
    }
}

/// The connection, and the spool's node number.
pub(super) fn open(path: &Path) -> Result<(Connection, i64), StoreError> {
    match look(path).map_err(|fault| fault.explain(path))? {
        State::Absent => make(path),
        State::Sound => writer(path),
        State::Broken(why) => replace(path, &why),
    }
}

enum State {
    Absent,
    Sound,
    Broken(String),
}

/// Looks before anything writes. The file itself is opened by SQLite alone: its locks would end
/// with any other descriptor of it that this process closes.
fn look(path: &Path) -> Result<State, Fault> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
        Err(error) => return Err(cannot(path, &error).into()),
        // Cut off before its first table, or to nothing.
        Ok(file) if file.len() == 0 && !beside(path, "-wal").exists() => {
            log::warn!("{}: empty, beginning anew", path.display());
            return Ok(State::Absent);
        }
        Ok(_) => {}
    }
    match check(path) {
        Ok(None) => Ok(State::Sound),
        Ok(Some(why)) => Ok(State::Broken(why)),
        Err(Fault::Sql(error)) if is_damage(&error) => Ok(State::Broken(error.to_string())),
        Err(fault) => Err(fault),
    }
}

fn check(path: &Path) -> Result<Option<String>, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Closed without a checkpoint: what is broken stays as it was found.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    judge(&connection)
}

/// `None` when sound, else what is wrong.
pub(super) fn judge(connection: &Connection) -> Result<Option<String>, Fault> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > KNOWN {
        return Err(StoreError::SchemaTooNew { found, known: KNOWN }.into());
    }
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Some(verdict));
    }
    if found < KNOWN {
        return Ok(Some("it has no tables of a spool".to_owned()));
    }
    connection.query_row("SELECT node FROM meta", [], |row| row.get::<_, i64>(0))?;
    Ok(None)
}

/// Whether the error comes of what the file holds.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::QueryReturnedNoRows)
        || error.sqlite_error().is_some_and(|error| {
            matches!(
                error.extended_code & 0xff,
                ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_ERROR | ffi::SQLITE_FORMAT
            ) || error.extended_code == ffi::SQLITE_IOERR_SHORT_READ
        })
}

fn make(path: &Path) -> Result<(Connection, i64), StoreError> {
    let mut connection = sqlite::writer(path)?;
    tables(&mut connection).map_err(|fault| fault.explain(path))?;
    drop(connection);
    writer(path)
}

fn tables(connection: &mut Connection) -> Result<(), Fault> {
    // The file gives back what is drained; in a file that exists already VACUUM brings that about.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.execute_batch("VACUUM")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    Ok(transaction.commit()?)
}

fn writer(path: &Path) -> Result<(Connection, i64), StoreError> {
    let connection = sqlite::writer(path)?;
    let settle = || -> Result<i64, Fault> {
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * 4096)?;
        Ok(connection.query_row("SELECT node FROM meta", [], |row| row.get(0))?)
    };
    let node = settle().map_err(|fault| fault.explain(path))?;
    Ok((connection, node))
}

/// Sets the broken file aside and begins anew with what can be read of it.
fn replace(path: &Path, why: &str) -> Result<(Connection, i64), StoreError> {
    let aside = aside(path);
    for end in ["", "-wal", "-shm"] {
        match fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if end.is_empty() || error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot(path, &error));
            }
            _ => {}
        }
    }
    log::error!("the spool {} is damaged ({why}): set aside as {}", path.display(), aside.display());
    let (mut connection, _) = make(path)?;
    let saved = salvage::save(&aside, &mut connection).map_err(|fault| fault.explain(path))?;
    log::error!("{saved}");
    let node = connection
        .query_row("SELECT node FROM meta", [], |row| row.get(0))
        .map_err(|error| Fault::from(error).explain(path))?;
    Ok((connection, node))
}

/// A name that is free: `spool.sqlite.damaged-1732300000`.
fn aside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut names = (now..).map(|number| beside(path, &format!(".damaged-{number}")));
    names.find(|name| !name.exists()).unwrap_or_else(|| beside(path, ".damaged"))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn cannot(path: &Path, error: &io::Error) -> StoreError {
    let text = format!("the spool: {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Unavailable(text),
        _ => StoreError::Refused(text),
    }
}
