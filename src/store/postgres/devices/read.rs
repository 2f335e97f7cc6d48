//! What is known of devices, certificates and CAs, in pages.

use super::super::{fault::Fault, time::Timestamp};
use crate::store::{
    StoreError,
    devices::{Audited, Ca, Device, DeviceCert, Listed, Role, Status},
};
use tokio_postgres::{Client, Row, types::ToSql};

/// Statuses of certificate, device and CA last but one; the caller adds what is asked for.
const LISTED: &str = "
    SELECT c.certificate_id, c.device_id, d.pub_id, c.ca_id, c.role, c.status, d.status, a.status, c.not_after
      FROM device_cert AS c JOIN device AS d ON d.device_id = c.device_id
      LEFT JOIN ca AS a ON a.ca_id = c.ca_id";

const DEVICE: &str = "SELECT device_id, model_number, pub_id, status, ca_id, created_at FROM device";

const CERT: &str = "SELECT certificate_id, device_id, ca_id, role, status, not_after, pem, created_at,
                           revoked_at FROM device_cert";

const CA: &str = "SELECT ca_id, subject, pem, status, auto_register, created_at FROM ca";

/// Rows that are asked for and what becomes of each.
async fn all<T>(
    client: &Client,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
    of: fn(&Row) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    client.query(statement, parameters).await?.iter().map(of).collect()
}

pub(super) async fn page_of_listed(client: &Client, after: &str, limit: i64) -> Result<Vec<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.certificate_id > $1 ORDER BY c.certificate_id LIMIT $2");
    all(client, &statement, &[&after, &limit.max(0)], listed_of_row).await
}

pub(super) async fn listed(client: &Client, certificate_id: &str) -> Result<Option<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.certificate_id = $1");
    Ok(all(client, &statement, &[&certificate_id], listed_of_row).await?.pop())
}

pub(super) async fn listed_of(client: &Client, device_id: &str) -> Result<Vec<Listed>, Fault> {
    let statement = format!("{LISTED} WHERE c.device_id = $1 ORDER BY c.certificate_id");
    all(client, &statement, &[&device_id], listed_of_row).await
}

pub(super) async fn cas(client: &Client) -> Result<Vec<Ca>, Fault> {
    all(client, &format!("{CA} ORDER BY created_at, ca_id"), &[], ca_of_row).await
}

pub(super) async fn ca(client: &Client, ca_id: &str) -> Result<Option<Ca>, Fault> {
    Ok(all(client, &format!("{CA} WHERE ca_id = $1"), &[&ca_id], ca_of_row).await?.pop())
}

pub(super) async fn page_of_devices(client: &Client, after: &str, limit: i64) -> Result<Vec<Device>, Fault> {
    let statement = format!("{DEVICE} WHERE device_id > $1 ORDER BY device_id LIMIT $2");
    all(client, &statement, &[&after, &limit.max(0)], device_of_row).await
}

pub(super) async fn device(client: &Client, device_id: &str) -> Result<Option<Device>, Fault> {
    Ok(all(client, &format!("{DEVICE} WHERE device_id = $1"), &[&device_id], device_of_row).await?.pop())
}

/// Holds the row until the transaction ends; not against those who only refer to it.
pub(super) async fn lock_device(client: &Client, device_id: &str) -> Result<Option<Device>, Fault> {
    let statement = format!("{DEVICE} WHERE device_id = $1 FOR NO KEY UPDATE");
    Ok(all(client, &statement, &[&device_id], device_of_row).await?.pop())
}

pub(super) async fn page_of_certs(
    client: &Client,
    after: &str,
    limit: i64,
) -> Result<Vec<DeviceCert>, Fault> {
    let statement = format!("{CERT} WHERE certificate_id > $1 ORDER BY certificate_id LIMIT $2");
    all(client, &statement, &[&after, &limit.max(0)], cert_of_row).await
}

pub(super) async fn cert(client: &Client, certificate_id: &str) -> Result<Option<DeviceCert>, Fault> {
    let statement = format!("{CERT} WHERE certificate_id = $1");
    Ok(all(client, &statement, &[&certificate_id], cert_of_row).await?.pop())
}

pub(super) async fn page_of_audit(
    client: &Client,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Audited>, Fault> {
    let statement = "SELECT id, at, who, what, subject FROM audit
                      WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2";
    all(client, statement, &[&before, &limit.max(0)], |row| {
        let Timestamp(at) = row.try_get(1)?;
        Ok(Audited {
            id: row.try_get(0)?,
            at,
            who: row.try_get(2)?,
            what: row.try_get(3)?,
            subject: row.try_get(4)?,
        })
    })
    .await
}

fn status(row: &Row, column: usize) -> Result<Status, StoreError> {
    let word: &str = row.try_get(column).map_err(|error| StoreError::Refused(error.to_string()))?;
    Status::of_word(word)
}

fn role(row: &Row, column: usize) -> Result<Role, StoreError> {
    let word: &str = row.try_get(column).map_err(|error| StoreError::Refused(error.to_string()))?;
    Role::of_word(word)
}

fn listed_of_row(row: &Row) -> Result<Listed, Fault> {
    let Timestamp(not_after) = row.try_get(8)?;
    let of_ca = match row.try_get::<_, Option<&str>>(7)? {
        Some(word) => Status::of_word(word)?,
        None => Status::Active,
    };
    Ok(Listed {
        certificate_id: row.try_get(0)?,
        device_id: row.try_get(1)?,
        pub_id: row.try_get(2)?,
        ca_id: row.try_get(3)?,
        role: role(row, 4)?,
        status: status(row, 5)?.max(status(row, 6)?).max(of_ca),
        not_after,
    })
}

fn device_of_row(row: &Row) -> Result<Device, Fault> {
    let Timestamp(created_at) = row.try_get(5)?;
    Ok(Device {
        device_id: row.try_get(0)?,
        model_number: row.try_get(1)?,
        pub_id: row.try_get(2)?,
        status: status(row, 3)?,
        ca_id: row.try_get(4)?,
        created_at,
    })
}

fn cert_of_row(row: &Row) -> Result<DeviceCert, Fault> {
    let (Timestamp(not_after), Timestamp(created_at)) = (row.try_get(5)?, row.try_get(7)?);
    let revoked_at: Option<Timestamp> = row.try_get(8)?;
    Ok(DeviceCert {
        certificate_id: row.try_get(0)?,
        device_id: row.try_get(1)?,
        ca_id: row.try_get(2)?,
        role: role(row, 3)?,
        status: status(row, 4)?,
        not_after,
        pem: row.try_get(6)?,
        created_at,
        revoked_at: revoked_at.map(|Timestamp(at)| at),
    })
}

fn ca_of_row(row: &Row) -> Result<Ca, Fault> {
    let Timestamp(created_at) = row.try_get(5)?;
    Ok(Ca {
        ca_id: row.try_get(0)?,
        subject: row.try_get(1)?,
        pem: row.try_get(2)?,
        status: status(row, 3)?,
        auto_register: row.try_get(4)?,
        created_at,
    })
}
