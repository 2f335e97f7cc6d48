//! Passwords, hashed and checked with Argon2id: as many at once as there are cores, on threads of
//! a low priority, so that a broker that starts anew with all its devices leaves the meter port its
//! share. What was checked is remembered for a minute.
//!
//! A name that nobody has costs what a wrong password costs: it is checked against a decoy.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::{
    error::Unspecified,
    hmac::{self, HMAC_SHA256},
    pbkdf2, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use std::{
    collections::HashMap,
    io,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use zeroize::Zeroizing;

/// Argon2id as OWASP advises: memory in KiB, passes, lanes.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bytes of a salt and of a hash, as RFC 9106 advises.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// mosquitto's own form of PBKDF2-SHA512: bytes of a salt and of a hash, and its rounds. mosquitto
/// checks in its only thread, and a password of ours is 190 random bits: rounds add nothing.
const MOSQUITTO_SALT_BYTES: usize = 12;
const MOSQUITTO_HASH_BYTES: usize = 64;
const MOSQUITTO_ROUNDS: NonZeroU32 = NonZeroU32::new(101).expect("not zero");

/// Jobs that wait, some 15 ms each: whoever comes when it is full would wait longer than brokers do.
const QUEUE: usize = 512;

/// A check is remembered for so long. What is remembered hangs on the stored hash, so a changed
/// password is never answered from here; a disabled account is not asked about.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Checks remembered: right ones, of which there are only as many as there are accounts, and wrong
/// ones, of which anybody can make any number.
const MOST_RIGHT: usize = 65_536;
const MOST_WRONG: usize = 4_096;

/// Added to the threads' niceness.
const NICENESS: i32 = 10;

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVerdict {
    /// [`QUEUE`] is full.
    #[error("too many passwords wait to be checked")]
    Overloaded,
    /// The machine gives no randomness or no memory.
    #[error("this machine cannot hash passwords now")]
    Failed,
}

/// A password's hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Argon2id, as a PHC string.
    pub argon2: String,
    /// PBKDF2-SHA512, as mosquitto 2.0 writes it.
    pub mosquitto: String,
}

/// The threads, and what they found out lately. Dropping it ends the threads, after the job each
/// is at.
pub struct Passwords {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    decoy: String,
    key: hmac::Key,
    remembered: Mutex<Remembered>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Passwords {
    /// Starts a thread for each core.
    ///
    /// # Errors
    /// The system grants no threads or no randomness.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = (0..cores).map(|number| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("m0v-password-{number}")).spawn(move || work(&queue))
        });
        let no_randomness = |Unspecified| io::Error::other("no randomness");
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(no_randomness)?;
        Ok(Self {
            jobs: Some(jobs),
            threads: threads.collect::<Result<_, _>>()?,
            decoy: decoy().map_err(no_randomness)?,
            key: hmac::Key::new(HMAC_SHA256, &*key),
            remembered: Mutex::default(),
        })
    }

    /// Hashes a new password in both forms.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<Hashed, NoVerdict> {
        self.run(move || hash(password.as_bytes())).await?
    }

    /// Whether this is the password of a stored hash; `None` is nobody's, and takes as long.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub async fn check(
        &self,
        username: &str,
        password: &[u8],
        stored: Option<&str>,
    ) -> Result<bool, NoVerdict> {
        let hash = stored.unwrap_or(&self.decoy);
        let tag = self.tag([username.as_bytes(), password, hash.as_bytes()]);
        let now = Instant::now();
        if let Some(verdict) = self.remembered(|remembered| remembered.verdict(&tag, now)) {
            return Ok(verdict && stored.is_some());
        }
        let (password, hash, decoy) =
            (Zeroizing::new(password.to_vec()), hash.to_owned(), self.decoy.clone());
        let is_right = self.run(move || verify(&password, &hash, &decoy)).await? && stored.is_some();
        self.remembered(|remembered| remembered.keep(tag, is_right, now));
        Ok(is_right)
    }

    /// One value of all three, that nobody without this process's key can compute.
    fn tag(&self, parts: [&[u8]; 3]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoVerdict> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever gave up waiting is not worked for.
            if !answer.is_closed() {
                answer.send(work()).ok();
            }
        });
        let jobs = self.jobs.as_ref().ok_or(NoVerdict::Failed)?;
        jobs.try_send(job).map_err(|_| NoVerdict::Overloaded)?;
        answered.await.map_err(|_| NoVerdict::Failed)
    }

    // A map is whole between any two steps, so a poisoned lock still holds it.
    fn remembered<T>(&self, use_it: impl FnOnce(&mut Remembered) -> T) -> T {
        use_it(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that checks passwords panicked");
            }
        }
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux a thread has a priority of its own. Without it, the cores are shared evenly.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        log::debug!("passwords are checked at the priority of everything else: {error}");
    }
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(),
            None => return,
        }
    }
}

type Tag = [u8; 32];

/// What was checked lately.
#[derive(Default)]
struct Remembered {
    right: HashMap<Tag, Instant>,
    wrong: HashMap<Tag, Instant>,
}

