//! What was stored, read back without m0v: rusqlite on the embedded store, tokio-postgres on PostgreSQL.

use crate::harness::Site;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// A row of `packet`; times in Unix µs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PacketRow {
    pub(crate) pub_id: i64,
    pub(crate) created_at: i64,
    pub(crate) saved_at: i64,
    pub(crate) voltage: Option<f64>,
    pub(crate) frequency: Option<f64>,
    pub(crate) protected: bool,
    pub(crate) seq: Option<i64>,
    extra: Option<String>,
}

impl PacketRow {
    /// `extra`, as JSON.
    pub(crate) fn extra(&self) -> Option<Value> {
        json(self.extra.as_deref())
    }
}

/// A row of `confo`; times in Unix µs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfoRow {
    pub(crate) created_at: i64,
    pub(crate) saved_at: i64,
    pub(crate) devicename: String,
    pub(crate) ssid: String,
    pub(crate) hash: i64,
    pub(crate) pub_id: Option<i64>,
    extra: Option<String>,
}

impl ConfoRow {
    /// `extra`, as JSON.
    pub(crate) fn extra(&self) -> Option<Value> {
        json(self.extra.as_deref())
    }
}

/// A row of `telemetry`; times in Unix µs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TelemetryRow {
    pub(crate) device_id: String,
    pub(crate) kind: String,
    pub(crate) created_at: i64,
    pub(crate) saved_at: i64,
    pub(crate) body: Value,
}

impl Site {
    /// All telemetry, in the order of the ids.
    pub(crate) fn telemetry(&self) -> Vec<TelemetryRow> {
        let body = |text: Option<String>| json(text.as_deref()).expect("never null");
        match self.database() {
            None => self.read_embedded(
                "SELECT device_id, kind, created_at, saved_at, body FROM telemetry ORDER BY id",
                |row| {
                    Ok(TelemetryRow {
                        device_id: row.get(0)?,
                        kind: row.get(1)?,
                        created_at: row.get(2)?,
                        saved_at: row.get(3)?,
                        body: body(row.get(4)?),
                    })
                },
            ),
            Some(database) => read_postgres(
                database.url(),
                "SELECT device_id, kind, (extract(epoch FROM created_at) * 1000000)::bigint, \
                 (extract(epoch FROM saved_at) * 1000000)::bigint, body::text FROM telemetry ORDER BY id",
                |row| TelemetryRow {
                    device_id: row.get(0),
                    kind: row.get(1),
                    created_at: row.get(2),
                    saved_at: row.get(3),
                    body: body(row.get(4)),
                },
            ),
        }
    }

    /// All packets, in the order of their ids.
    pub(crate) fn packets(&self) -> Vec<PacketRow> {
        match self.database() {
            None => self.read_embedded(
                "SELECT pub_id, created_at, saved_at, voltage, frequency, protected, seq, json(extra) \
                 FROM packet ORDER BY id",
                |row| {
                    Ok(PacketRow {
                        pub_id: row.get(0)?,
                        created_at: row.get(1)?,
                        saved_at: row.get(2)?,
                        voltage: row.get(3)?,
                        frequency: row.get(4)?,
                        protected: row.get(5)?,
                        seq: row.get(6)?,
                        extra: row.get(7)?,
                    })
                },
            ),
            Some(database) => read_postgres(
                database.url(),
                "SELECT pub_id, (extract(epoch FROM created_at) * 1000000)::bigint, \
                 (extract(epoch FROM saved_at) * 1000000)::bigint, voltage, frequency, protected, seq, \
                 extra::text FROM packet ORDER BY id",
                |row| PacketRow {
                    pub_id: row.get(0),
                    created_at: row.get(1),
                    saved_at: row.get(2),
                    voltage: row.get(3),
                    frequency: row.get(4),
                    protected: row.get(5),
                    seq: row.get(6),
                    extra: row.get(7),
                },
            ),
        }
    }

    /// The only packet there is.
    pub(crate) fn only_packet(&self) -> PacketRow {
        let mut packets = self.packets();
        assert_eq!(packets.len(), 1, "{packets:?}");
        packets.remove(0)
    }

