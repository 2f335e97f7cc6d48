//! Lists a certificate, and makes its device. What may be listed on which grounds is decided by
//! `store::devices::rules`, on rows that are locked here.

use super::{
    super::{fault::Fault, pubs::FREE_ID, time::Timestamp},
    note, read,
};
use crate::store::{
    StoreError,
    devices::{
        Change, Device, Enrolment, Grounds, Listed, NotEnrolled, Status,
        rules::{Allowed, Issuer, judge},
    },
};
use tokio_postgres::Client;

/// Namespaces of the advisory locks ("m0w", "m0x").
const CERTIFICATE_LOCKS: i32 = 0x6d_3077;
const DEVICE_LOCKS: i32 = 0x6d_3078;

pub(super) async fn enrol(
    client: &Client,
    enrolment: &Enrolment,
    who: &str,
) -> Result<Result<Listed, NotEnrolled>, Fault> {
    let Enrolment { device_id, certificate_id, .. } = enrolment;
    lock(client, CERTIFICATE_LOCKS, certificate_id).await?;
    lock(client, DEVICE_LOCKS, device_id).await?;
    let issuer = issuer(client, &enrolment.grounds).await?;
    let device = read::lock_device(client, device_id).await?;
    let listed = read::listed(client, certificate_id).await?;
    let allowed = match judge(enrolment, issuer.as_ref(), device.as_ref(), listed.as_ref()) {
        Ok(allowed) => allowed,
        Err(refused) => return Ok(Err(refused)),
    };
    match device {
        None => make_device(client, enrolment, allowed.new_status).await?,
        Some(device) => mend_device(client, &device, &allowed, who).await?,
    }
    if listed.is_none() {
        insert(client, enrolment).await?;
        note(client, who, enrolment.grounds.deed(), &enrolment.subject(), &change(enrolment)).await?;
    } else if let Some(role) = allowed.new_role {
        let statement = "UPDATE device_cert SET role = $2 WHERE certificate_id = $1";
        client.execute(statement, &[certificate_id, &role.word()]).await?;
        let subject = format!("{} as {}", enrolment.subject(), role.word());
        note(client, who, "cert add", &subject, &change(enrolment)).await?;
    }
    let listed = read::listed(client, certificate_id).await?;
    let gone = || StoreError::Refused(format!("certificate {certificate_id} vanished while it was listed"));
    Ok(Ok(listed.ok_or_else(gone)?))
}

fn change(enrolment: &Enrolment) -> Change {
    Change::Certificate(enrolment.certificate_id.clone())
}

/// Holds a name until the transaction ends, whether there is a row or not.
async fn lock(client: &Client, namespace: i32, name: &str) -> Result<(), Fault> {
    let statement = "SELECT pg_advisory_xact_lock($1::int, hashtext($2::text))";
    client.execute(statement, &[&namespace, &name]).await?;
    Ok(())
}

/// The CA of the grounds, and how many devices it has got in the last hour. Its row is held, so that
/// those who make devices for one CA are counted one after the other.
async fn issuer(client: &Client, grounds: &Grounds) -> Result<Option<Issuer>, Fault> {
    let Some(ca_id) = grounds.ca_id() else { return Ok(None) };
    let statement = "SELECT status, auto_register FROM ca WHERE ca_id = $1 FOR NO KEY UPDATE";
    let Some(row) = client.query_opt(statement, &[&ca_id]).await? else { return Ok(None) };
    let status = Status::of_word(row.try_get(0)?)?;
    let auto_register = row.try_get(1)?;
    let statement = "SELECT count(*) FROM device WHERE ca_id = $1 AND created_at > now() - interval '1 hour'";
    let made_in_hour = client.query_one(statement, &[&ca_id]).await?.try_get(0)?;
    Ok(Some(Issuer { status, auto_register, made_in_hour }))
}

async fn make_device(client: &Client, enrolment: &Enrolment, status: Status) -> Result<(), Fault> {
    let Enrolment { device_id, model_number, grounds, .. } = enrolment;
    let pub_id = make_pub(client).await?;
    let statement = "INSERT INTO device (device_id, model_number, pub_id, status, ca_id)
                     VALUES ($1, $2, $3, $4, $5)";
    client.execute(statement, &[device_id, model_number, &pub_id, &status.word(), &grounds.ca_id()]).await?;
    Ok(())
}

/// One that has no pub gets one, and one that waited for approval has it.
async fn mend_device(client: &Client, device: &Device, allowed: &Allowed, who: &str) -> Result<(), Fault> {
    let change = Change::Device(device.device_id.clone());
    if device.pub_id.is_none() {
        let pub_id = make_pub(client).await?;
        let statement = "UPDATE device SET pub_id = $2 WHERE device_id = $1";
        client.execute(statement, &[&device.device_id, &pub_id]).await?;
        let subject = format!("pub {pub_id} to device {}", device.device_id);
        note(client, who, "device link", &subject, &change).await?;
    }
    if device.status != allowed.new_status {
        let statement = "UPDATE device SET status = $2 WHERE device_id = $1";
        client.execute(statement, &[&device.device_id, &allowed.new_status.word()]).await?;
        note(client, who, "device approve", &format!("device {}", device.device_id), &change).await?;
    }
    Ok(())
}

async fn make_pub(client: &Client) -> Result<i64, Fault> {
    let statement = format!("INSERT INTO pub (pub_id) SELECT id FROM {FREE_ID} RETURNING pub_id");
    match client.query_opt(&statement, &[]).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(StoreError::Unavailable("1000 ids of pub in a row were inserted by hand".into()).into()),
    }
}

async fn insert(client: &Client, enrolment: &Enrolment) -> Result<(), Fault> {
    let Enrolment { device_id, certificate_id, pem, not_after, role, grounds, .. } = enrolment;
    let statement = "INSERT INTO device_cert (certificate_id, device_id, ca_id, role, not_after, pem)
                     VALUES ($1, $2, $3, $4, $5, $6)";
    client
        .execute(
            statement,
            &[certificate_id, device_id, &grounds.ca_id(), &role.word(), &Timestamp(*not_after), pem],
        )
        .await?;
    Ok(())
}
