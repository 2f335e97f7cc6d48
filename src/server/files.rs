//! The limit of open files: the bound behind the bound on connections.

/// Descriptors kept for what is not a device: listeners, database, files, logs, and CLI
/// look-ups in `/proc`.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one; returns how many connections fit.
pub(super) fn raise_limit() -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            log::warn!("cannot raise the limit of open files: {error}");
            rlimit::Resource::NOFILE.get().map_or(1024, |(soft, _)| soft)
        }
    };
    // Half of a tiny limit, so that even that serves somebody.
    let usable = limit.saturating_sub(RESERVED).max(limit / 2);
    usize::try_from(usable).unwrap_or(usize::MAX)
}