    /// All confirmations, in the order of their ids.
    pub(crate) fn confirmations(&self) -> Vec<ConfoRow> {
        match self.database() {
            None => self.read_embedded(
                "SELECT created_at, saved_at, devicename, ssid, hash, pub_id, json(extra) \
                 FROM confo ORDER BY id",
                |row| {
                    Ok(ConfoRow {
                        created_at: row.get(0)?,
                        saved_at: row.get(1)?,
                        devicename: row.get(2)?,
                        ssid: row.get(3)?,
                        hash: row.get(4)?,
                        pub_id: row.get(5)?,
                        extra: row.get(6)?,
                    })
                },
            ),
            Some(database) => read_postgres(
                database.url(),
                "SELECT (extract(epoch FROM created_at) * 1000000)::bigint, \
                 (extract(epoch FROM saved_at) * 1000000)::bigint, devicename, ssid, hash, pub_id, \
                 extra::text FROM confo ORDER BY id",
                |row| ConfoRow {
                    created_at: row.get(0),
                    saved_at: row.get(1),
                    devicename: row.get(2),
                    ssid: row.get(3),
                    hash: row.get(4),
                    pub_id: row.get(5),
                    extra: row.get(6),
                },
            ),
        }
    }

    /// All devices: (`pub_id`, `hash`), in the order of their ids.
    pub(crate) fn pubs(&self) -> Vec<(i64, Option<i64>)> {
        let sql = "SELECT pub_id, hash FROM pub ORDER BY pub_id";
        match self.database() {
            None => self.read_embedded(sql, |row| Ok((row.get(0)?, row.get(1)?))),
            Some(database) => read_postgres(database.url(), sql, |row| (row.get(0), row.get(1))),
        }
    }

    /// The one column, of integers, that a query gives.
    pub(crate) fn numbers(&self, sql: &str) -> Vec<Option<i64>> {
        match self.database() {
            None => self.read_embedded(sql, |row| row.get(0)),
            Some(database) => read_postgres(database.url(), sql, |row| row.get(0)),
        }
    }

    /// The number of rows of a table.
    pub(crate) fn count(&self, table: &str) -> i64 {
        self.numbers(&format!("SELECT count(*) FROM {table}"))[0].expect("count is never null")
    }

    /// Runs statements beside the server, as an operator with `psql` or `sqlite3` would.
    pub(crate) fn execute(&self, sql: &str) {
        match self.database() {
            None => {
                let store = Connection::open(self.sqlite_file()).expect("opens m0v.sqlite");
                store.busy_timeout(Duration::from_secs(30)).expect("sets the busy timeout");
                store.execute_batch(sql).expect("the statements are as agreed");
            }
            Some(database) => execute_postgres(database.url(), sql),
        }
    }

    /// The embedded store's file.
    pub(crate) fn sqlite_file(&self) -> PathBuf {
        self.data_dir().join("m0v.sqlite")
    }

    fn read_embedded<T>(
        &self,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Connection::open_with_flags(self.sqlite_file(), flags).expect("opens m0v.sqlite");
        store.busy_timeout(Duration::from_secs(30)).expect("sets the busy timeout");
        let mut statement = store.prepare(sql).expect("the columns are as agreed");
        let rows = statement.query_map([], row).expect("reads the embedded store");
        rows.collect::<Result<_, _>>().expect("rows are typed as agreed")
    }
}

fn read_postgres<T>(url: &str, sql: &str, row: impl FnMut(&tokio_postgres::Row) -> T) -> Vec<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let rows = runtime.expect("starts a runtime").block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects to PostgreSQL");
        let connection = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await.expect("the columns are as agreed");
        drop(client);
        connection.await.expect("the connection's task ends").expect("the connection ends well");
        rows
    });
    rows.iter().map(row).collect()
}

fn execute_postgres(url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("starts a runtime").block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects to PostgreSQL");
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.expect("the statements are as agreed");
        drop(client);
        connection.await.expect("the connection's task ends").expect("the connection ends well");
    });
}

fn json(text: Option<&str>) -> Option<Value> {
    text.map(|text| serde_json::from_str(text).expect("extra is JSON"))
}
