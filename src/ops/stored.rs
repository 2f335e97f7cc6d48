//! The metrics of what is stored: queue, commits, spool, and what the database says of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Where a batch was committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabel {
    /// `database`, `spool`, `drain` (from the spool to the database).
    store: &'static str,
}

/// A setting of the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SettingLabel {
    /// `fsync`, …
    name: &'static str,
}

/// From being read to being durable, and what waits in between.
#[derive(Debug)]
pub struct Stored {
    queue: Gauge,
    batch_rows: Family<StoreLabel, Histogram>,
    commit: Family<StoreLabel, Histogram>,
    rows: Gauge,
    bytes: Gauge,
    age: Gauge,
    degraded: Gauge,
    settings: Family<SettingLabel, Gauge>,
    telemetry: Family<StoreLabel, Counter>,
    telemetry_commit: Family<StoreLabel, Histogram>,
    spooled_telemetry: Gauge,
    /// Packets put into the spool.
    pub spooled: Counter,
    /// Packets that left it.
    pub drained: Counter,
    /// Packets that were thanked and are in `rejected`.
    pub rejected: Counter,
    /// Failures of the spool's own file.
    pub spool_errors: Counter,
}

/// Rows in the queue, until dropped.
pub struct Queued<'a>(&'a Gauge, i64);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

impl Stored {
    /// Every metric of this file, in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            queue: Gauge::default(),
            batch_rows: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1.0, 4.0, 7))),
            // 0.25 ms to 8 s: from a local disk with a cache to the moment when it is called too slow.
            commit: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16))),
            rows: Gauge::default(),
            bytes: Gauge::default(),
            age: Gauge::default(),
            degraded: Gauge::default(),
            settings: Family::default(),
            telemetry: Family::default(),
            telemetry_commit: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
            }),
            spooled_telemetry: Gauge::default(),
            spooled: Counter::default(),
            drained: Counter::default(),
            rejected: Counter::default(),
            spool_errors: Counter::default(),
        };
        registry.register("queue_rows", "Packets that wait for their commit", this.queue.clone());
        let rows = Unit::Other("rows".into());
        registry.register_with_unit("batch", "Packets per commit", rows, this.batch_rows.clone());
        registry.register_with_unit("commit", "From batch to durable", Unit::Seconds, this.commit.clone());
        registry.register("spool_rows", "Packets that wait for the database", this.rows.clone());
        registry.register("spool_bytes", "What they count for against [spool] max_bytes", this.bytes.clone());
        let what = "How long the oldest of them has waited";
        registry.register_with_unit("spool_oldest_age", what, Unit::Seconds, this.age.clone());
        registry.register(
            "degraded",
            "1 while packets go to the spool, or wait in it",
            this.degraded.clone(),
        );
        registry.register("spooled", "Packets put into the spool", this.spooled.clone());
        registry.register("drained", "Packets that left the spool", this.drained.clone());
        let what = "Packets that were thanked and that the database refused: see table rejected";
        registry.register("rejected", what, this.rejected.clone());
        registry.register("spool_errors", "Failures of the spool's own file", this.spool_errors.clone());
        let what = "Reports over HTTPS made durable";
        registry.register("telemetry", what, this.telemetry.clone());
        registry.register_with_unit(
            "telemetry_commit",
            "From a batch of reports to durable",
            Unit::Seconds,
            this.telemetry_commit.clone(),
        );
        registry.register(
            "spool_telemetry_rows",
            "Reports that wait for the database",
            this.spooled_telemetry.clone(),
        );
        let what = "1 if the database's own setting keeps what it acknowledges";
        registry.register("database_setting", what, this.settings.clone());
        this
    }

    /// Packets entered the queue; they have left it when this is dropped.
    #[must_use]
    pub fn queued(&self, packets: usize) -> Queued<'_> {
        let packets = i64::try_from(packets).unwrap_or(i64::MAX);
        self.queue.inc_by(packets);
        Queued(&self.queue, packets)
    }

    /// A batch is durable in `store`.
    pub fn committed(&self, store: &'static str, rows: usize, took: Duration) {
        let label = StoreLabel { store };
        let rows = f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
        self.batch_rows.get_or_create(&label).observe(rows);
        self.commit.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Reports are durable in `store`.
    pub fn telemetry(&self, store: &'static str, reports: usize, took: Duration) {
        let label = StoreLabel { store };
        self.telemetry.get_or_create(&label).inc_by(reports as u64);
        self.telemetry_commit.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// How many reports wait in the spool.
    pub fn spooled_telemetry(&self, reports: u64) {
        self.spooled_telemetry.set(reports.cast_signed());
    }

    /// How much waits in the spool.
    pub fn spool_depth(&self, rows: u64, bytes: u64) {
        self.rows.set(rows.cast_signed());
        self.bytes.set(bytes.cast_signed());
    }

    /// How long the oldest packet has waited there, in seconds.
    pub fn spool_age(&self, seconds: i64) {
        self.age.set(seconds);
    }

    /// Packets go to the spool, or wait in it.
    pub fn set_degraded(&self, degraded: bool) {
        self.degraded.set(i64::from(degraded));
    }

    /// The database's own settings.
    pub fn database_safety(&self, settings: &[(&'static str, bool)]) {
        for (name, is_safe) in settings {
            self.settings.get_or_create(&SettingLabel { name }).set(i64::from(*is_safe));
        }
    }
}
