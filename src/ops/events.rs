//! What happens, told once: the log line and the metric of each event side by side.
//!
//! What a stranger can cause is `debug` and a counter; `warn` has recovered; `error` means
//! that someone must act. Nothing a peer sent is logged but device ids. What happens to one connection
//! is in [`super::connection`].

use super::accounts::{BrokerLabel, OutcomeLabel};
use super::health::Health;
use super::metrics::{ConfirmationLabel, Metrics, PortLabel, ReasonLabel, StatusLabel};
use crate::device::issue::IssueError;
use crate::net::accept::AcceptError;
use crate::net::authority::Authority;
use crate::protocol::reply::Refusal;
use crate::store::devices::{Listed, NotLinked, Status};
use crate::store::{Confirmed, StoreError};
use crate::tls::SetupError;
use crate::tunnel::Pinned;
use axum::http::StatusCode;

/// A connection was closed before TLS, or could not be accepted.
pub fn turned_away(
    metrics: &Metrics,
    port: &'static str,
    peer: impl std::fmt::Display,
    reason: &'static str,
) {
    metrics.turned_away.get_or_create(&ReasonLabel { port, reason }).inc();
    log::debug!(target: room(port), "{peer} turned away: {reason}");
}

/// A name that tunnels may lead to was looked up; it keeps the addresses it has now.
pub fn target_looked_up(target: &Authority, found: Result<&Pinned, std::io::Error>) {
    if target.literal().is_some() {
        return;
    }
    match found {
        Ok(Pinned { addresses, reserved }) => {
            for (address, kind) in reserved {
                log::warn!(
                    "[tunnel] allow: {target} leads to {address}, a {kind} address, and not there unless {address} is \
                     listed itself"
                );
            }
            if !addresses.is_empty() {
                log::info!("tunnels to {target} lead to {addresses:?} as long as m0v runs");
            }
        }
        Err(error) => {
            log::warn!(
                "[tunnel] allow: {target} has no address ({error}); asked again when a gateway wants it"
            );
        }
    }
}

/// A handshake panicked: a bug of ours or of a library; its connection is closed.
pub fn handshake_died(port: &'static str) {
    log::error!(target: room(port), "a handshake died of a bug: please report what was logged before");
}

/// Lines were answered with what the peer hoped for.
pub fn lines_thanked(metrics: &Metrics, port: &'static str, count: u64) {
    if count > 0 {
        metrics.thanked.get_or_create(&PortLabel { port }).inc_by(count);
    }
}

/// A line was answered `!OK`.
pub fn line_refused(metrics: &Metrics, port: &'static str, refusal: &Refusal) {
    metrics.refused.get_or_create(&ReasonLabel { port, reason: refusal.label() }).inc();
    log::debug!(target: room(port), "refused a line: {refusal}");
}

/// The database refused one row of a batch; its device was told.
pub fn row_rejected(pub_id: i64, reason: &str) {
    log::error!("the database rejected a packet of id {pub_id}: {reason}");
}

/// A call to the store failed, and whoever asked was told to try again. Unless it was merely
/// busy, the store counts as down from here on, until its watch has seen it commit; so the log
/// says it once an outage.
pub fn store_failed(health: &Health, metrics: &Metrics, what: &str, error: &StoreError) {
    count_store_error(metrics, error);
    if matches!(error, StoreError::Busy(_)) {
        log::debug!("could not {what}: {error}");
    } else if health.store_failed() {
        metrics.store_up.set(0);
        if error.is_transient() {
            log::warn!("could not {what}: {error}");
        } else {
            log::error!("could not {what}: {error}");
        }
    } else {
        log::debug!("could not {what}: {error}");
    }
}

/// Packets went to the spool instead of the store.
pub fn spooled(metrics: &Metrics, packets: u64) {
    metrics.stored.spooled.inc_by(packets);
    if metrics.once_a_minute("spooled") {
        log::warn!("packets go to the spool: the database is away or too slow");
    }
}

/// Packets were refused because the spool is at its bound.
pub fn spool_is_full(metrics: &Metrics) {
    if metrics.once_a_minute("spool is full") {
        log::error!("the spool is full ([spool] max_bytes): packets are refused until the database is back");
    }
}

/// The spool's own file failed.
pub fn spool_failed(metrics: &Metrics, error: &StoreError) {
    metrics.stored.spool_errors.inc();
    if metrics.once_a_minute("spool failed") {
        log::error!("the spool: {error}");
    } else {
        log::debug!("the spool: {error}");
    }
}

