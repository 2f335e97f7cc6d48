//! The secret that nodes have in common, from the configuration to a sealer.

use crate::config::{Config, Database};
use crate::store::{SealError, Sealer};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why `[database] secret_file` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not there, not ours.
    #[error("[database] secret_file {path}: {source}")]
    Io {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too short to be one.
    #[error(
        "[database] secret_file {path}: holds {found} bytes, at least {} are needed, such as \
         `openssl rand -base64 32` prints",
        Config::SECRET_MIN_BYTES
    )]
    Short {
        /// As configured.
        path: PathBuf,
        /// White space around it not counted.
        found: usize,
    },
    /// The crypto library refuses.
    #[error("[database] secret: {0}")]
    Seal(#[from] SealError),
}

/// Makes a sealer of the configured secret; `None` without one.
pub(super) fn sealer(database: &Database) -> Result<Option<Sealer>, SecretError> {
    if let Some(secret) = &database.secret {
        return Ok(Some(Sealer::new(secret.expose_secret().trim().as_bytes())?));
    }
    let Some(path) = &database.secret_file else { return Ok(None) };
    let failed = |source| SecretError::Io { path: path.clone(), source };
    let text = Zeroizing::new(fs::read(path).map_err(failed)?);
    warn_if_open(path).map_err(failed)?;
    let secret = text.trim_ascii();
    if secret.len() < Config::SECRET_MIN_BYTES {
        return Err(SecretError::Short { path: path.clone(), found: secret.len() });
    }
    Ok(Some(Sealer::new(secret)?))
}

fn warn_if_open(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        log::warn!("[database] secret_file {}: open to every user (mode {mode:04o})", path.display());
    }
    Ok(())
}
