//! The keys of s2n-tls' session tickets, made here because they outlive its configurations.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use s2n_tls::config::Builder;
use s2n_tls::error::Error;
use zeroize::Zeroizing;

/// A ticket key encrypts this long, then decrypts as long again: none lives a day.
const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// The keys of one stack, newest first; they outlive a swap of the chain.
#[derive(Default)]
pub(super) struct TicketKeys(Vec<TicketKey>);

impl TicketKeys {
    /// Makes a new key when the newest is due, and forgets those past their time; true if it did.
    pub(super) fn rotate(&mut self, now: SystemTime) -> Result<bool, Error> {
        if self.0.first().is_some_and(|key| key.age(now) < TICKET_KEY_LIFETIME) {
            return Ok(false);
        }
        self.0.insert(0, TicketKey::new(now)?);
        self.0.retain(|key| key.age(now) < TICKET_KEY_LIFETIME * 2);
        Ok(true)
    }

    /// Gives the keys to a configuration.
    pub(super) fn add_to(&self, builder: &mut Builder) -> Result<(), Error> {
        builder.set_ticket_key_encrypt_decrypt_lifetime(TICKET_KEY_LIFETIME)?;
        builder.set_ticket_key_decrypt_lifetime(TICKET_KEY_LIFETIME)?;
        for key in &self.0 {
            builder.add_session_ticket_key(&key.name, key.secret.as_slice(), key.since)?;
        }
        Ok(())
    }
}

struct TicketKey {
    name: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
    since: SystemTime,
}

impl TicketKey {
    fn new(now: SystemTime) -> Result<Self, Error> {
        let mut name = [0; 16];
        let mut secret = Zeroizing::new([0; 32]);
        let filled = rand::fill(&mut name).and_then(|()| rand::fill(secret.as_mut_slice()));
        filled.map_err(|error| Error::application(Box::new(error)))?;
        Ok(Self { name, secret, since: now })
    }

    /// A clock set back makes the key new, not immortal: its tickets carry dates of their own.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.since).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_lives_a_day_and_tickets_outlive_one_rotation() {
        let mut keys = TicketKeys::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let hour = Duration::from_secs(3600);
        let mut seen = Vec::new();
        for hours in 0..48_u32 {
            let now = start + hour * hours;
            keys.rotate(now).expect("makes a key");
            assert!(keys.0.iter().all(|key| key.age(now) < hour * 24));
            assert!(!keys.0.is_empty() && keys.0.len() <= 2);
            if !seen.contains(&keys.0[0].name) {
                seen.push(keys.0[0].name);
            }
        }
        assert_eq!(seen.len(), 8, "a new key every six hours");
        assert!(!keys.rotate(start + hour * 47).expect("nothing to make"));
    }
}