/// Packets left the spool; `left` wait still.
pub fn drained(metrics: &Metrics, packets: u64, left: u64) {
    metrics.stored.drained.inc_by(packets);
    if left == 0 {
        log::info!("the spool is empty again");
    } else if metrics.once_a_minute("drained") {
        log::info!("the spool is being drained, {left} packets wait");
    }
}

/// Packets that were thanked are in `rejected` now: someone must look.
pub fn rejected(metrics: &Metrics, packets: u64) {
    if packets > 0 {
        metrics.stored.rejected.inc_by(packets);
        log::error!("{packets} packets of the spool were refused by the database: see the table rejected");
    }
}

/// The database refused a report; who sent it was told.
pub fn telemetry_rejected(metrics: &Metrics, reason: &str) {
    if metrics.once_a_minute("telemetry rejected") {
        log::error!("the database rejected a report over HTTPS: {reason}");
    } else {
        log::debug!("the database rejected a report over HTTPS: {reason}");
    }
}

/// The drain failed and begins again.
pub fn drain_failed(metrics: &Metrics, error: &StoreError) {
    count_store_error(metrics, error);
    if error.is_transient() && !metrics.once_a_minute("drain failed") {
        log::debug!("could not drain the spool: {error}");
    } else if error.is_transient() {
        log::warn!("could not drain the spool, trying again: {error}");
    } else if metrics.once_a_minute("drain refused") {
        log::error!("could not drain the spool, trying again: {error}");
    }
}

/// The store answers, or answers again.
pub fn store_is_up(metrics: &Metrics) {
    metrics.store_up.set(1);
    log::info!("the database answers");
}

/// The store stopped answering, or never did.
pub fn store_is_down(metrics: &Metrics, error: &StoreError) {
    metrics.store_up.set(0);
    count_store_error(metrics, error);
    if error.is_transient() {
        log::warn!("{error}; trying again every second");
    } else {
        log::error!("{error}; trying again every second");
    }
}

/// The store is away still. What time does not heal is said again and again.
pub fn store_stays_down(metrics: &Metrics, error: &StoreError) {
    if !error.is_transient() && metrics.once_a_minute("store stays down") {
        log::error!("{error}; trying again every second");
    }
}

/// A device was registered when it first showed its certificate.
pub fn device_registered(metrics: &Metrics, listed: &Listed) {
    metrics.devices.registered.inc();
    let Listed { device_id, certificate_id, status, .. } = listed;
    let status =
        if *status == Status::Pending { ", and waits for approval (m0v device approve)" } else { "" };
    log::info!("device {device_id:?} was registered by its certificate {certificate_id}{status}");
}

/// A confirmation over a device's certificate was stored, but its pub is another's: not linked.
pub fn not_linked(metrics: &Metrics, device_id: &str, hash: i64, why: &NotLinked) {
    let level = if metrics.once_a_minute("not linked") { log::Level::Warn } else { log::Level::Debug };
    let why = match why {
        NotLinked::Taken { device_id } => format!("that pub is device {device_id:?}'s"),
        NotLinked::UnknownDevice => "there is no such device any more".to_owned(),
        NotLinked::UnknownPub => "there is no such pub any more".to_owned(),
    };
    log::log!(level, "device {device_id:?} confirmed hash {hash} and was not linked to it: {why}");
}

/// A device confirmed, over its own certificate, a hash whose owner it did not name.
pub fn owner_not_named(metrics: &Metrics, device_id: &str, hash: i64) {
    let level = if metrics.once_a_minute("not linked") { log::Level::Warn } else { log::Level::Debug };
    log::log!(
        level,
        "device {device_id:?} confirmed hash {hash} and was not linked to it: its owner was not named; if it is \
         right, m0v device link"
    );
}

/// The set of CAs changed, and sessions begun before could not be forgotten.
pub fn sessions_stay(port: &str, error: &SetupError) {
    log::error!("{port}: TLS sessions cannot be resumed any more: {error}");
}

/// A change of the allow-list could not be read; it is tried again at once.
pub fn registry_is_behind(metrics: &Metrics, error: &StoreError) {
    if metrics.once_a_minute("registry is behind") {
        log::warn!("changes of devices and certificates are not in force here yet: {error}");
    } else {
        log::debug!("the allow-list cannot be read: {error}");
    }
}

/// A start found no database, and an allow-list of that time (Unix microseconds).
pub fn allow_list_recalled(at: i64) {
    let at = time::OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000_000));
    let at = at.map_or_else(
        |_| "an unknown time".to_owned(),
        |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
    );
    log::warn!(
        "the database is away: certificates are judged by the allow-list of {at} until it is back; what was \
         revoked since is not known"
    );
}

