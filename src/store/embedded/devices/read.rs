//! What is known of devices, certificates and CAs, in pages.

use super::super::error::Fault;
use crate::store::{
    StoreError,
    devices::{Audited, Ca, Device, DeviceCert, Listed, Role, Status},
};
use rusqlite::{Connection, Params, Row, params};

/// The caller adds what is asked for.
const LISTED: &str = "
    SELECT c.certificate_id, c.device_id, d.pub_id, c.ca_id, c.role, c.status, d.status, a.status, c.not_after
      FROM device_cert AS c JOIN device AS d ON d.device_id = c.device_id
      LEFT JOIN ca AS a ON a.ca_id = c.ca_id";

const DEVICE: &str = "SELECT device_id, model_number, pub_id, status, ca_id, created_at FROM device";

const CERT: &str = "SELECT certificate_id, device_id, ca_id, role, status, not_after, pem, created_at,
                           revoked_at FROM device_cert";

const CA: &str = "SELECT ca_id, subject, pem, status, auto_register, created_at FROM ca";

/// Rows that are asked for and what becomes of each.
fn all<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    of: fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(of(row)?);
    }
    Ok(found)
}

pub(super) fn page_of_listed(connection: &Connection, after: &str, limit: i64) -> Result<Vec<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.certificate_id > ?1 ORDER BY c.certificate_id LIMIT ?2");
    all(connection, &statement, params![after, limit.max(0)], listed_of_row)
}

pub(super) fn listed(connection: &Connection, certificate_id: &str) -> Result<Option<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.certificate_id = ?1");
    Ok(all(connection, &statement, [certificate_id], listed_of_row)?.pop())
}

pub(super) fn listed_of(connection: &Connection, device_id: &str) -> Result<Vec<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.device_id = ?1 ORDER BY c.certificate_id");
    all(connection, &statement, [device_id], listed_of_row)
}

pub(super) fn cas(connection: &Connection) -> Result<Vec<Ca>, Fault> {
    all(connection, &format!("{CA} ORDER BY created_at, ca_id"), [], ca_of_row)
}

pub(super) fn ca(connection: &Connection, ca_id: &str) -> Result<Option<Ca>, Fault> {
    Ok(all(connection, &format!("{CA} WHERE ca_id = ?1"), [ca_id], ca_of_row)?.pop())
}

pub(super) fn page_of_devices(
    connection: &Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Device>, Fault> {
    let statement = format!("{DEVICE} WHERE device_id > ?1 ORDER BY device_id LIMIT ?2");
    all(connection, &statement, params![after, limit.max(0)], device_of_row)
}

pub(super) fn device(connection: &Connection, device_id: &str) -> Result<Option<Device>, Fault> {
    Ok(all(connection, &format!("{DEVICE} WHERE device_id = ?1"), [device_id], device_of_row)?.pop())
}

pub(super) fn page_of_certs(
    connection: &Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<DeviceCert>, Fault> {
    let statement = format!("{CERT} WHERE certificate_id > ?1 ORDER BY certificate_id LIMIT ?2");
    all(connection, &statement, params![after, limit.max(0)], cert_of_row)
}

pub(super) fn cert(connection: &Connection, certificate_id: &str) -> Result<Option<DeviceCert>, Fault> {
    Ok(all(connection, &format!("{CERT} WHERE certificate_id = ?1"), [certificate_id], cert_of_row)?.pop())
}

pub(super) fn page_of_audit(
    connection: &Connection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Audited>, Fault> {
    let statement = "SELECT id, at, who, what, subject FROM audit
                      WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2";
    all(connection, statement, params![before, limit.max(0)], |row| {
        Ok(Audited {
            id: row.get(0)?,
            at: row.get(1)?,
            who: row.get(2)?,
            what: row.get(3)?,
            subject: row.get(4)?,
        })
    })
}

fn status(row: &Row<'_>, column: usize) -> Result<Status, Fault> {
    Ok(Status::of_word(&text(row, column)?)?)
}

fn role(row: &Row<'_>, column: usize) -> Result<Role, Fault> {
    Ok(Role::of_word(&text(row, column)?)?)
}

fn text(row: &Row<'_>, column: usize) -> Result<String, StoreError> {
    row.get(column).map_err(|error| StoreError::Refused(error.to_string()))
}

fn listed_of_row(row: &Row<'_>) -> Result<Listed, Fault> {
    let of_ca = match row.get::<_, Option<String>>(7)? {
        Some(word) => Status::of_word(&word)?,
        None => Status::Active,
    };
    Ok(Listed {
        certificate_id: row.get(0)?,
        device_id: row.get(1)?,
        pub_id: row.get(2)?,
        ca_id: row.get(3)?,
        role: role(row, 4)?,
        status: status(row, 5)?.max(status(row, 6)?).max(of_ca),
        not_after: row.get(8)?,
    })
}

fn device_of_row(row: &Row<'_>) -> Result<Device, Fault> {
    Ok(Device {
        device_id: row.get(0)?,
        model_number: row.get(1)?,
        pub_id: row.get(2)?,
        status: status(row, 3)?,
        ca_id: row.get(4)?,
        created_at: row.get(5)?,
    })
}

fn cert_of_row(row: &Row<'_>) -> Result<DeviceCert, Fault> {
    Ok(DeviceCert {
        certificate_id: row.get(0)?,
        device_id: row.get(1)?,
        ca_id: row.get(2)?,
        role: role(row, 3)?,
        status: status(row, 4)?,
        not_after: row.get(5)?,
        pem: row.get(6)?,
        created_at: row.get(7)?,
        revoked_at: row.get(8)?,
    })
}

fn ca_of_row(row: &Row<'_>) -> Result<Ca, Fault> {
    Ok(Ca {
        ca_id: row.get(0)?,
        subject: row.get(1)?,
        pem: row.get(2)?,
        status: status(row, 3)?,
        auto_register: row.get(4)?,
        created_at: row.get(5)?,
    })
}
