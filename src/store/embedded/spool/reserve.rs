//! Space kept back on the spool's disk. Even to remove a packet SQLite has to write; on a disk
//! that the spool itself has filled the drain could not begin.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Room for what the write-ahead log holds when it is copied into the file, and one batch.
const BYTES: usize = 2 << 20;

/// The file, in the spool's folder.
const FILE: &str = "reserve";

/// The space, as a file of zeros that can be removed.
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// Makes it, if there is room.
    pub(super) fn make(dir: &Path) -> Self {
        let this = Self(dir.join(FILE));
        this.renew();
        this
    }

    /// Makes it again after it was spent.
    pub(super) fn renew(&self) {
        let whole = fs::metadata(&self.0).is_ok_and(|file| file.len() >= BYTES as u64);
        if whole {
            return;
        }
        if let Err(error) = self.fill() {
            log::warn!("no room to keep back in {}: {error}", self.0.display());
            self.remove();
        }
    }

    /// Gives the space back if `why` says that it is needed. Whether it did.
    pub(super) fn spend(&self, why: &str) -> bool {
        let is_full = why.contains("full") || why.contains("disk I/O");
        is_full && self.remove()
    }

    fn fill(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.0)?;
        let zeros = [0; 1 << 16];
        for _ in 0..BYTES / zeros.len() {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    }

    fn remove(&self) -> bool {
        match fs::remove_file(&self.0) {
            Ok(()) => {
                log::warn!("the spool's disk is full: the drain uses {} now", self.0.display());
                true
            }
            Err(_) => false,
        }
    }
}
