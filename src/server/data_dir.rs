//! `data_dir`: made once, private, and one server's at a time.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock, and this server's name in `ingest`.
const NODE: &str = "node";

/// Why `data_dir` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Not there and not to be made, or not ours.
    #[error("data_dir {path}: {source}")]
    Io {
        /// The folder or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two servers on one folder would share spool and certificates.
    #[error("data_dir {path}: another m0v is serving from it; stop it or choose another data_dir")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The lock file holds something else than a node id.
    #[error("{path}: not a node id; remove the file to get a new one")]
    Node {
        /// The file.
        path: PathBuf,
    },
}

/// Makes the folder (0700) if it is missing.
pub(super) fn make(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// The folder, locked for this process until dropped.
pub(super) struct DataDir {
    path: PathBuf,
    node: i64,
    _lock: File,
}

impl DataDir {
    /// Makes the folder (0700) if it is missing and locks it. The lock file also holds the
    /// node id: random, made once, the name of this server's batches in `ingest`.
    pub(super) fn open(path: &Path) -> Result<Self, DataDirError> {
        make(path)?;
        let file = path.join(NODE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(at(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(DataDirError::Io { path: file, source }),
        }
        let node = read_node(&mut lock).map_err(at(&file))?.ok_or(DataDirError::Node { path: file })?;
        let this = Self { path: path.to_owned(), node, _lock: lock };
        this.forget(super::LISTENERS);
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// This server's name in `ingest`.
    pub(super) fn node(&self) -> i64 {
        self.node
    }

    /// Removes a file of ours that must not outlive its truth.
    pub(super) fn forget(&self, name: &str) {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", path.display());
            }
            _ => {}
        }
    }
}

/// The addresses of the server that runs on this folder now; empty when none does.
pub fn running_listeners(path: &Path) -> Vec<SocketAddr> {
    let held = File::open(path.join(NODE))
        .is_ok_and(|node| matches!(node.try_lock(), Err(TryLockError::WouldBlock)));
    if !held {
        return Vec::new();
    }
    let text = fs::read(path.join(super::LISTENERS)).unwrap_or_default();
    let listeners: BTreeMap<String, Vec<SocketAddr>> = serde_json::from_slice(&text).unwrap_or_default();
    listeners.into_values().flatten().collect()
}

/// `None` when the file holds something else.
fn read_node(file: &mut File) -> io::Result<Option<i64>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if !text.is_empty() {
        return Ok(text.trim().parse().ok());
    }
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    let node = i64::from_ne_bytes(bytes);
    file.rewind()?;
    writeln!(file, "{node}")?;
    file.sync_all()?;
    Ok(Some(node))
}
