//! PostgreSQL. A pool for what is asked now and then, one connection of its own for each
//! writer lane.
//!
//! `connect` makes connections and settles their sessions, `tls` says whom to trust, `checkout`
//! lends from the pool; `sqlstate` says what an error means, `fault` carries it; `migrate` and
//! `partition` keep the schema; `lane`, `confirm`, `pubs`, `subs`, `conflicts` and `acme` are the work;
//! `hear` listens to other nodes.

mod accounts;
mod acme;
mod checkout;
mod confirm;
mod conflicts;
mod connect;
mod devices;
mod fault;
mod hear;
mod keys;
mod lane;
mod migrate;
mod partition;
mod people;
mod pubs;
mod sqlstate;
mod subs;
mod telemetry;
mod time;
mod tls;

use super::{
    Bell, Confirmed, Lane, Micros, Pub, Sealer, Store, StoreError, Window, devices::Changes,
    fingerprint::Fingerprints,
};
use crate::{
    acme::Cache,
    protocol::{confo, packet::PubRef},
};
use async_trait::async_trait;
use checkout::Checkout;
use connect::Dialer;
use deadpool_postgres::Pool;
use fault::Fault;
use std::{
    fmt,
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

/// One question or confirmation, waiting for a connection included.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Upgrades and moves between partitions may rewrite tables.
const UPKEEP_DEADLINE: Duration = Duration::from_mins(10);

/// Tries of a transaction that lost against another one.
const ATTEMPTS: u32 = 5;

/// The row of `ingest` that no writer uses.
const PROBE: &str = "INSERT INTO ingest (node, lane, batch, writer) VALUES (0, -1, 1, 0)
    ON CONFLICT (node, lane) DO UPDATE SET batch = ingest.batch + 1";

/// How to reach a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/name?sslmode=…`, or `key=value` pairs; never logged.
    pub url: String,
    /// Certificate authorities (PEM) the database's certificate must chain to. With it TLS is
    /// required on TCP; what holds without is told in `postgres/tls.rs`.
    pub ca_file: Option<PathBuf>,
    /// Most connections held, writer lanes included; at least one is always left for the rest.
    pub max_connections: usize,
    /// Shout instead of refusing when `fsync` or `full_page_writes` is off.
    pub allow_unsafe: bool,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("ca_file", &self.ca_file)
            .field("max_connections", &self.max_connections)
            .field("allow_unsafe", &self.allow_unsafe)
            .finish_non_exhaustive() // the url holds a password
    }
}

/// The store on PostgreSQL.
pub struct Postgres {
    dialer: Arc<Dialer>,
    pool: Pool,
    max_connections: usize,
    /// Connections outside of the pool.
    own: AtomicUsize,
    /// Of its own, because whoever asks whether the database is up must not wait in a queue.
    watch: Pool,
    bell: Arc<Bell>,
    changes: Changes,
    /// Tells this process's batches of telemetry from another's under the same node.
    writer: i64,
}

impl Postgres {
    /// Reads the options; connects to nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL or the CA file cannot be used.
    pub fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        let max_connections = options.max_connections.max(1);
        let dialer = Arc::new(Dialer::new(options)?);
        let pool = dialer.pool(max_connections)?;
        let watch = dialer.pool(1)?;
        let this = Self {
            dialer,
            pool,
            max_connections,
            own: AtomicUsize::new(0),
            watch,
            bell: Arc::default(),
            changes: Changes::default(),
            writer: Fingerprints::default().own(),
        };
        this.set_aside(); // the watch's
        Ok(this)
    }

    /// Leaves one connection less to the pool, and always one.
    fn set_aside(&self) {
        let own = self.own.fetch_add(1, Ordering::Relaxed) + 1;
        self.pool.resize(self.max_connections.saturating_sub(own).max(1));
    }

    async fn client(&self) -> Result<Checkout, StoreError> {
        self.dialer.take(&self.pool).await
    }

    /// Whether a failed transaction shall be tried again at once. After a failover every pooled
    /// connection may lead to what is a standby now, where reads succeed: they all go.
    fn tries_again(&self, fault: &Fault, attempt: u32) -> bool {
        if fault.is_read_only() {
            self.pool.retain(|_, _| false);
        }
        attempt < ATTEMPTS && (fault.is_collision() || fault.is_read_only() && attempt == 1)
    }

    /// Asks on the watch's own connection.
    async fn watch(&self, sql: &str) -> Result<(), StoreError> {
        let client = self.dialer.take(&self.watch).await?;
        let asked = client.simple_query(sql).await;
        asked.map_err(|error| Fault::from(error).explain(self.dialer.target()))?;
        client.give_back();
        Ok(())
    }

    /// Runs a call under its deadline and puts its failure into the store's words.
    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, StoreError> {
        within(&self.dialer, limit, call).await
    }
}

