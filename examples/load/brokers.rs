//! A broker that starts anew: every account's password is asked for once, over connections that
//! stay open, and again after a second if the server says that it is too busy.

use crate::{
    Fault,
    dial::Wire,
    options::Brokers,
    report::Report,
    run::{Run, Tally, patient},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

/// Longer than any answer to the question.
const MAX_ANSWER_BYTES: usize = 4096;

/// Until a client of a broker tries again.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(run: &Arc<Run>, mode: Brokers) -> Result<Report, Fault> {
    let taken = Arc::new(AtomicU64::new(0));
    let mode = Arc::new(mode);
    run.all(mode.connections, |run, _| {
        let (taken, mode) = (Arc::clone(&taken), Arc::clone(&mode));
        async move {
            let mut tally = Tally::default();
            match run.within(ask_all(&run, &mode, &taken, &mut tally)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tally.lost += 1;
                    tally.fault(error.to_string());
                }
                None => {
                    tally.lost += 1;
                    tally.fault("the time was up".to_owned());
                }
            }
            run.settle(tally);
        }
    })
    .await?;
    run.report("brokers", run.began.elapsed(), run.cost()?)
}

async fn ask_all(run: &Run, mode: &Brokers, taken: &AtomicU64, tally: &mut Tally) -> io::Result<()> {
    let (mut wire, _) = run.dial.connect().await?;
    tally.connections += 1;
    loop {
        let number = taken.fetch_add(1, Ordering::Relaxed);
        if number >= mode.accounts {
            return wire.shutdown().await;
        }
        let question = question(run, mode, number);
        let began = Instant::now();
        loop {
            match ask(&mut wire, question.as_bytes()).await? {
                (200, body) if body == "allow" => {
                    tally.allowed(began);
                    break;
                }
                (503, _) => tally.fault("503, asked again".to_owned()),
                (status, body) => {
                    tally.refused += 1;
                    tally.fault(format!("{status} {body}"));
                    break;
                }
            }
            sleep(AGAIN).await;
        }
        run.bar.inc(1);
    }
}

/// As RabbitMQ asks. Names and password of a measurement need no escaping.
fn question(run: &Run, mode: &Brokers, number: u64) -> String {
    let form = format!(
        "username={}{number}&password={}&vhost=%2f&client_id={}{number}",
        mode.prefix, mode.password, mode.prefix
    );
    format!(
        "POST /mqtt/user HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        run.dial.to(),
        mode.token,
        form.len()
    )
}

/// Status and body of one answer.
async fn ask(wire: &mut Wire, question: &[u8]) -> io::Result<(u16, String)> {
    wire.write_all(question).await?;
    wire.flush().await?;
    let mut answer = Vec::new();
    loop {
        if patient(wire.read_buf(&mut answer)).await? == 0 || answer.len() > MAX_ANSWER_BYTES {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no answer before the end"));
        }
        if let Some(parts) = parse(&String::from_utf8_lossy(&answer)) {
            return Ok(parts);
        }
    }
}

/// `None` as long as it is not whole.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then(|| (status, body.to_owned()))
}
