//! What is kept for resumption has a bound: rustls puts the client's chain into every ticket and
//! every stored session.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ProducesTickets, StoresServerSessions};

/// The longest session kept. A ticket comes back inside a ClientHello, and an ESP32 has a buffer of 4 KB for
/// that; a stranger with a certificate of his own fills the session store with what he likes. A leaf
/// and an intermediate with RSA 2048 fit; longer chains shake hands in full each time.
const MAX_SESSION: usize = 3 * 1024;

/// Passes on what is short enough.
pub(in crate::tls) struct Kept<T: ?Sized>(pub(in crate::tls) Arc<T>);

impl<T: ?Sized> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl ProducesTickets for Kept<dyn ProducesTickets> {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MAX_SESSION { None } else { self.0.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

impl StoresServerSessions for Kept<dyn StoresServerSessions> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        value.len() <= MAX_SESSION && self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.take(key)
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}
