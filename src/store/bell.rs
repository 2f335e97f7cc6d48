//! Wakes whoever waits for a confirmation. A bell only says "ask again": what is true is in
//! the database, so a ring too many costs one question, and nobody relies on every ring.

use super::Confirmed;
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What one waits for: a fingerprint (FNV-1a) of device name and SSID, and of the token if
/// one is asked for. Every node and version computes it alike. Equal fingerprints of
/// different things cost a question, no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic(u64);

impl Topic {
    /// The topic of a query.
    #[must_use]
    pub fn of(device_name: &str, ssid: &str, token: Option<i64>) -> Self {
        const PRIME: u64 = 0x0100_0000_01b3;
        const START: u64 = 0xcbf2_9ce4_8422_2325;
        let token = token.map(i64::to_be_bytes);
        // 0xff is in no UTF-8 text, so where the names meet is part of the fingerprint.
        let parts = [device_name.as_bytes(), &[0xff], ssid.as_bytes(), token.as_ref().map_or(&[], |it| it)];
        let bytes = parts.into_iter().flatten();
        Self(bytes.fold(START, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME)))
    }
}

/// A confirmation that was stored, short enough for a notification between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    any: Topic,
    exact: Topic,
    id: i64,
    origin: u64,
}

impl Announcement {
    /// Of the row with this `id`, stored by the process with that [`Bell::origin`].
    pub(super) fn of(stored: &Confirmed, id: i64, origin: u64) -> Self {
        let topic = |token| Topic::of(&stored.device_name, &stored.ssid, token);
        Self { any: topic(None), exact: topic(Some(stored.hash)), id, origin }
    }

    /// Reads what [`fmt::Display`] wrote, on this node or another.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
        let (any, exact, origin) = (Topic(hex()?), Topic(hex()?), hex()?);
        let id = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { any, exact, id, origin })
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {:016x} {:016x} {}", self.any.0, self.exact.0, self.origin, self.id)
    }
}

/// Those who wait, by topic. Holds an entry only while somebody listens: bounded by whoever
/// bounds the listeners.
#[derive(Debug)]
pub struct Bell {
    topics: Mutex<Topics>,
    origin: u64,
}

/// Each with the id announced last.
type Topics = HashMap<Topic, watch::Sender<i64>>;

impl Default for Bell {
    fn default() -> Self {
        Self { topics: Mutex::default(), origin: RandomState::new().hash_one("origin") }
    }
}

impl Bell {
    /// Listens from now on; a ring between this and [`Listener::rung`] is not lost.
    #[must_use]
    pub fn listen(self: &Arc<Self>, topic: Topic) -> Listener {
        let rung = self.lock().entry(topic).or_insert_with(|| watch::Sender::new(0)).subscribe();
        let before = *rung.borrow();
        Listener { bell: Arc::clone(self), topic, before, rung }
    }

    /// Wakes those whom a confirmation may concern.
    pub(super) fn ring(&self, announced: Announcement) {
        let topics = self.lock();
        for topic in [announced.any, announced.exact] {
            if let Some(sender) = topics.get(&topic) {
                sender.send_replace(announced.id);
            }
        }
    }

    /// As [`Bell::ring`], for what was heard from the database: our own was rung for already.
    pub(super) fn ring_heard(&self, text: &str) {
        match Announcement::parse(text) {
            Some(own) if own.origin == self.origin => {}
            Some(announced) => self.ring(announced),
            None => self.ring_all(), // another version's: it may be about anybody
        }
    }

    /// Tells this process's announcements from others'.
    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    /// Wakes everybody: rings may have been missed.
    pub(super) fn ring_all(&self) {
        for sender in self.lock().values() {
            sender.send_modify(|_| {});
        }
    }

    // A map of senders is whole between any two steps, so a poisoned lock still holds it.
    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits; dropping it leaves no trace.
#[derive(Debug)]
pub struct Listener {
    bell: Arc<Bell>,
    topic: Topic,
    before: i64,
    rung: watch::Receiver<i64>,
}

impl Listener {
    /// Resolves when the bell was rung since the last time this resolved.
    pub async fn rung(&mut self) {
        if self.rung.changed().await.is_err() {
            std::future::pending::<()>().await; // the sender stays as long as we are counted
        }
    }

    /// The id of the confirmation announced last, if any was since the listening began.
    #[must_use]
    pub fn heard(&self) -> Option<i64> {
        let last = *self.rung.borrow();
        (last != self.before).then_some(last)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut topics = self.bell.lock();
        // Our own receiver is still counted.
        if topics.get(&self.topic).is_some_and(|sender| sender.receiver_count() <= 1) {
            topics.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Bell, Topic};
    use crate::store::Confirmed;
    use std::{sync::Arc, time::Duration};
    use tokio::time::timeout;

    fn stored(hash: i64) -> Confirmed {
        Confirmed {
            device_name: "Movprov".into(),
            created_at: 0,
            ssid: "M0V".into(),
            hash,
            pub_id: Some(1),
            conflict: false,
            is_anothers: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_those_concerned_and_forgets_those_who_left() {
        let bell = Arc::new(Bell::default());
        let mut any = bell.listen(Topic::of("Movprov", "M0V", None));
        let mut exact = bell.listen(Topic::of("Movprov", "M0V", Some(5)));
        let mut other = bell.listen(Topic::of("Movprov", "M0V", Some(6)));
        assert_eq!(any.heard(), None);
        bell.ring(Announcement::of(&stored(5), 7, bell.origin()));
        assert_eq!((any.heard(), other.heard()), (Some(7), None));
        any.rung().await;
        exact.rung().await;
        let pause = Duration::from_secs(1);
        assert!(timeout(pause, other.rung()).await.is_err());
        assert!(timeout(pause, any.rung()).await.is_err(), "a ring is heard once");
        bell.ring_all();
        other.rung().await;
        assert_eq!((any.heard(), other.heard()), (Some(7), None));
        bell.ring_heard(&Announcement::of(&stored(6), 8, bell.origin()).to_string());
        assert_eq!(other.heard(), None, "our own were rung for already");
        bell.ring_heard(&Announcement::of(&stored(6), 8, 1).to_string());
        assert_eq!((any.heard(), exact.heard(), other.heard()), (Some(8), Some(7), Some(8)));
        let twin = bell.listen(Topic::of("Movprov", "M0V", None));
        assert_eq!(twin.heard(), None, "what was before is not for who comes later");
        drop((any, exact, other));
        assert!(!bell.lock().is_empty());
        drop(twin);
        assert!(bell.lock().is_empty());
    }

    #[test]
    fn announcements_are_read_as_written() {
        let announced = Announcement::of(&stored(-1), i64::MAX, u64::MAX);
        assert_eq!(Announcement::parse(&announced.to_string()), Some(announced));
        // Other nodes may run another version: these figures must never change.
        let golden = "a4a1ef0f18eb6bf8 2ede19dfbf9a79e1 000000000000000b 17";
        assert_eq!(Announcement::of(&stored(13580), 17, 11).to_string(), golden);
        for text in ["", "1 2 3", "1 2 3 x", "x 1 2 3", "1 2 3 4 5"] {
            assert_eq!(Announcement::parse(text), None, "{text}");
        }
    }

    #[test]
    fn topics_tell_names_apart() {
        assert_ne!(Topic::of("ab", "c", None), Topic::of("a", "bc", None));
        assert_ne!(Topic::of("a", "b", None), Topic::of("a", "b", Some(0)));
    }
}
