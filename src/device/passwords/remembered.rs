//! What was checked lately, by a tag of name, password and stored hash: no password is kept.

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// A check is remembered for so long. What is remembered hangs on the stored hash, so a changed
/// password is never answered from here; a disabled account is not asked about.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Checks remembered: right ones, of which there are only as many as there are accounts, and wrong
/// ones, of which anybody can make any number.
const MOST_RIGHT: usize = 65_536;
const MOST_WRONG: usize = 4_096;

pub(super) type Tag = [u8; 32];

/// When each check was made.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) right: HashMap<Tag, Instant>,
    pub(super) wrong: HashMap<Tag, Instant>,
}

impl Remembered {
    pub(super) fn verdict(&self, tag: &Tag, now: Instant) -> Option<bool> {
        let is_fresh = |found: &Instant| now.saturating_duration_since(*found) < REMEMBERED_FOR;
        let known = |map: &HashMap<Tag, Instant>| map.get(tag).is_some_and(is_fresh);
        if known(&self.right) {
            return Some(true);
        }
        known(&self.wrong).then_some(false)
    }

    /// Keeps a verdict if there is room once the old ones are gone.
    pub(super) fn keep(&mut self, tag: Tag, is_right: bool, now: Instant) {
        let (map, most) =
            if is_right { (&mut self.right, MOST_RIGHT) } else { (&mut self.wrong, MOST_WRONG) };
        if map.len() >= most {
            map.retain(|_, found| now.saturating_duration_since(*found) < REMEMBERED_FOR);
        }
        if map.len() < most {
            map.insert(tag, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_WRONG, REMEMBERED_FOR, Remembered};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn remembers_for_a_minute_and_not_too_much() {
        let mut remembered = Remembered::default();
        let tag = |number: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_be_bytes());
            tag
        };
        let start = Instant::now();
        for number in 0..MOST_WRONG + 10 {
            remembered.keep(tag(number), false, start);
        }
        remembered.keep(tag(usize::MAX), true, start);
        assert_eq!(remembered.wrong.len(), MOST_WRONG);
        let almost = start + REMEMBERED_FOR - Duration::from_millis(1);
        assert_eq!(remembered.verdict(&tag(0), almost), Some(false));
        assert_eq!(remembered.verdict(&tag(usize::MAX), almost), Some(true), "no flood drives it out");
        let later = start + REMEMBERED_FOR;
        assert_eq!(remembered.verdict(&tag(usize::MAX), later), None);
        remembered.keep(tag(MOST_WRONG + 10), false, later);
        assert_eq!(remembered.wrong.len(), 1);
    }
}
