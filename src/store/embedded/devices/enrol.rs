//! Lists a certificate, and makes its device. What may be listed on which grounds is decided by
//! `store::devices::rules`.

use super::{
    super::{
        error::Fault,
        ids::{self, Sequence},
        pubs,
    },
    audit, read,
};
use crate::store::{
    Micros, Pub, StoreError,
    devices::{
        Change, Device, Enrolment, Grounds, Listed, NotEnrolled, Status,
        rules::{Allowed, Issuer, judge},
    },
};
use rusqlite::{Connection, OptionalExtension, params};

const HOUR: Micros = 3_600_000_000;

type Enrolled = (Result<Listed, NotEnrolled>, Option<Change>);

pub(super) fn enrol(
    connection: &Connection,
    enrolment: &Enrolment,
    who: &str,
    now: Micros,
) -> Result<Enrolled, Fault> {
    let Enrolment { device_id, certificate_id, .. } = enrolment;
    let issuer = issuer(connection, &enrolment.grounds, now)?;
    let device = read::device(connection, device_id)?;
    let listed = read::listed(connection, certificate_id)?;
    let allowed = match judge(enrolment, issuer.as_ref(), device.as_ref(), listed.as_ref()) {
        Ok(allowed) => allowed,
        Err(refused) => return Ok((Err(refused), None)),
    };
    let is_mended = match device {
        None => make_device(connection, enrolment, allowed.new_status, now).map(|()| false)?,
        Some(device) => mend_device(connection, &device, &allowed, who, now)?,
    };
    let is_new = listed.is_none();
    if is_new {
        insert(connection, enrolment, now)?;
        audit(connection, who, enrolment.grounds.deed(), &enrolment.subject())?;
    } else if let Some(role) = allowed.new_role {
        connection
            .prepare_cached("UPDATE device_cert SET role = ?2 WHERE certificate_id = ?1")?
            .execute(params![certificate_id, role.word()])?;
        audit(connection, who, "cert add", &format!("{} as {}", enrolment.subject(), role.word()))?;
    }
    let gone = || StoreError::Refused(format!("certificate {certificate_id} vanished while it was listed"));
    let entry = read::listed(connection, certificate_id)?.ok_or_else(gone)?;
    let change = match (is_mended, is_new || allowed.new_role.is_some()) {
        (true, _) => Some(Change::Device(device_id.clone())),
        (false, true) => Some(Change::Certificate(certificate_id.clone())),
        (false, false) => None,
    };
    Ok((Ok(entry), change))
}

/// The CA of the grounds, and how many devices it has got in the last hour.
fn issuer(connection: &Connection, grounds: &Grounds, now: Micros) -> Result<Option<Issuer>, Fault> {
    let Some(ca_id) = grounds.ca_id() else { return Ok(None) };
    let Some(ca) = read::ca(connection, ca_id)? else { return Ok(None) };
    let made_in_hour = connection
        .prepare_cached("SELECT count(*) FROM device WHERE ca_id = ?1 AND created_at > ?2")?
        .query_row(params![ca_id, now - HOUR], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    Ok(Some(Issuer { status: ca.status, auto_register: ca.auto_register, made_in_hour }))
}

fn make_device(
    connection: &Connection,
    enrolment: &Enrolment,
    status: Status,
    now: Micros,
) -> Result<(), Fault> {
    let Enrolment { device_id, model_number, grounds, .. } = enrolment;
    let pub_id = make_pub(connection, now)?;
    connection
        .prepare_cached(
            "INSERT INTO device (device_id, model_number, pub_id, status, ca_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![device_id, model_number, pub_id, status.word(), grounds.ca_id(), now])?;
    Ok(())
}

/// One that has no pub gets one, and one that waited for approval has it. Whether anything was done.
fn mend_device(
    connection: &Connection,
    device: &Device,
    allowed: &Allowed,
    who: &str,
    now: Micros,
) -> Result<bool, Fault> {
    if device.pub_id.is_none() {
        let pub_id = make_pub(connection, now)?;
        connection
            .prepare_cached("UPDATE device SET pub_id = ?2 WHERE device_id = ?1")?
            .execute(params![device.device_id, pub_id])?;
        audit(connection, who, "device link", &device.link_subject(pub_id))?;
    }
    if device.status != allowed.new_status {
        connection
            .prepare_cached("UPDATE device SET status = ?2 WHERE device_id = ?1")?
            .execute(params![device.device_id, allowed.new_status.word()])?;
        audit(connection, who, "device approve", &format!("device {}", device.device_id))?;
    }
    Ok(device.pub_id.is_none() || device.status != allowed.new_status)
}

fn make_pub(connection: &Connection, now: Micros) -> Result<i64, Fault> {
    let pub_id = ids::next(connection, Sequence::Pub)?;
    pubs::insert(connection, &Pub { pub_id, hash: None, creator: None, created_at: now })?;
    Ok(pub_id)
}

fn insert(connection: &Connection, enrolment: &Enrolment, now: Micros) -> Result<(), Fault> {
    let Enrolment { device_id, certificate_id, pem, not_after, role, grounds, .. } = enrolment;
    connection
        .prepare_cached(
            "INSERT INTO device_cert (certificate_id, device_id, ca_id, role, not_after, pem, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![certificate_id, device_id, grounds.ca_id(), role.word(), not_after, pem, now])?;
    Ok(())
}
