//! Who is at the other end of a connection, for as long as it lasts.

use crate::store::devices::Role;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tokio_util::sync::CancellationToken;

/// Who speaks, by a certificate that was accepted. All connections of one certificate share it; it
/// follows what the operator changes: another pub, another role, the end.
#[derive(Debug)]
pub struct Identity {
    device_id: Arc<str>,
    certificate_id: Box<str>,
    is_service: AtomicBool,
    /// 0: none; ids are positive.
    pub_id: AtomicI64,
    revoked: CancellationToken,
}

impl Identity {
    pub(super) fn new(device_id: Arc<str>, certificate_id: &str, role: Role, pub_id: Option<i64>) -> Self {
        let this = Self {
            device_id,
            certificate_id: certificate_id.into(),
            is_service: AtomicBool::default(),
            pub_id: AtomicI64::default(),
            revoked: CancellationToken::new(),
        };
        this.follow(role, pub_id);
        this
    }

    /// The device that the certificate is listed for.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Lower-case hex SHA-256 of its DER.
    #[must_use]
    pub fn certificate_id(&self) -> &str {
        &self.certificate_id
    }

    /// What it entitles to, now.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.is_service.load(Ordering::Acquire) { Role::Service } else { Role::Device }
    }

    /// The device's pub, now.
    #[must_use]
    pub fn pub_id(&self) -> Option<i64> {
        Some(self.pub_id.load(Ordering::Acquire)).filter(|id| *id != 0)
    }

    /// Whether certificate, device or CA were revoked, or the certificate has expired, since it was
    /// accepted.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Resolves when it is revoked.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Cancelled when it is revoked, for rooms that know nothing of devices.
    #[must_use]
    pub fn revocation(&self) -> &CancellationToken {
        &self.revoked
    }

    pub(super) fn follow(&self, role: Role, pub_id: Option<i64>) {
        self.is_service.store(role == Role::Service, Ordering::Release);
        self.pub_id.store(pub_id.unwrap_or_default(), Ordering::Release);
    }

    pub(super) fn revoke(&self) {
        self.revoked.cancel();
    }
}
