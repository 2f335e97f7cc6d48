//! Opens the spool, if there is to be one, and starts its drain.

use super::data_dir::DataDir;
use crate::api::TelemetryOptions;
use crate::config::Config;
use crate::meter::{Drain, Known, Lanes, Spool};
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::spool::SpoolFile;
use crate::store::{Store, StoreError, Ticket};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What came of opening it.
pub(super) struct Opened {
    /// The packets' spool, with the batches an earlier process left unsettled.
    pub(super) packets: Option<(Arc<Spool>, Vec<Ticket>)>,
    /// The same file, for telemetry.
    pub(super) file: Option<Arc<SpoolFile>>,
    /// This server's name in `ingest`: the spool's own, so that both stay together; without a spool
    /// the data folder's.
    pub(super) node: i64,
}

impl Opened {
    /// What the writer of telemetry works with.
    pub(super) fn for_telemetry(
        &self,
        config: &Config,
        health: &Arc<Health>,
        metrics: &Arc<Metrics>,
    ) -> TelemetryOptions {
        TelemetryOptions {
            node: self.node,
            max_rows: config.database.batch_max_rows,
            spool: self.file.clone(),
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
        }
    }
}

/// Opens the spool of `[spool]`. The embedded store has none: it is as near as a spool would be.
///
/// # Errors
/// A folder or file that cannot be used; a damaged file is set aside instead.
pub(super) async fn open(
    config: &Config,
    data_dir: &DataDir,
    store: &Arc<dyn Store>,
    known: &Arc<Known>,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
) -> Result<Opened, StoreError> {
    if config.database.url.is_none() || !config.spool.enabled {
        return Ok(Opened { packets: None, file: None, node: data_dir.node() });
    }
    let (dir, max_bytes) = (config.spool_dir(), config.spool.max_bytes);
    let opened = tokio::task::spawn_blocking(move || SpoolFile::open(&dir, max_bytes)).await;
    let file = Arc::new(opened.map_err(|error| StoreError::Refused(error.to_string()))??);
    let node = file.node();
    let packets = Spool::begin(Arc::clone(&file), store, known, health, metrics).await?;
    Ok(Opened { packets: Some(packets), file: Some(file), node })
}

/// The drain, running. It is stopped after the writers have ended.
pub(super) struct Draining {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts the drain of the lanes' spool.
pub(super) fn drain(lanes: &Lanes) -> Option<Draining> {
    let (spool, unsettled) = lanes.spool.as_ref()?;
    let drain = Drain::new(Arc::clone(spool), lanes.node, lanes.count, lanes.max_rows, unsettled);
    let stop = CancellationToken::new();
    Some(Draining { task: tokio::spawn(drain.run(stop.clone())), stop })
}

impl Draining {
    /// Drains for a last time and ends.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            log::error!("the drain of the spool: {error}");
        }
    }
}
