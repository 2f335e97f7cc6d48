//! Revokes, approves, links: each locks the row it judges by.

use super::{super::fault::Fault, note, read};
use crate::store::{
    StoreError,
    devices::{Ca, Change, Device, NotLinked, Revocation, Status},
};
use tokio_postgres::Client;

/// Certificates that still count, alone and by their device and CA.
const COUNTING: &str = "
    SELECT count(*) FROM device_cert AS c JOIN device AS d ON d.device_id = c.device_id
      LEFT JOIN ca AS a ON a.ca_id = c.ca_id
     WHERE c.status <> 'revoked' AND d.status <> 'revoked' AND a.status IS DISTINCT FROM 'revoked'";

pub(super) async fn revoke(client: &Client, what: &Revocation, who: &str) -> Result<Option<u64>, Fault> {
    let (id, lock, counted, statement) = match what {
        Revocation::Certificate(id) => (
            id,
            "SELECT status FROM device_cert WHERE certificate_id = $1 FOR NO KEY UPDATE",
            "c.certificate_id = $1",
            "UPDATE device_cert SET status = 'revoked', revoked_at = now() WHERE certificate_id = $1",
        ),
        Revocation::Device(id) => (
            id,
            "SELECT status FROM device WHERE device_id = $1 FOR NO KEY UPDATE",
            "c.device_id = $1",
            "UPDATE device SET status = 'revoked' WHERE device_id = $1",
        ),
        Revocation::Ca(id) => (
            id,
            "SELECT status FROM ca WHERE ca_id = $1 FOR NO KEY UPDATE",
            "c.ca_id = $1",
            "UPDATE ca SET status = 'revoked' WHERE ca_id = $1",
        ),
    };
    let Some(row) = client.query_opt(lock, &[id]).await? else { return Ok(None) };
    if Status::of_word(row.try_get(0)?)? == Status::Revoked {
        return Ok(Some(0));
    }
    let ended: i64 = client.query_one(&format!("{COUNTING} AND {counted}"), &[id]).await?.try_get(0)?;
    client.execute(statement, &[id]).await?;
    note(client, who, what.deed(), &what.subject(), &what.change()).await?;
    Ok(Some(ended.unsigned_abs()))
}

pub(super) async fn add_ca(client: &Client, ca: &Ca, who: &str) -> Result<Result<Ca, Ca>, Fault> {
    let Ca { ca_id, subject, pem, status, auto_register, .. } = ca;
    let statement = "INSERT INTO ca (ca_id, subject, pem, status, auto_register) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT DO NOTHING";
    let made = client.execute(statement, &[ca_id, subject, pem, &status.word(), auto_register]).await?;
    let kept = read::ca(client, ca_id).await?;
    let gone = || StoreError::Refused(format!("ca {ca_id} vanished while it was registered"));
    let kept = kept.ok_or_else(gone)?;
    if made == 0 {
        return Ok(Err(kept));
    }
    note(client, who, "ca add", &kept.audit_subject(), &Change::Ca(ca_id.clone())).await?;
    Ok(Ok(kept))
}

pub(super) async fn approve(client: &Client, device_id: &str, who: &str) -> Result<Option<Status>, Fault> {
    let Some(device) = read::lock_device(client, device_id).await? else { return Ok(None) };
    if device.status == Status::Pending {
        client.execute("UPDATE device SET status = 'active' WHERE device_id = $1", &[&device_id]).await?;
        let change = Change::Device(device.device_id);
        note(client, who, "device approve", &format!("device {device_id}"), &change).await?;
    }
    Ok(Some(device.status))
}

pub(super) async fn link(
    client: &Client,
    device_id: &str,
    pub_id: i64,
    who: &str,
) -> Result<Result<Device, NotLinked>, Fault> {
    let Some(device) = read::lock_device(client, device_id).await? else {
        return Ok(Err(NotLinked::UnknownDevice));
    };
    if device.pub_id == Some(pub_id) {
        return Ok(Ok(device));
    }
    // Held, so that two devices cannot both find it free.
    let statement = "SELECT pub_id FROM pub WHERE pub_id = $1 FOR NO KEY UPDATE";
    if client.query_opt(statement, &[&pub_id]).await?.is_none() {
        return Ok(Err(NotLinked::UnknownPub));
    }
    let statement = "SELECT device_id FROM device WHERE pub_id = $1 LIMIT 1";
    if let Some(row) = client.query_opt(statement, &[&pub_id]).await? {
        return Ok(Err(NotLinked::Taken { device_id: row.try_get(0)? }));
    }
    client.execute("UPDATE device SET pub_id = $2 WHERE device_id = $1", &[&device_id, &pub_id]).await?;
    let subject = device.link_subject(pub_id);
    note(client, who, "device link", &subject, &Change::Device(device.device_id.clone())).await?;
    Ok(Ok(Device { pub_id: Some(pub_id), ..device }))
}
