//! A connection that tells which alert ended it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use s2n_tls::config::Config;
use s2n_tls::connection::{Builder, Connection};
use s2n_tls::enums::Mode;
use s2n_tls::error::Error;

/// What is left behind when there was no alert; 255 is none.
pub(super) const NO_ALERT: u8 = u8::MAX;

/// A connection that leaves the alert it received behind: a failed handshake drops it unseen.
pub(super) struct Noted {
    connection: Connection,
    pub(super) alert: Arc<AtomicU8>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.alert.store(self.connection.alert().unwrap_or(NO_ALERT), Ordering::Relaxed);
    }
}

impl AsRef<Connection> for Noted {
    fn as_ref(&self) -> &Connection {
        &self.connection
    }
}

impl AsMut<Connection> for Noted {
    fn as_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[derive(Clone)]
pub(super) struct NotedBuilder {
    pub(super) config: Config,
    pub(super) alert: Arc<AtomicU8>,
}

impl Builder for NotedBuilder {
    type Output = Noted;

    fn build_connection(&self, mode: Mode) -> Result<Noted, Error> {
        let connection = self.config.build_connection(mode)?;
        Ok(Noted { connection, alert: Arc::clone(&self.alert) })
    }
}
