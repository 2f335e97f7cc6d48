//! One connection on the meter port: lines to rows, verdicts to replies.

use super::admit::Creation;
use super::batch::{Batcher, LaneHandle, Verdict};
use super::known::Known;
use super::speaker::{Speaker, not_own};
use super::spool::Spool;
use crate::device::{Identity, Registry};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::packet::{self, Packet, PubRef};
use crate::protocol::reply::{self, Refusal};
use crate::session::{Room, Tally};
use crate::store::spool::Spooled;
use crate::store::{Micros, Outcome, PacketRow, Store, StoreError, now};
use std::net::IpAddr;
use std::sync::Arc;

/// The port's name in logs and metrics.
const PORT: &str = "meter";

/// What all connections of the meter port share.
pub struct MeterService {
    /// Asked for devices that are not known yet.
    pub store: Arc<dyn Store>,
    /// Where rows are committed.
    pub batcher: Batcher,
    /// Devices met before.
    pub known: Arc<Known>,
    /// Where packets wait while the store is away.
    pub spool: Option<Arc<Spool>>,
    /// What happens to unknown ones.
    pub creation: Creation,
    /// Knows whose ids need a certificate; none with `client_cert = "off"`.
    pub registry: Option<Arc<Registry>>,
    /// `[meter] reply`.
    pub thanks: String,
    /// Whether the store can be asked at all.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// One line, between being read and being answered.
enum Slot {
    Refused(Refusal),
    /// Its device is not known here; the store must be asked.
    Unresolved(Box<Packet>),
    /// The next row of the burst.
    Row(Asked),
    /// The next stranger of the burst: its device is made at drain.
    Stranger(Asked),
}

/// What the store says of a device.
enum Found {
    /// Its (`pub_id`, `hash`).
    Known(i64, Option<i64>),
    /// Nothing, it is away: to be made when it is back.
    ToBeMade,
}

/// How the line named its device and reading, for the words of a refusal.
#[derive(Clone, Copy)]
struct Asked {
    device: PubRef,
    pub_id: i64,
    seq: Option<i64>,
}

/// The room of one connection.
pub struct MeterRoom {
    service: Arc<MeterService>,
    lane: LaneHandle,
    peer: IpAddr,
    speaker: Speaker,
    slots: Vec<Slot>,
    rows: Vec<PacketRow>,
    strangers: Vec<Spooled>,
    tally: Tally,
}

impl MeterRoom {
    /// Opens the room for a connection from `peer`, who is `identity` if a certificate was accepted.
    pub fn new(service: Arc<MeterService>, peer: IpAddr, identity: Option<Arc<Identity>>) -> Self {
        let lane = service.batcher.handle();
        let speaker = Speaker::new(identity, service.registry.clone());
        Self {
            service,
            lane,
            peer,
            speaker,
            slots: Vec::new(),
            rows: Vec::new(),
            strangers: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn accept(&mut self, packet: Packet, (pub_id, hash): (i64, Option<i64>), now: Micros) -> Slot {
        let device = packet.device;
        if let Some(refusal) = self.speaker.objection(device, pub_id) {
            return Slot::Refused(refusal);
        }
        if let Some(refusal) = disagreement(device, pub_id, hash) {
            return Slot::Refused(if self.speaker.is_device() { not_own(device) } else { refusal });
        }
        let slot = Slot::Row(Asked { device, pub_id, seq: packet.seq });
        self.rows.push(row(packet, pub_id, now));
        slot
    }

    fn take_packet(&mut self, packet: Packet) -> Slot {
        match self.service.known.find(packet.device) {
            // Only the store may say that they disagree: what is known here may be old.
            Some((id, hash)) if disagreement(packet.device, id, hash).is_none() => {
                self.accept(packet, (id, hash), now())
            }
            Some(_) | None => Slot::Unresolved(Box::new(packet)),
        }
    }

    /// Finds or makes the device of a packet that is not known here.
    async fn resolve(&self, device: PubRef) -> Result<Found, Refusal> {
        let service = &self.service;
        if !service.health.store_is_up() {
            return self.promise(device);
        }
        let failed = |error: StoreError| {
            events::store_failed(&service.health, &service.metrics, "find a device", &error);
            error.refusal()
        };
        match service.store.find_pub(device).await.map_err(failed) {
            Err(Refusal::Unavailable) => return self.promise(device),
            Err(refusal) => return Err(refusal),
            Ok(Some(found)) => {
                service.known.insert(&found);
                return Ok(Found::Known(found.pub_id, found.hash));
            }
            Ok(None) if self.speaker.is_device() => return Err(not_own(device)),
            Ok(None) => {}
        }
        match service.creation.admit(self.peer) {
            None => Err(unknown(device)),
            Some(false) => Err(Refusal::TooManyNew),
            Some(true) => {
                // Somebody else may have made it meanwhile; then it is theirs and as good.
                let made = service.store.add_pub(device).await.map_err(failed);
                let made = made?.unwrap_or_else(|taken| taken);
                service.known.insert(&made);
                Ok(Found::Known(made.pub_id, made.hash))
            }
        }
    }

    /// The store cannot be asked: with a spool, and if strangers may make themselves, the device
    /// will be made.
    fn promise(&self, device: PubRef) -> Result<Found, Refusal> {
        if self.speaker.is_device() {
            // Its own pub is there, known or not; more cannot be said of a hash.
            let own = self.speaker.own().filter(|own| device == PubRef { id: Some(*own), hash: None });
            return own.map(|own| Found::Known(own, None)).ok_or(Refusal::Unavailable);
        }
        let Some(spool) = &self.service.spool else { return Err(Refusal::Unavailable) };
        if let Some(refusal) = self.speaker.objection_unseen(device) {
            return Err(refusal);
        }
        if spool.has_promised(device) {
            return Ok(Found::ToBeMade);
        }
        match self.service.creation.admit(self.peer) {
            None => Err(Refusal::Unavailable),
            Some(false) => Err(Refusal::TooManyNew),
            Some(true) => {
                spool.promise(device, true);
                Ok(Found::ToBeMade)
            }
        }
    }

    fn take_stranger(&mut self, packet: Packet, now: Micros) -> Slot {
        let make = packet.device;
        let slot = Slot::Stranger(Asked { device: make, pub_id: 0, seq: packet.seq });
        self.strangers.push(Spooled { row: row(packet, 0, now), make });
        slot
    }

    /// Asks the store for every device that was not known, in the order of the lines.
    async fn resolve_all(&mut self) {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Unresolved(_))) {
            return;
        }
        // Rows must keep the order of the lines, so they are gathered anew.
        let mut known_rows = std::mem::take(&mut self.rows).into_iter();
        for slot in std::mem::take(&mut self.slots) {
            let slot = match slot {
                Slot::Unresolved(packet) => match self.resolve(packet.device).await {
                    Ok(Found::Known(id, hash)) => self.accept(*packet, (id, hash), now()),
                    Ok(Found::ToBeMade) => self.take_stranger(*packet, now()),
                    Err(refusal) => Slot::Refused(refusal),
                },
                Slot::Row(asked) => {
                    self.rows.extend(known_rows.next());
                    Slot::Row(asked)
                }
                settled @ (Slot::Refused(_) | Slot::Stranger(_)) => settled,
            };
            self.slots.push(slot);
        }
    }

