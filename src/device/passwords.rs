//! Passwords, hashed and checked with Argon2id: as many at once as there are cores, on threads of
//! a low priority, so that a broker that starts anew with all its devices leaves the meter port its
//! share. What was checked is remembered for a minute.
//!
//! A name that nobody has costs what a wrong password costs: it is checked against a decoy.

mod hashes;
mod memory;
mod remembered;
mod threads;

pub use hashes::Hashed;

use aws_lc_rs::{
    error::Unspecified,
    hmac::{self, HMAC_SHA256},
    rand,
};
use memory::Memory;
use remembered::{Remembered, Tag};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use threads::{Kind, Threads};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Longest password that is looked at, in bytes. Ours have 32; a longer one than this is nobody's,
/// and thousands of them may wait.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVerdict {
    /// Too many wait, or its turn did not come in time.
    #[error("too many passwords wait to be checked")]
    Overloaded,
    /// The machine gives no randomness or no memory.
    #[error("this machine cannot hash passwords now")]
    Failed,
}

/// The threads, and what they found out lately. Dropping it ends the threads, after the job each
/// is at.
pub struct Passwords {
    threads: Threads,
    memory: Arc<Memory>,
    decoy: Arc<str>,
    key: hmac::Key,
    remembered: Arc<Mutex<Remembered>>,
}

impl Passwords {
    /// Starts a thread for each core.
    ///
    /// # Errors
    /// The system grants no threads or no randomness.
    pub fn start() -> io::Result<Self> {
        let no_randomness = |Unspecified| io::Error::other("no randomness");
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(no_randomness)?;
        Ok(Self {
            threads: Threads::start()?,
            memory: Arc::new(hashes::memory()),
            decoy: hashes::decoy().map_err(no_randomness)?.into(),
            key: hmac::Key::new(HMAC_SHA256, &*key),
            remembered: Arc::default(),
        })
    }

    /// Hashes a new password in both forms.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<Hashed, NoVerdict> {
        let memory = Arc::clone(&self.memory);
        self.threads.run(Kind::New, move || hashes::hash(password.as_bytes(), &memory)).await?
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
        let (password, stored) = match password.get(..MAX_PASSWORD_BYTES) {
            Some(beginning) if password.len() > MAX_PASSWORD_BYTES => (beginning, None),
            _ => (password, stored),
        };
        let hash = stored.unwrap_or(&self.decoy);
        let tag = self.tag([username.as_bytes(), password, hash.as_bytes()]);
        let remembered = Arc::clone(&self.remembered);
        if let Some(verdict) = lock(&remembered).verdict(&tag, Instant::now()) {
            return Ok(verdict);
        }
        let is_somebodys = stored.is_some();
        let (password, hash) = (Zeroizing::new(password.to_vec()), hash.to_owned());
        let (decoy, memory) = (Arc::clone(&self.decoy), Arc::clone(&self.memory));
        let check = move || {
            // The same may have been asked twice: by a client that tried again.
            let known = lock(&remembered).verdict(&tag, Instant::now());
            known.unwrap_or_else(|| {
                let is_right = hashes::verify(&password, &hash, &decoy, &memory) && is_somebodys;
                // Here, so that it is known even if whoever asked waits no more.
                lock(&remembered).keep(tag, is_right, Instant::now());
                is_right
            })
        };
        self.threads.run(Kind::Check, check).await
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
}

// A map is whole between any two steps, so a poisoned lock still holds it.
fn lock(remembered: &Mutex<Remembered>) -> std::sync::MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{MAX_PASSWORD_BYTES, Passwords, lock};
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
        let remembered = lock(&passwords.remembered);
        assert_eq!((remembered.right.len(), remembered.wrong.len()), (1, 7));
    }

    #[tokio::test]
    async fn a_password_is_read_to_its_end_or_is_nobodys() {
        let passwords = Passwords::start().unwrap();
        let longest = "x".repeat(MAX_PASSWORD_BYTES);
        let hashed = passwords.hash(Zeroizing::new(longest.clone())).await.unwrap();
        let check =
            async |password: &str| passwords.check("a", password.as_bytes(), Some(&hashed.argon2)).await;
        assert_eq!(check(&longest).await, Ok(true));
        assert_eq!(check(&(longest.clone() + "x")).await, Ok(false), "not by its beginning");
    }
}