impl Remembered {
    fn verdict(&self, tag: &Tag, now: Instant) -> Option<bool> {
        let is_fresh = |found: &Instant| now.saturating_duration_since(*found) < REMEMBERED_FOR;
        let known = |map: &HashMap<Tag, Instant>| map.get(tag).is_some_and(is_fresh);
        if known(&self.right) {
            return Some(true);
        }
        known(&self.wrong).then_some(false)
    }

    /// Keeps a verdict if there is room once the old ones are gone.
    fn keep(&mut self, tag: Tag, is_right: bool, now: Instant) {
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

fn argon2() -> Result<Argon2<'static>, NoVerdict> {
    let params = Params::new(MEMORY, PASSES, LANES, Some(HASH_BYTES)).map_err(|_| NoVerdict::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<Hashed, NoVerdict> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|Unspecified| NoVerdict::Failed)?;
    let hash = argon2()?.hash_password_with_salt(password, &salt).map_err(|_| NoVerdict::Failed)?;
    Ok(Hashed { argon2: hash.to_string(), mosquitto: mosquitto(password)? })
}

/// mosquitto's `$7$`: PBKDF2 with SHA-512, in base64.
fn mosquitto(password: &[u8]) -> Result<String, NoVerdict> {
    let (mut salt, mut hash) = ([0; MOSQUITTO_SALT_BYTES], [0; MOSQUITTO_HASH_BYTES]);
    rand::fill(&mut salt).map_err(|Unspecified| NoVerdict::Failed)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, MOSQUITTO_ROUNDS, &salt, password, &mut hash);
    Ok(format!("$7${MOSQUITTO_ROUNDS}${}${}", STANDARD.encode(salt), STANDARD.encode(hash)))
}

/// A hash that is not of our making (somebody wrote into the table) takes its time as well.
fn verify(password: &[u8], stored: &str, decoy: &str) -> bool {
    let hash = PasswordHash::new(stored).or_else(|_| PasswordHash::new(decoy));
    let (Ok(argon2), Ok(hash)) = (argon2(), hash) else { return false };
    argon2.verify_password(password, &hash).is_ok()
}

/// A hash like any other, of a password that nobody knows.
fn decoy() -> Result<String, Unspecified> {
    let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    rand::fill(&mut salt)?;
    rand::fill(&mut hash)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use super::{MOST_WRONG, NoVerdict, Passwords, QUEUE, REMEMBERED_FOR, Remembered, decoy, verify};
    use std::{sync::mpsc, time::Duration};
    use tokio::time::Instant;
    use zeroize::Zeroizing;

    #[tokio::test]
    async fn knows_the_right_password_from_every_other() {
        let passwords = Passwords::start().unwrap();
        let hashed = passwords.hash(Zeroizing::new("right".to_owned())).await.unwrap();
        assert!(hashed.argon2.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.argon2);
        assert!(hashed.mosquitto.starts_with("$7$101$"), "{}", hashed.mosquitto);
        let again = passwords.hash(Zeroizing::new("right".to_owned())).await.unwrap();
        assert!(again.argon2 != hashed.argon2 && again.mosquitto != hashed.mosquitto, "salted");
        for _ in 0..2 {
            let check =
                async |password: &[u8]| passwords.check("ann", password, Some(&hashed.argon2)).await.unwrap();
            assert!(check(b"right").await);
            for wrong in [&b"wrong"[..], b"", b"right\0", b"\xff\xfe", &[b'x'; 70_000]] {
                assert!(!check(wrong).await);
            }
            assert!(!passwords.check("ann", b"right", None).await.unwrap(), "nobody's");
            assert!(!passwords.check("ann", b"right", Some("$7$101$x$y")).await.unwrap(), "not of ours");
        }
        let remembered = passwords.remembered.lock().unwrap();
        assert_eq!((remembered.right.len(), remembered.wrong.len()), (1, 7));
    }

    #[test]
    fn a_decoy_is_a_hash_that_no_password_has() {
        let (one, other) = (decoy().unwrap(), decoy().unwrap());
        assert_ne!(one, other);
        assert!(argon2::password_hash::phc::PasswordHash::new(&one).is_ok());
        assert!(!verify(b"", &one, &other));
    }

    #[tokio::test]
    async fn refuses_when_too_many_wait() {
        let passwords = Passwords::start().unwrap();
        // Every thread held up, and the queue full.
        let (release, held) = mpsc::channel::<()>();
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let jobs = passwords.jobs.as_ref().unwrap();
        let (started, mut all_started) = tokio::sync::mpsc::channel(1000);
        for _ in 0..passwords.threads.len() {
            let (held, started) = (std::sync::Arc::clone(&held), started.clone());
            jobs.try_send(Box::new(move || {
                started.try_send(()).unwrap();
                held.lock().unwrap().recv().unwrap_err();
            }))
            .unwrap();
        }
        for _ in 0..passwords.threads.len() {
            all_started.recv().await.unwrap();
        }
        for _ in 0..QUEUE {
            jobs.try_send(Box::new(|| {})).unwrap();
        }
        assert_eq!(passwords.check("a", b"b", None).await, Err(NoVerdict::Overloaded));
        drop(release);
        while jobs.capacity() < QUEUE {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.check("a", b"b", None).await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn remembers_for_a_minute_and_not_too_much() {
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
