//! Meters that never stop sending, and the book they keep of what was thanked.
//!
//! The oracle of every test that kills something: what was thanked is in the table, exactly once and
//! exactly as sent; what is in the table was sent by someone. Every second meter sends without `seq`,
//! so that nothing but the server keeps its packets single: each is stored at least once, and at most
//! as often as it was sent.

use crate::{
    client::Client,
    harness::{PATIENCE, Server, Site, eventually},
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The device all packets of a load speak of.
pub(crate) const LOAD_DEVICE: i64 = 17;
const FIRST_TIMESTAMP: i64 = 1_732_300_000;
/// Lines in flight of one meter.
const WINDOW: i64 = 25;
/// Between a meter's windows in an outage: the spool takes packets quicker than they are drained, and
/// the tests want to see its end.
const CALM: Duration = Duration::from_millis(50);

/// Some meters, each a thread with one connection.
pub(crate) struct Load {
    shared: Arc<Shared>,
    meters: Vec<JoinHandle<Sent>>,
}

/// How often each packet of a meter was sent.
type Sent = Vec<u32>;

/// A packet: its time in seconds and its meter.
type Key = (i64, i64);

struct Shared {
    addr: Mutex<SocketAddr>,
    ca_pem: Vec<u8>,
    thanked: AtomicUsize,
    enough: AtomicBool,
    pause: Duration,
}

impl Load {
    /// Starts meters against a server that knows [`LOAD_DEVICE`].
    pub(crate) fn start(server: &Server<'_>, meters: i64) -> Self {
        Self::start_with(server, meters, Duration::ZERO)
    }

    /// The same with meters that pause.
    pub(crate) fn start_calm(server: &Server<'_>, meters: i64) -> Self {
        Self::start_with(server, meters, CALM)
    }

    fn start_with(server: &Server<'_>, meters: i64, pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            addr: Mutex::new(server.meter_addr()),
            ca_pem: server.ca_pem(),
            thanked: AtomicUsize::new(0),
            enough: AtomicBool::new(false),
            pause,
        });
        let meters = (0..meters).map(|meter| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.send_until_enough(meter))
        });
        let meters = meters.collect();
        Self { shared, meters }
    }

    /// Waits until `count` more packets are thanked.
    pub(crate) fn runs_for(&self, count: usize) {
        let until = self.shared.thanked.load(Ordering::SeqCst) + count;
        eventually("packets to be thanked", || {
            assert!(!self.meters.iter().any(JoinHandle::is_finished), "a meter failed");
            (self.shared.thanked.load(Ordering::SeqCst) >= until).then_some(())
        });
    }

    /// Tells the meters where the server is now.
    pub(crate) fn moves_to(&self, server: &Server<'_>) {
        *self.shared.addr.lock().expect("no meter panicked") = server.meter_addr();
    }

    /// Lets every meter finish what it began (sending again until thanked) and compares the table.
    pub(crate) fn ends_as_thanked(self, site: &Site) {
        self.shared.enough.store(true, Ordering::SeqCst);
        let mut sent = BTreeMap::new();
        for (meter, thread) in (0..).zip(self.meters) {
            let times = thread.join().expect("the meter got what it was promised");
            sent.extend((0..).zip(times).map(|(number, times)| (key(meter, number), times)));
        }
        // What was thanked may still be on its way out of the spool.
        let (mut patience, mut fewest) = (Instant::now() + PATIENCE, usize::MAX);
        let stored = loop {
            let stored = stored(site);
            let lost: Vec<_> = sent.keys().filter(|key| !stored.contains_key(*key)).collect();
            if lost.is_empty() {
                break stored;
            }
            let count = lost.len();
            if count < fewest {
                (patience, fewest) = (Instant::now() + PATIENCE, count);
            }
            assert!(Instant::now() < patience, "{count} packets were thanked and are not stored: {lost:?}");
            thread::sleep(Duration::from_millis(200));
        };
        for (key, times) in stored {
            let sent = *sent.get(&key).unwrap_or_else(|| panic!("{key:?} was never sent"));
            let most = if has_seq(key.1) { 1 } else { sent };
            assert!(times <= most, "{key:?} was sent {sent} times and is stored {times} times");
        }
    }
}

