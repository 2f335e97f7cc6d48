//! A connection, a handshake and a goodbye for each reading.

use crate::{
    Fault,
    dial::Wire,
    options::Reconnect,
    readings::Reading,
    report::Report,
    run::{Run, Tally, patient},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longer than any reply.
const MAX_REPLY_BYTES: usize = 1024;

pub(crate) async fn run(run: &Arc<Run>, mode: Reconnect) -> Result<Report, Fault> {
    let taken = Arc::new(AtomicU64::new(0));
    run.all(mode.connections, |run, _| {
        let taken = Arc::clone(&taken);
        async move {
            let mut tally = Tally::default();
            while taken.fetch_add(1, Ordering::Relaxed) < mode.packets {
                let began = Instant::now();
                match run.within(visit(&run, &mut tally)).await {
                    Some(Ok((reading, reply))) => tally.answered(reading, &reply, began),
                    Some(Err(error)) => {
                        tally.lost += 1;
                        tally.fault(error.to_string());
                    }
                    None => {
                        tally.lost += 1;
                        tally.fault("the time was up".to_owned());
                        break;
                    }
                }
                run.bar.inc(1);
            }
            run.settle(tally);
        }
    })
    .await?;
    run.report("reconnect", run.began.elapsed(), run.cost()?)
}

async fn visit(run: &Run, tally: &mut Tally) -> io::Result<(Reading, Vec<u8>)> {
    let (mut wire, resumed) = run.dial.connect().await?;
    tally.connections += 1;
    tally.resumed += u64::from(resumed);
    let exchanged = exchange(run, &mut wire).await?;
    wire.shutdown().await.ok(); // the reply is there: how it ends is of no interest
    Ok(exchanged)
}

/// Sends one reading and returns its reply.
pub(crate) async fn exchange(run: &Run, wire: &mut Wire) -> io::Result<(Reading, Vec<u8>)> {
    let (mut line, mut reply) = (Vec::new(), Vec::new());
    let reading = run.readings.push(&mut line);
    wire.write_all(&line).await?;
    wire.flush().await?;
    while reply.last() != Some(&b'\n') {
        if patient(wire.read_buf(&mut reply)).await? == 0 || reply.len() > MAX_REPLY_BYTES {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no reply before the end"));
        }
    }
    reply.pop();
    Ok((reading, reply))
}
