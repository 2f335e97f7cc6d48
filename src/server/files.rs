//! The limit of open files: the bound behind the bound on connections.

/// Descriptors kept for what is neither a device nor the database: listeners, admin
/// connections, files, logs.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one; returns how many connections fit beside
/// `database` ones.
pub(super) fn raise_limit(database: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            log::warn!("cannot raise the limit of open files: {error}");
            rlimit::Resource::NOFILE.get().map_or(1024, |(soft, _)| soft)
        }
    };
    let database = u64::try_from(database).unwrap_or(u64::MAX);
    // Half of a tiny limit, so that even that serves somebody.
    let usable = limit.saturating_sub(RESERVED.saturating_add(database)).max(limit / 2);
    usize::try_from(usable).unwrap_or(usize::MAX)
}
