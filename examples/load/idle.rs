//! Many connections that say one reading and then nothing: what one costs in memory, and how
//! the server takes a storm of handshakes.

use crate::{
    Fault,
    options::Idle,
    reconnect::exchange,
    report::Report,
    run::{Run, Tally},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::sleep};

pub(crate) async fn run(run: &Arc<Run>, mode: Idle) -> Result<Report, Fault> {
    let (doors, held) = (Arc::new(Semaphore::new(mode.at_once as usize)), Arc::new(Mutex::new(Vec::new())));
    run.all(mode.connections, |run, _| {
        let (doors, held) = (Arc::clone(&doors), Arc::clone(&held));
        async move {
            let mut tally = Tally::default();
            let opened = run.within(async {
                let _door = doors.acquire().await;
                let began = Instant::now();
                let (mut wire, _) = run.dial.connect().await?;
                tally.connections = 1;
                let (reading, reply) = exchange(&run, &mut wire).await?;
                tally.answered(reading, &reply, began);
                std::io::Result::Ok(wire)
            });
            match opened.await {
                Some(Ok(wire)) => held.lock().unwrap_or_else(PoisonError::into_inner).push(wire),
                Some(Err(error)) => {
                    tally.lost = 1;
                    tally.fault(error.to_string());
                }
                None => {
                    tally.lost = 1;
                    tally.fault("the time was up".to_owned());
                }
            }
            run.bar.inc(1);
            run.settle(tally);
        }
    })
    .await?;
    run.bar.set_message("holding");
    let spent = run.began.elapsed();
    run.within(sleep(Duration::from_secs(mode.hold))).await;
    let cost = run.cost()?;
    run.report("idle", spent, cost)
}
