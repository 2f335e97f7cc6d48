//! A look at a spool from outside, beside the server that uses it. Changes nothing.

use super::{
    super::error::Fault,
    FILE,
    open::{is_damage, judge},
    rows,
};
use crate::store::{Micros, StoreError};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long the server may keep the file to itself; it does for moments only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// What lies in a spool's folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The file; `None` before the first start.
    pub found: Option<Found>,
    /// Files that were damaged and set aside.
    pub set_aside: Vec<PathBuf>,
}

/// A spool's file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be.
    Sound {
        /// Its name in `ingest`.
        node: i64,
        /// Packets that wait.
        rows: u64,
        /// What they count for against the bound.
        bytes: u64,
        /// When the one that waits longest was thanked.
        oldest: Option<Micros>,
    },
    /// Damaged: the next start sets it aside.
    Broken(String),
}

/// Looks into `dir`, a spool's folder. SQLite alone opens the file, and only to read.
///
/// # Errors
/// What is there cannot be read, or is of a newer m0v.
pub fn inspect(dir: &Path) -> Result<Inspection, StoreError> {
    let cannot = |path: &Path, error: &io::Error| {
        StoreError::Refused(format!("the spool: {}: {error}", path.display()))
    };
    let set_aside = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Inspection::default()),
        Err(error) => return Err(cannot(dir, &error)),
        Ok(entries) => set_aside(entries).map_err(|error| cannot(dir, &error))?,
    };
    let path = dir.join(FILE);
    let found = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(cannot(&path, &error)),
        Ok(_) => Some(look(&path).map_err(|fault| fault.explain(&path))?),
    };
    Ok(Inspection { found, set_aside })
}

fn look(path: &Path) -> Result<Found, Fault> {
    match read(path) {
        Err(Fault::Sql(error)) if is_damage(&error) => Ok(Found::Broken(error.to_string())),
        found => found,
    }
}

fn read(path: &Path) -> Result<Found, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let moment = connection.transaction()?; // of which all that follows is told
    if let Some(why) = judge(&moment)? {
        return Ok(Found::Broken(why));
    }
    let node = moment.query_row("SELECT node FROM meta", [], |row| row.get(0))?;
    let (rows, bytes) = rows::count(&moment)?;
    Ok(Found::Sound { node, rows, bytes, oldest: rows::oldest(&moment)? })
}

/// By name, and without what SQLite keeps beside each.
fn set_aside(entries: fs::ReadDir) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_one = |name: &str| {
            name.strip_prefix(FILE).is_some_and(|rest| rest.starts_with(".damaged"))
                && !name.ends_with("-wal")
                && !name.ends_with("-shm")
        };
        if path.file_name().and_then(OsStr::to_str).is_some_and(is_one) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
