//! The local CA and the server certificate it signs, made once in `<data_dir>/tls/`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where the local certificate lies, and what was done this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFiles {
    /// The CA certificate a client must trust.
    pub ca: PathBuf,
    /// Leaf and CA, for [`super::load_files`].
    pub chain: PathBuf,
    /// The leaf's key, mode 0600.
    pub key: PathBuf,
    /// Whether the CA was made now.
    pub ca_made: bool,
    /// Whether the leaf was made or renewed now.
    pub leaf_made: bool,
}

/// The local certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}", file = file.display())]
pub struct LocalError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: String,
}

/// Makes what is missing and renews a leaf with less than a third of its life left; never
/// touches an existing CA. `names` are host names or addresses beside localhost. Takes up to a
/// second (RSA keys): call it where blocking is allowed.
pub fn ensure_local(dir: &Path, _names: &[String], _now: SystemTime) -> Result<LocalFiles, LocalError> {
    Err(LocalError { file: dir.to_owned(), fault: "not built yet".into() })
}
