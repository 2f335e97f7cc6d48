//! Readings over connections that stay open, several unanswered at a time if wanted.

use crate::{
    Fault,
    dial::Wire,
    options::Persistent,
    readings::Reading,
    report::Report,
    run::{Run, Tally, patient},
};
use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, sleep_until},
};

/// Bytes of replies taken at a time.
const READ_BYTES: usize = 16 * 1024;

pub(crate) async fn run(run: &Arc<Run>, mode: Persistent) -> Result<Report, Fault> {
    let pace = mode.rate.map(|rate| Duration::from_secs(1) * mode.connections / rate);
    let (window, left) = (usize::from(mode.window), mode.packets);
    run.all(mode.connections, |run, number| async move {
        let mut talk = Talk { window, left, pace, waiting: VecDeque::new(), tally: Tally::default() };
        // At a rate the connections take turns, or all would send at once.
        let turn = pace.map_or(Duration::ZERO, |pace| pace * number / mode.connections);
        match run.within(talk.talk(&run, turn)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => talk.tally.fault(error.to_string()),
            None => talk.tally.fault("the time was up".to_owned()),
        }
        talk.tally.lost += talk.left + talk.waiting.len() as u64;
        run.settle(talk.tally);
    })
    .await?;
    run.report("persistent", run.began.elapsed(), run.cost()?)
}

/// One connection.
struct Talk {
    window: usize,
    left: u64,
    pace: Option<Duration>,
    waiting: VecDeque<(Reading, Instant)>,
    tally: Tally,
}

impl Talk {
    async fn talk(&mut self, run: &Run, turn: Duration) -> io::Result<()> {
        let (mut wire, _) = run.dial.connect().await?;
        self.tally.connections = 1;
        sleep(turn).await;
        let mut due = Instant::now();
        let (mut out, mut replies) = (Vec::new(), Vec::new());
        while self.left > 0 || !self.waiting.is_empty() {
            self.fill(run, &mut out, &mut due);
            if !out.is_empty() {
                wire.write_all(&out).await?;
                wire.flush().await?;
                out.clear();
            }
            let may_send = self.left > 0 && self.waiting.len() < self.window;
            tokio::select! {
                read = read(&mut wire, &mut replies), if !self.waiting.is_empty() => read?,
                () = sleep_until(due.into()), if may_send => continue,
            }
            run.bar.inc(self.take_replies(&mut replies));
        }
        wire.shutdown().await
    }

    /// Appends what may be sent now.
    fn fill(&mut self, run: &Run, out: &mut Vec<u8>, due: &mut Instant) {
        while self.left > 0 && self.waiting.len() < self.window {
            let now = Instant::now();
            if let Some(pace) = self.pace {
                if now < *due {
                    return;
                }
                *due += pace;
            }
            self.waiting.push_back((run.readings.push(out), now));
            self.left -= 1;
        }
    }

    fn take_replies(&mut self, replies: &mut Vec<u8>) -> u64 {
        let (mut start, mut count) = (0, 0);
        while let Some(length) = replies[start..].iter().position(|byte| *byte == b'\n') {
            if let Some((reading, since)) = self.waiting.pop_front() {
                self.tally.answered(reading, &replies[start..start + length], since);
                count += 1;
            }
            start += length + 1;
        }
        replies.drain(..start);
        count
    }
}

async fn read(wire: &mut Wire, replies: &mut Vec<u8>) -> io::Result<()> {
    replies.reserve(READ_BYTES);
    match patient(wire.read_buf(replies)).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
        _ => Ok(()),
    }
}