async fn within<T>(
    dialer: &Dialer,
    limit: Duration,
    call: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T, StoreError> {
    let target = dialer.target();
    match timeout(limit, call).await {
        Ok(result) => result.map_err(|fault| fault.explain(target)),
        Err(_) => Err(StoreError::Busy(format!("{target}: no answer within {} s", limit.as_secs()))),
    }
}

#[async_trait]
impl Store for Postgres {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.within(UPKEEP_DEADLINE, async {
            let mut client = self.client().await?;
            self.dialer.set_up(&client).await?; // a pooled one may be older than the last change
            migrate::migrate(&mut client).await?;
            client.give_back();
            Ok(())
        })
        .await?;
        if let Err(error) = self.maintain().await {
            log::warn!("partitions are not up to date, packets go to the default one: {error}");
        }
        Ok(())
    }

    async fn maintain(&self) -> Result<(), StoreError> {
        self.within(UPKEEP_DEADLINE, async {
            let mut client = self.client().await?;
            partition::keep_up(&mut client).await?;
            client.give_back();
            Ok(())
        })
        .await
    }

    async fn inspect(&self) -> Result<String, StoreError> {
        let text = self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            self.dialer.set_up(&client).await?;
            let schema = migrate::describe(&client).await?;
            let version: String =
                client.query_one("SELECT current_setting('server_version')", &[]).await?.try_get(0)?;
            client.give_back();
            Ok(format!("PostgreSQL {version}, {schema}"))
        });
        Ok(format!("{}: {}", self.dialer.target(), text.await?))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.watch("SELECT 1").await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.watch(PROBE).await
    }

    async fn find_pub(&self, device: PubRef) -> Result<Option<Pub>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let found = pubs::find(&client, device).await?;
            client.give_back();
            Ok(found)
        })
        .await
    }

    async fn add_pub(&self, device: PubRef) -> Result<Result<Pub, Pub>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut attempt = 1;
            loop {
                let mut client = self.client().await?;
                match pubs::add(&mut client, device).await {
                    Err(fault) if self.tries_again(&fault, attempt) => attempt += 1,
                    Err(fault) => return Err(fault),
                    Ok(added) => {
                        client.give_back();
                        return Ok(added);
                    }
                }
            }
        })
        .await
    }

    async fn list_pubs(&self, after: i64, limit: i64) -> Result<Vec<Pub>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let found = pubs::list(&client, after, limit).await?;
            client.give_back();
            Ok(found)
        })
        .await
    }

    fn safety(&self) -> Vec<(&'static str, bool)> {
        self.dialer.safety()
    }

    fn lane(&self, node: i64, lane: i32) -> Box<dyn Lane> {
        self.set_aside();
        Box::new(lane::PostgresLane::new(Arc::clone(&self.dialer), node, lane))
    }

    async fn confirm(
        &self,
        confirmation: &confo::Confirmation,
        now: Micros,
    ) -> Result<Confirmed, StoreError> {
        let stored = self.within(CALL_DEADLINE, async {
            let mut attempt = 1;
            loop {
                let mut client = self.client().await?;
                match confirm::confirm(&mut client, confirmation, now, self.bell.origin()).await {
                    Err(fault) if self.tries_again(&fault, attempt) => attempt += 1,
                    Err(fault) => return Err(fault),
                    Ok(confirmed) => {
                        client.give_back();
                        return Ok(confirmed);
                    }
                }
            }
        });
        let (stored, announced) = stored.await?;
        self.bell.ring(announced);
        Ok(stored)
    }

    async fn find_confirmation(
        &self,
        query: &confo::Query,
        window: Window,
    ) -> Result<Option<Confirmed>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let found = confirm::find(&client, query, window).await?;
            client.give_back();
            Ok(found)
        })
        .await
    }

    async fn last_confirmation(&self, query: &confo::Query) -> Result<i64, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let last = confirm::last(&client, query).await?;
            client.give_back();
            Ok(last)
        })
        .await
    }

    fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    async fn hear(&self) {
        self.set_aside();
        hear::run(&self.dialer, &self.bell, &self.changes).await;
    }

    fn acme_cache(&self, name: String, sealer: Sealer) -> Option<Arc<dyn Cache>> {
        Some(Arc::new(acme::SharedCache::new(Arc::clone(&self.dialer), self.pool.clone(), name, sealer)))
    }
}
