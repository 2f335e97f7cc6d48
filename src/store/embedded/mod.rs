//! SQLite in one file, for a single node without a database server.
//!
//! One thread owns the connection that writes, another the one that reads (`worker`); in WAL
//! mode neither waits for the other, and other processes may use the file beside them. Their
//! commits are noticed by `PRAGMA data_version`.

mod accounts;
mod confirm;
mod conflicts;
mod devices;
mod error;
mod ids;
mod json;
mod keys;
mod lane;
mod migrate;
mod open;
mod people;
mod pubs;
pub mod spool;
mod subs;
mod telemetry;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Bell, Confirmed, Lane, Micros, Pub, Store, StoreError, Window, bell::Announcement, devices::Changes,
};
use crate::protocol::{confo, packet::PubRef};
use async_trait::async_trait;
use error::Fault;
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::{sleep, timeout};
use worker::Worker;

/// One question or confirmation: the file's lock held by another process, jobs before this one.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How often other processes' commits are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The row of `ingest` that no writer uses.
const PROBE: &str = "INSERT INTO ingest (node, lane, batch, writer) VALUES (0, -1, 1, 0)
    ON CONFLICT (node, lane) DO UPDATE SET batch = ingest.batch + 1";

/// The store on SQLite in a file.
pub struct Embedded {
    path: PathBuf,
    bell: Arc<Bell>,
    changes: Changes,
    writer: Arc<Worker>,
    reader: Worker,
}

impl Embedded {
    /// Opens or makes the file (mode 0600). The last clone of its lanes dropped, the file is
    /// closed; that waits for what is being written.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the file or its directory cannot be used, or when it is no
    /// database of SQLite.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let writer = open::writer(path)?;
        let reader = open::reader(path)?;
        Ok(Self {
            path: path.to_owned(),
            bell: Arc::default(),
            changes: Changes::default(),
            writer: Arc::new(Worker::start("m0v-store-write", path, writer)?),
            reader: Worker::start("m0v-store-read", path, reader)?,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        within(self.writer.run(job)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        within(self.reader.run(|connection| job(connection))).await
    }
}

async fn within<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(CALL_DEADLINE, call).await.unwrap_or_else(|_| {
        let seconds = CALL_DEADLINE.as_secs();
        Err(StoreError::Unavailable(format!("the embedded store gave no answer within {seconds} s")))
    })
}

#[async_trait]
impl Store for Embedded {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.write(migrate::migrate).await
    }

    async fn maintain(&self) -> Result<(), StoreError> {
        self.write(|connection| Ok(connection.execute_batch("PRAGMA optimize")?)).await
    }

    async fn inspect(&self) -> Result<String, StoreError> {
        let schema = self.read(migrate::describe).await?;
        Ok(format!("{}: SQLite {}, {schema}", self.path.display(), rusqlite::version()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(
            |connection| Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?),
        )
        .await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.write(|connection| Ok(connection.execute(PROBE, []).map(drop)?)).await
    }

    async fn find_pub(&self, device: PubRef) -> Result<Option<Pub>, StoreError> {
        self.read(move |connection| pubs::find(connection, device)).await
    }

    async fn add_pub(&self, device: PubRef) -> Result<Result<Pub, Pub>, StoreError> {
        self.write(move |connection| pubs::add(connection, device, lane::now())).await
    }

    async fn list_pubs(&self, after: i64, limit: i64) -> Result<Vec<Pub>, StoreError> {
        self.read(move |connection| pubs::list(connection, after, limit)).await
    }

    fn lane(&self, node: i64, lane: i32) -> Box<dyn Lane> {
        Box::new(lane::EmbeddedLane::new(Arc::clone(&self.writer), node, lane))
    }

    async fn confirm(
        &self,
        confirmation: &confo::Confirmation,
        now: Micros,
    ) -> Result<Confirmed, StoreError> {
        let confirmation = confirmation.clone();
        let (stored, id) =
            self.write(move |connection| confirm::confirm(connection, &confirmation, now)).await?;
        self.bell.ring(Announcement::of(&stored, id, self.bell.origin()));
        Ok(stored)
    }

    async fn find_confirmation(
        &self,
        query: &confo::Query,
        window: Window,
    ) -> Result<Option<Confirmed>, StoreError> {
        let query = query.clone();
        self.read(move |connection| confirm::find(connection, &query, window)).await
    }

    async fn last_confirmation(&self, query: &confo::Query) -> Result<i64, StoreError> {
        let query = query.clone();
        self.read(move |connection| confirm::last(connection, &query)).await
    }

    fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    async fn hear(&self) {
        let (mut seen, mut heard) = (None, devices::heard::Heard::default());
        loop {
            // On the connection that writes: to it, only other processes' commits are news.
            let version = self
                .write(|connection| {
                    Ok(connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))?)
                })
                .await;
            if let Ok(version) = version
                && seen != Some(version)
            {
                self.bell.ring_all();
                let last = heard.last();
                if let Ok(news) = self.read(move |connection| devices::heard::look(connection, last)).await {
                    heard.tell(news, &self.changes);
                    seen = Some(version);
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
