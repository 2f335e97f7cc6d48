//! What all modes share: the clock, the progress bar, the counts, the acknowledgement log.

use crate::{
    Fault,
    dial::Dial,
    options::{Mode, Options},
    process::{self, Usage},
    readings::{Reading, Readings},
    report::{Cost, Report},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Different errors that are remembered word for word.
const MAX_KINDS: usize = 20;

pub(crate) struct Run {
    pub(crate) dial: Dial,
    pub(crate) readings: Readings,
    pub(crate) bar: ProgressBar,
    end: Instant,
    stop: CancellationToken,
    pids: Vec<u32>,
    before: Usage,
    pub(crate) began: Instant,
    log: Option<Mutex<BufWriter<File>>>,
    tally: Mutex<Tally>,
}

/// What came of the readings.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) thanked: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    pub(crate) resumed: u64,
    pub(crate) connections: u64,
    /// Microseconds from sending a reading (or from connecting) to its answer.
    pub(crate) latencies: Vec<u32>,
    /// What went wrong, and how often.
    pub(crate) faults: BTreeMap<String, u64>,
    thanks: Vec<Reading>,
}

impl Tally {
    pub(crate) fn answered(&mut self, reading: Reading, line: &[u8], since: Instant) {
        if crate::readings::is_thanks(line) {
            self.thanked += 1;
            self.thanks.push(reading);
        } else {
            self.refused += 1;
            self.fault(format!("refused: {}", String::from_utf8_lossy(line)));
        }
        self.took(since);
    }

    /// A password was right.
    pub(crate) fn allowed(&mut self, since: Instant) {
        self.thanked += 1;
        self.took(since);
    }

    fn took(&mut self, since: Instant) {
        self.latencies.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn fault(&mut self, what: String) {
        let what = if self.faults.len() < MAX_KINDS { what } else { "other".to_owned() };
        *self.faults.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.thanked += other.thanked;
        self.refused += other.refused;
        self.lost += other.lost;
        self.resumed += other.resumed;
        self.connections += other.connections;
        self.latencies.extend(other.latencies);
        for (what, count) in other.faults {
            *self.faults.entry(what).or_default() += count;
        }
    }
}

impl Run {
    pub(crate) fn begin(options: &Options) -> Result<Arc<Self>, Fault> {
        let common = &options.common;
        let (length, resume) = match &options.mode {
            Mode::Persistent(mode) => (mode.packets * u64::from(mode.connections), false),
            Mode::Reconnect(mode) => (mode.packets, mode.resume),
            Mode::Idle(mode) => (u64::from(mode.connections), false),
            Mode::Brokers(mode) => (mode.accounts, false),
        };
        let log = match &common.ack_log {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Some(Mutex::new(BufWriter::new(file)))
            }
        };
        let bar = ProgressBar::new(length);
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {wide_bar} {human_pos}/{human_len} {per_sec} {msg}",
        );
        bar.set_style(style.map_err(|error| error.to_string())?);
        if common.json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let dial = Dial::new(common, resume)?;
        let before = process::usage(&common.pid)?;
        let began = Instant::now();
        Ok(Arc::new(Self {
            dial,
            readings: Readings::new(common.ids.clone()),
            bar,
            stop: CancellationToken::new(),
            end: began + Duration::from_secs(common.seconds),
            pids: common.pid.clone(),
            before,
            began,
            log,
            tally: Mutex::default(),
        }))
    }

    /// Does `work`, but not beyond the end of the run or Ctrl-C: then `None`.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = sleep_until(self.end.into()) => None,
            () = self.stop.cancelled() => None,
        }
    }

    /// Runs `count` tasks made by `task` and waits for them all; they end by themselves.
    pub(crate) async fn all<F>(
        self: &Arc<Self>,
        count: u32,
        task: impl Fn(Arc<Self>, u32) -> F,
    ) -> Result<(), Fault>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(task(Arc::clone(self), number));
        }
        let joined = async {
            while let Some(joined) = tasks.join_next().await {
                joined.map_err(|error| format!("a task of ours died: {error}"))?;
            }
            Ok(())
        };
        tokio::pin!(joined);
        tokio::select! {
            done = &mut joined => done,
            _ = tokio::signal::ctrl_c() => {
                self.stop.cancel();
                joined.await
            }
        }
    }

    /// Adds what one connection has seen.
    pub(crate) fn settle(&self, mut tally: Tally) {
        let thanks = std::mem::take(&mut tally.thanks);
        if let Some(log) = &self.log {
            let mut log = lock(log);
            for Reading { id, timestamp, seq } in thanks {
                if let Err(error) = writeln!(log, "{id},{timestamp},{seq}") {
                    tally.fault(format!("--ack-log: {error}"));
                    break;
                }
            }
        }
        lock(&self.tally).add(tally);
    }

    /// What the server has cost since the run began.
    pub(crate) fn cost(&self) -> Result<Option<Cost>, Fault> {
        if self.pids.is_empty() {
            return Ok(None);
        }
        let now = process::usage(&self.pids)?;
        let grown = i128::from(now.resident) - i128::from(self.before.resident);
        Ok(Some(Cost {
            cpu: now.cpu.saturating_sub(self.before.cpu),
            grown: i64::try_from(grown).unwrap_or(0),
        }))
    }

    /// The report of the run so far.
    pub(crate) fn report(
        &self,
        mode: &'static str,
        elapsed: Duration,
        cost: Option<Cost>,
    ) -> Result<Report, Fault> {
        if let Some(log) = &self.log {
            lock(log).flush().map_err(|error| format!("--ack-log: {error}"))?;
        }
        self.bar.finish_and_clear();
        let tally = std::mem::take(&mut *lock(&self.tally));
        Ok(Report::new(mode, elapsed, cost, tally))
    }
}

/// A call with a deadline: a server that does not answer is a fault, not a hang.
pub(crate) async fn patient<T>(call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    const PATIENCE: Duration = Duration::from_secs(60);
    timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 60 s")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
