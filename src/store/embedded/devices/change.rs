//! Revokes, approves, links.

use super::{super::error::Fault, audit, read};
use crate::{
    protocol::packet::PubRef,
    store::{
        devices::{Ca, Change, Device, NotLinked, Revocation, Status},
        embedded::pubs,
        now,
    },
};
use rusqlite::{Connection, OptionalExtension, params};

/// Certificates that still count, alone and by their device and CA.
const COUNTING: &str = "
    SELECT count(*) FROM device_cert AS c JOIN device AS d ON d.device_id = c.device_id
      LEFT JOIN ca AS a ON a.ca_id = c.ca_id
     WHERE c.status <> 'revoked' AND d.status <> 'revoked' AND coalesce(a.status, 'active') <> 'revoked'";

/// An answer, and what changed if anything did.
type Changed<T> = Result<(T, Option<Change>), Fault>;

pub(super) fn revoke(connection: &Connection, what: &Revocation, who: &str) -> Changed<Option<u64>> {
    let (id, status, counted, statement) = match what {
        Revocation::Certificate(id) => (
            id,
            "SELECT status FROM device_cert WHERE certificate_id = ?1",
            "c.certificate_id = ?1",
            "UPDATE device_cert SET status = 'revoked', revoked_at = ?2 WHERE certificate_id = ?1",
        ),
        Revocation::Device(id) => (
            id,
            "SELECT status FROM device WHERE device_id = ?1",
            "c.device_id = ?1",
            "UPDATE device SET status = 'revoked' WHERE device_id = ?1",
        ),
        Revocation::Ca(id) => (
            id,
            "SELECT status FROM ca WHERE ca_id = ?1",
            "c.ca_id = ?1",
            "UPDATE ca SET status = 'revoked' WHERE ca_id = ?1",
        ),
    };
    let status: Option<String> = connection.query_row(status, [id], |row| row.get(0)).optional()?;
    let Some(status) = status else { return Ok((None, None)) };
    if Status::of_word(&status)? == Status::Revoked {
        return Ok((Some(0), None));
    }
    let counting = format!("{COUNTING} AND {counted}");
    let ended: i64 = connection.query_row(&counting, [id], |row| row.get(0))?;
    match what {
        Revocation::Certificate(_) => connection.execute(statement, params![id, now()])?,
        Revocation::Device(_) | Revocation::Ca(_) => connection.execute(statement, [id])?,
    };
    audit(connection, who, what.deed(), &what.subject())?;
    Ok((Some(ended.unsigned_abs()), Some(what.change())))
}

pub(super) fn add_ca(connection: &Connection, ca: &Ca, who: &str) -> Changed<Result<Ca, Ca>> {
    if let Some(taken) = read::ca(connection, &ca.ca_id)? {
        return Ok((Err(taken), None));
    }
    let added = Ca { created_at: now(), ..ca.clone() };
    let Ca { ca_id, subject, pem, status, auto_register, created_at } = &added;
    connection.execute(
        "INSERT INTO ca (ca_id, subject, pem, status, auto_register, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![ca_id, subject, pem, status.word(), auto_register, created_at],
    )?;
    audit(connection, who, "ca add", &added.audit_subject())?;
    let change = Change::Ca(ca_id.clone());
    Ok((Ok(added), Some(change)))
}

pub(super) fn approve(connection: &Connection, device_id: &str, who: &str) -> Changed<Option<Status>> {
    let Some(device) = read::device(connection, device_id)? else { return Ok((None, None)) };
    if device.status != Status::Pending {
        return Ok((Some(device.status), None));
    }
    connection.execute("UPDATE device SET status = 'active' WHERE device_id = ?1", [device_id])?;
    audit(connection, who, "device approve", &format!("device {device_id}"))?;
    Ok((Some(device.status), Some(Change::Device(device.device_id))))
}

pub(super) fn link(
    connection: &Connection,
    device_id: &str,
    pub_id: i64,
    who: &str,
) -> Changed<Result<Device, NotLinked>> {
    let Some(device) = read::device(connection, device_id)? else {
        return Ok((Err(NotLinked::UnknownDevice), None));
    };
    if device.pub_id == Some(pub_id) {
        return Ok((Ok(device), None));
    }
    if pubs::find(connection, PubRef { id: Some(pub_id), hash: None })?.is_none() {
        return Ok((Err(NotLinked::UnknownPub), None));
    }
    let taken = connection
        .query_row("SELECT device_id FROM device WHERE pub_id = ?1 LIMIT 1", [pub_id], |row| row.get(0))
        .optional()?;
    if let Some(device_id) = taken {
        return Ok((Err(NotLinked::Taken { device_id }), None));
    }
    connection.execute("UPDATE device SET pub_id = ?2 WHERE device_id = ?1", params![device_id, pub_id])?;
    audit(connection, who, "device link", &device.link_subject(pub_id))?;
    let change = Change::Device(device_id.to_owned());
    Ok((Ok(Device { pub_id: Some(pub_id), ..device }), Some(change)))
}
