//! A CA that is revoked takes along what it signed, also what is listed for the CA above it.

use super::certificate::read_pem_certificate;
use super::judge::{is_renewed_by, is_signed_by};
use crate::store::StoreError;
use crate::store::devices::{Ca, DeviceCert, Devices, Revocation, Status};

/// Certificates looked at at a time.
const PAGE: i64 = 1000;

/// Revokes a CA; how many certificates that ended. `None`: no such CA. Cut off, it can be done again.
///
/// A device that a root vouched for through an intermediate is listed for the root. So when an
/// intermediate is registered and revoked, what it signed is looked for and revoked one by one. What
/// was listed by its fingerprint stays: there nobody asked who signed it.
///
/// # Errors
/// The store fails; what was revoked by then stays so.
pub async fn revoke_ca(store: &dyn Devices, ca_id: &str, who: &str) -> Result<Option<u64>, StoreError> {
    let Some(mut ended) = store.revoke(&Revocation::Ca(ca_id.to_owned()), who).await? else {
        return Ok(None);
    };
    let cas = store.list_cas().await?;
    let Some(der) = cas.iter().find(|ca| ca.ca_id == ca_id).and_then(der_of) else { return Ok(Some(ended)) };
    let lives_on = |ca: &Ca| der_of(ca).is_some_and(|other| is_renewed_by(&der, &other));
    if cas.iter().any(|ca| ca.status == Status::Active && lives_on(ca)) {
        return Ok(Some(ended));
    }
    let mut after = String::new();
    loop {
        let page = store.list_certs(&after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Some(ended)) };
        after.clone_from(&last.certificate_id);
        for cert in page.iter().filter(|cert| is_from(cert, ca_id, &der)) {
            let what = Revocation::Certificate(cert.certificate_id.clone());
            ended += store.revoke(&what, who).await?.unwrap_or_default();
        }
    }
}

fn der_of(ca: &Ca) -> Option<Vec<u8>> {
    Some(read_pem_certificate(&ca.pem).ok()?.to_vec())
}

fn is_from(cert: &DeviceCert, ca_id: &str, ca: &[u8]) -> bool {
    let of_another = cert.ca_id.as_ref().is_some_and(|of| of != ca_id);
    cert.status != Status::Revoked
        && of_another
        && read_pem_certificate(&cert.pem).is_ok_and(|der| is_signed_by(&der, ca))
}
