//! What a broker asks: is this the password, may this client use that topic?
//!
//! One connection of a client is a dozen questions, so an account is remembered for half a second:
//! what an operator changes is in force within a second everywhere, without anybody announcing it.

use super::{
    acl::{Pattern, Subject},
    onboarding::Trouble,
    passwords::Passwords,
};
use crate::store::{Store, StoreError, accounts::Credentials};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For so long an account is not asked for again.
const REMEMBERED_FOR: Duration = Duration::from_millis(500);

/// Accounts remembered; the rest is asked for each time.
const MOST: usize = 16_384;

/// Longest name asked for, in bytes. Ours have 32; others may have been put into the table.
const MAX_NAME_BYTES: usize = 256;

/// An account that may use a broker now.
pub struct Client {
    username: String,
    device: Option<String>,
    password_hash: String,
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
}

impl Client {
    /// What it may send to.
    #[must_use]
    pub fn publish(&self) -> &[Pattern] {
        &self.publish
    }

    /// What it may be sent.
    #[must_use]
    pub fn subscribe(&self) -> &[Pattern] {
        &self.subscribe
    }

    /// Whose patterns they are.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject { username: &self.username, device: self.device.as_deref() }
    }
}

impl From<Credentials> for Client {
    fn from(found: Credentials) -> Self {
        // What is no pattern was written into the table by hand; it allows nothing.
        let patterns = |texts: &[String]| texts.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        Self {
            publish: patterns(&found.rules.publish),
            subscribe: patterns(&found.rules.subscribe),
            username: found.username,
            device: found.device_id,
            password_hash: found.password_hash,
        }
    }
}

/// Accounts by name: when the store was asked, and what it said.
type Accounts = HashMap<String, (Instant, Option<Arc<Client>>)>;

/// Answers for all accounts.
pub struct Brokers {
    store: Arc<dyn Store>,
    passwords: Arc<Passwords>,
    remembered: Mutex<Accounts>,
}

impl Brokers {
    /// Asks this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, passwords: Arc<Passwords>) -> Self {
        Self { store, passwords, remembered: Mutex::default() }
    }

    /// The account of this name, if it may use a broker: enabled, and its device not revoked.
    ///
    /// # Errors
    /// The database's.
    pub async fn client(&self, username: &str) -> Result<Option<Arc<Client>>, StoreError> {
        if username.is_empty() || username.len() > MAX_NAME_BYTES || username.contains('\0') {
            return Ok(None);
        }
        let now = Instant::now();
        if let Some((since, client)) = self.lock().get(username)
            && now.saturating_duration_since(*since) < REMEMBERED_FOR
        {
            return Ok(client.clone());
        }
        let found = self.store.find_account(username).await?.filter(|found| found.is_active);
        let client = found.map(|found| Arc::new(Client::from(found)));
        self.remember(username, now, client.clone());
        Ok(client)
    }

    /// The account of this name, if this is its password and no other account owns the client id.
    /// Whatever is wrong, it takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn log_in(
        &self,
        username: &str,
        password: &[u8],
        client_id: Option<&str>,
    ) -> Result<Option<Arc<Client>>, Trouble> {
        let client = self.client(username).await?;
        let stored = client.as_ref().map(|client| client.password_hash.as_str());
        if !self.passwords.check(username, password, stored).await? {
            return Ok(None);
        }
        // The check may have waited for long: what counts is what the account is now.
        let Some(now) = self.client(username).await? else { return Ok(None) };
        if stored != Some(now.password_hash.as_str()) {
            return Ok(None);
        }
        let is_anothers = match client_id {
            Some(client_id) => self.is_anothers(client_id, username).await?,
            None => false,
        };
        Ok((!is_anothers).then_some(now))
    }

    /// Whether a client id is the name or the device of another account. A broker gives whoever
    /// names a client id what waits for it, so that is refused.
    ///
    /// # Errors
    /// The database's.
    pub async fn is_anothers(&self, client_id: &str, username: &str) -> Result<bool, StoreError> {
        if client_id == username || client_id.is_empty() || client_id.contains('\0') {
            return Ok(false);
        }
        self.store.is_anothers(client_id, username).await
    }

    fn remember(&self, username: &str, now: Instant, client: Option<Arc<Client>>) {
        let mut remembered = self.lock();
        if remembered.len() >= MOST {
            remembered.retain(|_, (since, _)| now.saturating_duration_since(*since) < REMEMBERED_FOR);
        }
        if remembered.len() < MOST {
            remembered.insert(username.to_owned(), (now, client));
        }
    }

    // A map is whole between any two steps, so a poisoned lock still holds it.
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