    fn reply(&mut self, slot: Slot, verdict: Option<Verdict>, out: &mut Vec<u8>) {
        let refusal = match slot {
            Slot::Refused(refusal) => refusal,
            Slot::Unresolved(_) => Refusal::Unavailable,
            Slot::Row(asked) | Slot::Stranger(asked) => match verdict.unwrap_or(Err(Refusal::Unavailable)) {
                Ok(Outcome::Stored) => {
                    self.tally.thanked += 1;
                    return reply::push_line(out, &self.service.thanks);
                }
                Ok(Outcome::UnknownPub) => {
                    self.service.known.remove(asked.pub_id);
                    unknown(asked.device)
                }
                Ok(Outcome::SeqConflict) => Refusal::SeqConflict(asked.seq.unwrap_or_default()),
                Ok(Outcome::Rejected(reason)) => {
                    events::row_rejected(asked.pub_id, &reason);
                    Refusal::Rejected
                }
                Err(refusal) => refusal,
            },
        };
        self.tally.refused += 1;
        events::line_refused(&self.service.metrics, PORT, &refusal);
        reply::push_line(out, &reply::render(&refusal));
    }
}

impl Room for MeterRoom {
    fn take(&mut self, line: &[u8]) {
        let slot = match packet::parse(line) {
            Err(refusal) => Slot::Refused(refusal),
            Ok(mut packet) => match self.speaker.name(&mut packet.device) {
                Err(refusal) => Slot::Refused(refusal),
                Ok(()) => self.take_packet(packet),
            },
        };
        self.slots.push(slot);
    }

    async fn settle(&mut self, out: &mut Vec<u8>) {
        self.resolve_all().await;
        let (rows, strangers) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.strangers));
        let count = rows.len();
        let verdicts = if count + strangers.len() == 0 {
            Vec::new()
        } else if self.service.spool.is_some() || self.service.health.store_is_up() {
            self.lane.write(rows, strangers).await
        } else {
            vec![Err(Refusal::Unavailable); count]
        };
        let mut verdicts = verdicts;
        let mut others = verdicts.split_off(count.min(verdicts.len())).into_iter();
        let mut verdicts = verdicts.into_iter();
        let thanked_before = self.tally.thanked;
        for slot in std::mem::take(&mut self.slots) {
            let verdict = match slot {
                Slot::Row(_) => verdicts.next(),
                Slot::Stranger(_) => others.next(),
                Slot::Refused(_) | Slot::Unresolved(_) => None,
            };
            self.reply(slot, verdict, out);
        }
        events::lines_thanked(&self.service.metrics, PORT, self.tally.thanked - thanked_before);
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// `None` when all that the line gives is this device's.
fn disagreement(asked: PubRef, pub_id: i64, hash: Option<i64>) -> Option<Refusal> {
    let (id, asked_hash) = (asked.id?, asked.hash?);
    let agree = id == pub_id && Some(asked_hash) == hash;
    (!agree).then_some(Refusal::IdAndHashDisagree { id, hash: asked_hash })
}

/// Names what the line gave first, as the look-up did.
fn unknown(device: PubRef) -> Refusal {
    match device {
        PubRef { id: Some(id), .. } => Refusal::UnknownId(id),
        PubRef { hash: Some(hash), .. } => Refusal::UnknownHash(hash),
        PubRef { id: None, hash: None } => Refusal::MissingDevice,
    }
}

fn row(packet: Packet, pub_id: i64, now: Micros) -> PacketRow {
    PacketRow {
        pub_id,
        created_at: packet.timestamp.map_or(now, |seconds| seconds.saturating_mul(1_000_000)),
        voltage: packet.voltage,
        frequency: packet.frequency,
        protected: packet.protected,
        seq: packet.seq,
        extra: packet.extra,
    }
}
