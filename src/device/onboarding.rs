//! Accounts for whoever shows a token, and the handshakes of those that have one.

use super::{
    passwords::{Hashed, NoVerdict, Passwords},
    secrets,
};
use crate::net::remote::Remote;
use crate::store::{
    Store, StoreError,
    accounts::{Entry, NewAccount, Rules},
};
use aws_lc_rs::error::Unspecified;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What is allowed to whoever showed the configured token: everything, as ever.
const ALL: &str = "#";

/// What is allowed to whoever had to show nothing: a corner of their own.
const OWN: &str = "{username}/#";

/// Makes accounts and greets their devices.
pub struct Onboarding {
    store: Arc<dyn Store>,
    passwords: Arc<Passwords>,
    /// SHA-256 of the token of the configuration.
    configured: Option<String>,
}

/// An account as its device is told of it: once.
pub struct Issued {
    /// For the handshake.
    pub identity: Zeroizing<String>,
    /// For the broker.
    pub username: Zeroizing<String>,
    /// For the broker.
    pub password: Zeroizing<String>,
}

/// Why a question about accounts has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password.
    #[error(transparent)]
    Password(#[from] NoVerdict),
}

impl From<Unspecified> for Trouble {
    fn from(_: Unspecified) -> Self {
        Self::Password(NoVerdict::Failed)
    }
}

impl Onboarding {
    /// With the token of the configuration, if there is one.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, passwords: Arc<Passwords>, token: Option<&str>) -> Self {
        Self { store, passwords, configured: token.map(secrets::hashed) }
    }

    /// Makes an account for whoever shows this token. `None`: refused.
    ///
    /// # Errors
    /// [`Trouble`]; the token may have been used up by what was not answered.
    pub async fn register(&self, token: Option<&str>, peer: Remote) -> Result<Option<Issued>, Trouble> {
        for entry in self.entries(token) {
            // Asked first, so that a wrong token costs no hashing.
            if self.store.admits(&entry).await? {
                return self.make(&entry, peer).await;
            }
        }
        Ok(None)
    }

    /// By what right, the better one first.
    fn entries(&self, token: Option<&str>) -> Vec<Entry> {
        let shown = token.filter(|token| !token.is_empty()).map(secrets::hashed);
        match (&self.configured, shown) {
            (Some(configured), Some(shown)) if bool::from(configured.as_bytes().ct_eq(shown.as_bytes())) => {
                vec![Entry::Configured]
            }
            (Some(_), Some(shown)) => vec![Entry::Token(shown)],
            (Some(_), None) => Vec::new(),
            (None, Some(shown)) => vec![Entry::Token(shown), Entry::Open],
            (None, None) => vec![Entry::Open],
        }
    }

    async fn make(&self, entry: &Entry, peer: Remote) -> Result<Option<Issued>, Trouble> {
        let issued = Issued {
            identity: secrets::random("id-", 61)?,
            username: secrets::random("un-", 29)?,
            password: secrets::random("", 32)?,
        };
        let Hashed { argon2, mosquitto } = self.passwords.hash(issued.password.clone()).await?;
        let allowed = if *entry == Entry::Configured { ALL } else { OWN };
        let account = NewAccount {
            identity_hash: secrets::hashed(&issued.identity),
            username: issued.username.to_string(),
            password_hash: argon2,
            mosquitto_hash: mosquitto,
            rules: Rules { publish: vec![allowed.to_owned()], subscribe: vec![allowed.to_owned()] },
            peer: peer.to_string(),
        };
        Ok(self.store.register(&account, entry).await?.then_some(issued))
    }

    /// Notes a handshake; with `rotate` the account gets another identity, and the old one is
    /// nobody's from then on. `None`: nobody's, or of a disabled account.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn shake_hands(
        &self,
        identity: &str,
        rotate: bool,
        peer: Remote,
    ) -> Result<Option<Greeted>, Trouble> {
        let new = rotate.then(|| secrets::random("id-", 61)).transpose()?;
        let new_hash = new.as_deref().map(|identity| secrets::hashed(identity));
        let peer = peer.to_string();
        let known = self.store.shake_hands(&secrets::hashed(identity), new_hash.as_deref(), &peer).await?;
        Ok(known.then_some(Greeted { identity: new }))
    }
}

/// A handshake that was noted.
pub struct Greeted {
    /// The new identity, if one was wanted.
    pub identity: Option<Zeroizing<String>>,
}
