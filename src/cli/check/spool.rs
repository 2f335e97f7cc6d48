//! What waits in the spool, how full it is, and what was set aside.

use super::Finding;
use crate::config::Config;
use crate::store::{
    now,
    spool::{self, Found, ROW_BYTES},
};
use std::path::Path;

/// From this share of the bound on (in percent) the spool is said to be filling.
const FILLING: u64 = 80;

/// One line for the spool, one for each file set aside; none beside the embedded store.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    if config.database.url.is_none() {
        return Vec::new();
    }
    if !config.spool.enabled {
        let text = "off: readings are refused while the database is away";
        return vec![Finding::ok("spool", text)];
    }
    let dir = config.spool_dir();
    let inspection = match spool::inspect(&dir) {
        Ok(inspection) => inspection,
        Err(error) => return vec![Finding::fault("spool", error.to_string())],
    };
    let mut findings = vec![match inspection.found {
        None => Finding::ok("spool", format!("{} is made at the first start", dir.display())),
        Some(Found::Broken(why)) => Finding::fault(
            "spool",
            format!(
                "{} is damaged ({why}): the next start sets it aside and saves what it can",
                dir.display()
            ),
        ),
        Some(Found::Sound { node, rows, bytes, oldest }) => {
            let age = oldest.map(|oldest| now().saturating_sub(oldest).max(0) / 1_000_000);
            sound(&dir, node, (rows, age), (bytes, config.spool.max_bytes))
        }
    }];
    findings.extend(inspection.set_aside.iter().map(|path| {
        let text =
            "was damaged and set aside, what can be read of it saved: remove it once nothing is missed";
        Finding::warning("spool", format!("{} {text}", path.display()))
    }));
    findings
}

/// `waiting`: packets, and the age of the oldest in seconds. `room`: bytes used, bytes allowed.
fn sound(dir: &Path, node: i64, waiting: (u64, Option<i64>), room: (u64, u64)) -> Finding {
    let ((rows, age), (bytes, max_bytes)) = (waiting, room);
    let dir = dir.display();
    let Some(age) = age.filter(|_| rows > 0) else {
        return Finding::ok("spool", format!("{dir} (node {node}): empty, {max_bytes} bytes allowed"));
    };
    let text = format!(
        "{dir} (node {node}): {rows} readings wait for the database, the oldest for {age} s, \
         {bytes} of {max_bytes} bytes"
    );
    if bytes + ROW_BYTES > max_bytes {
        return Finding::fault("spool", format!("{text}: full, readings are refused"));
    }
    if bytes >= max_bytes / 100 * FILLING {
        return Finding::warning("spool", format!("{text}: filling"));
    }
    Finding::warning("spool", text)
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, sound};
    use std::path::Path;

    #[test]
    fn grades_what_waits_by_the_room_that_is_left() {
        let grade = |rows, age, bytes| sound(Path::new("spool"), 7, (rows, age), (bytes, 12_800)).grade;
        assert_eq!(grade(0, None, 0), Grade::Ok);
        assert_eq!(grade(1, Some(0), 128), Grade::Warning);
        assert_eq!(grade(99, Some(60), 12_672), Grade::Warning);
        assert_eq!(grade(100, Some(60), 12_673), Grade::Fault);
    }

    #[test]
    fn says_when_it_fills() {
        let text = |bytes| sound(Path::new("spool"), 7, (1, Some(5)), (bytes, 12_800)).text;
        assert_eq!(
            text(128),
            "spool (node 7): 1 readings wait for the database, the oldest for 5 s, 128 of 12800 bytes"
        );
        assert!(text(10_240).ends_with(": filling"));
    }
}