/// A start found no database, and no allow-list either.
pub fn allow_list_unknown(error: Option<&StoreError>) {
    let why = error.map_or_else(String::new, |error| format!(" ({error})"));
    log::warn!("the database is away, and no allow-list is kept here{why}: no certificate is accepted yet");
}

/// The allow-list could not be written down for a start without the database.
pub fn allow_list_not_kept(metrics: &Metrics, error: &StoreError) {
    metrics.stored.spool_errors.inc();
    if metrics.once_a_minute("allow-list not kept") {
        log::error!("the spool: the allow-list is not kept for a start without the database: {error}");
    } else {
        log::debug!("the spool: the allow-list is not kept: {error}");
    }
}

/// An HTTP request was answered.
pub fn request_answered(metrics: &Metrics, status: StatusCode) {
    metrics.requests.get_or_create(&StatusLabel { code: status.as_u16().into() }).inc();
}

/// A request came with an API key that is none.
pub fn wrong_api_key(metrics: &Metrics) {
    metrics.wrong_api_keys.inc();
    log::debug!(target: room("api"), "a wrong API key");
}

/// A certificate was asked for, and our CA cannot issue it.
pub fn cannot_issue(metrics: &Metrics, error: &IssueError) {
    if metrics.once_a_minute("cannot issue") {
        log::error!(target: room("api"), "cannot issue certificates: {error}");
    } else {
        log::debug!(target: room("api"), "cannot issue certificates: {error}");
    }
}

/// An account was asked for.
pub fn registered(metrics: &Metrics, is_made: bool) {
    let outcome = if is_made { "made" } else { "refused" };
    metrics.accounts.registrations.get_or_create(&OutcomeLabel { outcome }).inc();
    log::debug!(target: room("api"), "an account was asked for: {outcome}");
}

/// An account's device greeted.
pub fn greeted(metrics: &Metrics, is_known: bool) {
    let outcome = if is_known { "known" } else { "refused" };
    metrics.accounts.greetings.get_or_create(&OutcomeLabel { outcome }).inc();
    log::debug!(target: room("api"), "a handshake of an account: {outcome}");
}

/// A broker was answered.
pub fn broker_answered(metrics: &Metrics, route: &'static str, is_allowed: bool) {
    let answer = if is_allowed { "allow" } else { "deny" };
    metrics.accounts.answers.get_or_create(&BrokerLabel { route, answer }).inc();
    log::debug!(target: room("api"), "a broker asked for {route}: {answer}");
}

/// A confirmation is stored; a conflict is the operator's to resolve.
pub fn confirmed(metrics: &Metrics, stored: &Confirmed) {
    metrics.confirmations.get_or_create(&ConfirmationLabel { conflict: stored.conflict }).inc();
    if stored.conflict {
        log::warn!(
            "two users configured hash {0}: the confirmation is in cconfo (m0v confo list --conflicts, \
             m0v confo resolve {0} --owner EMAIL)",
            stored.hash
        );
    } else {
        log::debug!("hash {} confirmed", stored.hash);
    }
}

/// The log's name for what happens at a port.
pub(super) fn room(port: &str) -> &'static str {
    match port {
        "meter" => "m0v::meter",
        "confirm" => "m0v::confirm",
        "tunnel" => "m0v::tunnel",
        _ => "m0v::server",
    }
}

fn count_store_error(metrics: &Metrics, error: &StoreError) {
    let reason = if error.is_transient() { "unavailable" } else { "refused" };
    metrics.store_errors.get_or_create(&ReasonLabel { port: "store", reason }).inc();
}

/// An accept failed; the loop goes on. Out of descriptors is the operator's to mend, said once a minute.
pub fn accept_failed(metrics: &Metrics, port: &'static str, kind: AcceptError, error: &std::io::Error) {
    metrics.turned_away.get_or_create(&ReasonLabel { port, reason: kind.label() }).inc();
    match kind {
        AcceptError::PeerGone => log::debug!(target: room(port), "accept: {error}"),
        AcceptError::Exhausted(limit) if metrics.once_a_minute(port) => {
            log::error!(target: room(port), "cannot accept connections, out of {limit}: {error}");
        }
        AcceptError::Exhausted(_) => log::debug!(target: room(port), "accept: {error}"),
        AcceptError::Other => log::warn!(target: room(port), "accept: {error}"),
    }
}
