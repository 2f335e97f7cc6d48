//! Hears what other nodes store and change: LISTEN on a connection of its own.
//!
//! A notification only says what to ask for. Whoever waits for a confirmation asks now and then
//! without one, and who follows devices reads everything anew after a reconnect and now and then.
//! So a notification lost (a reconnect, a pooler between us and the database that does not
//! pass them on) makes an answer late, never wrong.

use super::{super::Bell, connect::Dialer, fault::Fault};
use crate::store::{
    StoreError,
    devices::{Change, Changes},
};
use std::{future::poll_fn, time::Duration};
use tokio::time::sleep;
use tokio_postgres::{AsyncMessage, Notification};

/// Where confirmations are announced; the payload is a `bell::Announcement`.
pub(super) const CHANNEL: &str = "m0v_confirmed";

/// Where changes of devices, certificates and CAs are announced; the payload is a [`Change`].
pub(super) const DEVICES: &str = "m0v_devices";

/// From a lost connection to the next attempt.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Who is told.
struct Listeners<'a> {
    bell: &'a Bell,
    changes: &'a Changes,
}

/// Listens, again and again, until it is dropped.
pub(super) async fn run(dialer: &Dialer, bell: &Bell, changes: &Changes) {
    let listeners = Listeners { bell, changes };
    loop {
        let Err(fault) = listen(dialer, &listeners).await;
        // That the database is away is said by whoever needs it; here it only makes answers late.
        log::debug!("does not hear of what other nodes do: {}", fault.explain(dialer.target()));
        sleep(RECONNECT_AFTER).await;
    }
}

/// Until the connection breaks.
async fn listen(dialer: &Dialer, listeners: &Listeners<'_>) -> Result<std::convert::Infallible, Fault> {
    let (client, mut connection) = dialer.connect().await?;
    let hear = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(heard)) => listeners.tell(&heard),
                Ok(_) => {}
                Err(error) => return Fault::from(error),
            }
        }
        StoreError::Unavailable("the connection was closed".into()).into()
    };
    let mut hear = std::pin::pin!(hear);
    let listen = format!("LISTEN {CHANNEL}; LISTEN {DEVICES}");
    tokio::select! {
        fault = &mut hear => return Err(fault),
        listening = client.batch_execute(&listen) => listening?,
    }
    // Whatever was announced before we listened.
    listeners.bell.ring_all();
    listeners.changes.tell(Change::Everything);
    Err(hear.await)
}

impl Listeners<'_> {
    fn tell(&self, heard: &Notification) {
        match heard.channel() {
            CHANNEL => self.bell.ring_heard(heard.payload()),
            DEVICES => self.changes.tell(Change::parse(heard.payload())),
            other => log::debug!("a notification on {other}, which is not listened to"),
        }
    }
}
