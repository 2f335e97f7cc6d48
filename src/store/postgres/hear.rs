//! Hears of confirmations that other nodes store: LISTEN on a connection of its own.
//!
//! A notification only wakes whoever waits; they ask again, and ask now and then without one.
//! So a notification lost (a reconnect, a pooler between us and the database that does not
//! pass them on) makes an answer late, never wrong.

use super::{super::Bell, connect::Dialer, fault::Fault};
use crate::store::StoreError;
use std::{future::poll_fn, time::Duration};
use tokio::time::sleep;
use tokio_postgres::AsyncMessage;

/// Where confirmations are announced; the payload is a `bell::Announcement`.
pub(super) const CHANNEL: &str = "m0v_confirmed";

/// From a lost connection to the next attempt.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Listens, again and again, until it is dropped.
pub(super) async fn run(dialer: &Dialer, bell: &Bell) {
    loop {
        let Err(fault) = listen(dialer, bell).await;
        // That the database is away is said by whoever needs it; here it only makes answers late.
        log::debug!("does not hear of other nodes' confirmations: {}", fault.explain(dialer.target()));
        sleep(RECONNECT_AFTER).await;
    }
}

/// Until the connection breaks.
async fn listen(dialer: &Dialer, bell: &Bell) -> Result<std::convert::Infallible, Fault> {
    let (client, mut connection) = dialer.connect().await?;
    let hear = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(heard)) => bell.ring_heard(heard.payload()),
                Ok(_) => {}
                Err(error) => return Fault::from(error),
            }
        }
        StoreError::Unavailable("the connection was closed".into()).into()
    };
    let mut hear = std::pin::pin!(hear);
    let listen = format!("LISTEN {CHANNEL}");
    tokio::select! {
        fault = &mut hear => return Err(fault),
        listening = client.batch_execute(&listen) => listening?,
    }
    bell.ring_all(); // whatever was announced before we listened
    Err(hear.await)
}