/// How often each packet is in the table.
fn stored(site: &Site) -> BTreeMap<Key, u32> {
    let mut stored = BTreeMap::new();
    for row in site.packets() {
        assert_eq!(row.pub_id, LOAD_DEVICE);
        assert_eq!((row.frequency, row.protected), (Some(49.98), true));
        let (number, meter) = parts(row.voltage.expect("a voltage"));
        assert_eq!(row.created_at, (FIRST_TIMESTAMP + number) * 1_000_000, "meter {meter}");
        assert_eq!(row.seq, has_seq(meter).then_some(meter));
        *stored.entry(key(meter, number)).or_default() += 1;
    }
    stored
}

impl Shared {
    /// Sends windows of packets until told to end; all of them were thanked.
    fn send_until_enough(&self, meter: i64) -> Sent {
        let mut sent = Sent::new();
        let mut client = None;
        while !self.enough.load(Ordering::SeqCst) {
            let next = i64::try_from(sent.len()).expect("a load is short");
            let mut pending: Vec<i64> = (next..next + WINDOW).collect();
            sent.resize(sent.len() + pending.len(), 0);
            let patience = Instant::now() + PATIENCE;
            while let Err(e) = self.send(&mut client, meter, &mut pending, &mut sent) {
                assert!(Instant::now() < patience, "meter {meter} gets no further: {e}");
                client = None;
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep(self.pause);
        }
        sent
    }

    /// Sends what is pending and takes from it what is thanked. What was thanked is never sent again: a
    /// resend would hide that it was lost.
    fn send(
        &self,
        client: &mut Option<Client>,
        meter: i64,
        pending: &mut Vec<i64>,
        sent: &mut Sent,
    ) -> io::Result<()> {
        let client = match client {
            Some(client) => client,
            None => {
                let addr = *self.addr.lock().map_err(|_| io::Error::other("a meter panicked"))?;
                client.insert(Client::try_connect(addr, &self.ca_pem)?)
            }
        };
        let lines: String = pending.iter().map(|number| line(meter, *number)).collect();
        for number in &*pending {
            sent[usize::try_from(*number).expect("counted from 0")] += 1;
        }
        client.try_send_raw(lines.as_bytes())?;
        for number in pending.clone() {
            let reply = client.next_reply()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match reply.as_str() {
                "Thank you" => {
                    pending.retain(|other| *other != number);
                    self.thanked.fetch_add(1, Ordering::SeqCst);
                }
                "!OK database unavailable, try again" | "!OK busy, try again" => {}
                _ => panic!("{reply:?} for a good packet"),
            }
        }
        if pending.is_empty() { Ok(()) } else { Err(io::Error::other("put off")) }
    }
}

fn key(meter: i64, number: i64) -> Key {
    (FIRST_TIMESTAMP + number, meter)
}

fn has_seq(meter: i64) -> bool {
    meter % 2 == 0
}

/// A value that no other packet of the load has.
fn voltage(meter: i64, number: i64) -> f64 {
    let offset = i32::try_from(number * 16 + meter).expect("a load is short");
    200.0 + f64::from(offset) / 1024.0
}

/// Number and meter of the packet with this voltage.
fn parts(voltage: f64) -> (i64, i64) {
    let offset = (voltage - 200.0) * 1024.0;
    assert!(offset >= 0.0 && offset.fract() == 0.0, "{voltage} was never sent");
    #[expect(clippy::cast_possible_truncation, reason = "made from an i32")]
    let offset = offset as i64;
    (offset / 16, offset % 16)
}

fn line(meter: i64, number: i64) -> String {
    let (timestamp, seq) = key(meter, number);
    let voltage = voltage(meter, number);
    let seq = if has_seq(meter) { format!("\"seq\":{seq},") } else { String::new() };
    format!(
        "{{\"id\":{LOAD_DEVICE},\"timestamp\":{timestamp},{seq}\"status\":true,\
         \"voltage\":{voltage},\"freq\":49.98}}\n"
    )
}
