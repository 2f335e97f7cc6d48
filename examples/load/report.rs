//! What a run found, for people and as JSON.

use crate::run::Tally;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};

/// What the server's processes used during the run.
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    /// Growth of resident memory, bytes.
    pub(crate) grown: i64,
}

pub(crate) struct Report {
    mode: &'static str,
    seconds: f64,
    cost: Option<Cost>,
    counts: Counts,
    /// Sorted.
    latencies: Vec<u32>,
    faults: BTreeMap<String, u64>,
}

struct Counts {
    thanked: u64,
    refused: u64,
    lost: u64,
    resumed: u64,
    connections: u64,
}

/// Shares of the answers, in thousandths, and their names.
const PERCENTILES: [(usize, &str); 4] = [(500, "p50"), (990, "p99"), (999, "p999"), (1000, "max")];

impl Report {
    pub(crate) fn new(mode: &'static str, elapsed: Duration, cost: Option<Cost>, tally: Tally) -> Self {
        let Tally { thanked, refused, lost, resumed, connections, mut latencies, faults, .. } = tally;
        latencies.sort_unstable();
        let counts = Counts { thanked, refused, lost, resumed, connections };
        Self { mode, seconds: elapsed.as_secs_f64(), cost, counts, latencies, faults }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.counts.refused == 0 && self.counts.lost == 0
    }

    fn answered(&self) -> u64 {
        self.counts.thanked + self.counts.refused
    }

    fn rate(&self) -> f64 {
        self.answered() as f64 / self.seconds
    }

    /// Microseconds.
    fn latency(&self, thousandths: usize) -> Option<u32> {
        let place = (self.latencies.len() * thousandths).div_ceil(1000).saturating_sub(1);
        self.latencies.get(place).copied()
    }

    fn cpu_each(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?;
        Some(cost.cpu.as_secs_f64() * 1e6 / self.answered().max(1) as f64)
    }

    fn bytes_each(&self) -> Option<i64> {
        let open = i64::try_from(self.counts.connections).unwrap_or(i64::MAX).max(1);
        self.cost.as_ref().map(|cost| cost.grown / open)
    }

    pub(crate) fn json(&self) -> String {
        let Counts { thanked, refused, lost, resumed, connections } = self.counts;
        let latency: serde_json::Map<String, Value> = PERCENTILES
            .iter()
            .map(|(share, name)| ((*name).to_owned(), json!(self.latency(*share))))
            .collect();
        json!({
            "mode": self.mode,
            "seconds": round(self.seconds, 1000.0),
            "per_second": round(self.rate(), 10.0),
            "thanked": thanked,
            "refused": refused,
            "lost": lost,
            "connections": connections,
            "resumed": resumed,
            "latency_us": latency,
            "server_cpu_us_each": self.cpu_each().map(|each| round(each, 10.0)),
            "server_bytes_per_connection": self.bytes_each(),
            "faults": self.faults,
        })
        .to_string()
    }
}

fn round(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { thanked, refused, lost, resumed, connections } = self.counts;
        writeln!(f, "{thanked} thanked, {refused} refused, {lost} without an answer")?;
        writeln!(f, "{connections} connections, {resumed} of them resumed a session")?;
        write!(f, "{:.0} answers a second over {:.1} s", self.rate(), self.seconds)?;
        for (share, name) in PERCENTILES {
            if let Some(latency) = self.latency(share) {
                write!(
                    f,
                    "{} {name} {:.2}",
                    if share == 500 { "\nlatency in ms:" } else { "," },
                    f64::from(latency) / 1000.0
                )?;
            }
        }
        if let (Some(cpu), Some(bytes)) = (self.cpu_each(), self.bytes_each()) {
            write!(f, "\nserver: {cpu:.1} µs of CPU an answer, memory grew by {bytes} bytes a connection")?;
        }
        for (what, count) in &self.faults {
            write!(f, "\n{count} × {what}")?;
        }
        Ok(())
    }
}
