//! What these routes take and answer; those that are read member by member are only described.

use serde::Serialize;
use utoipa::ToSchema;

/// What is asked of `/devicecert`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct CertificateWanted {
    /// For which device; made, with a pub, if there is none.
    #[schema(min_length = 1, max_length = 128, example = "meter-17")]
    device_id: String,
    /// Its model, if the device is new; empty means none.
    #[schema(required = false, max_length = 128, example = "CC3220S-1")]
    model_number: Option<String>,
    /// A PKCS#10 request in PEM. Only its key counts, which must be RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519.
    #[schema(required = false)]
    csr: Option<String>,
}

/// A certificate that was issued.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct IssuedCertificate {
    /// Lower-case hex SHA-256 of the DER.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(super) certificate_id: String,
    /// One PEM block.
    pub(super) certificate_pem: String,
    pub(super) key_pair: KeyPair,
    /// The certificate of the CA that issued it, one PEM block.
    pub(super) root_cert_pem: String,
    /// Unix seconds.
    pub(super) created_at: i64,
}

/// Its keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyPair {
    /// PEM.
    pub(super) public_key: String,
    /// PKCS#8, PEM; m0v keeps no copy. Absent if a csr was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(super) private_key: Option<String>,
}

/// What is sent to `/syncdevicecert`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct CertificateToList {
    /// Whose it is; made, with a pub, if there is none.
    #[schema(min_length = 1, max_length = 128, example = "meter-17")]
    device_id: String,
    /// Its model, if the device is new; empty means none.
    #[schema(required = false, max_length = 128, example = "CC3220S-1")]
    model_number: Option<String>,
    /// Lower-case hex SHA-256 of the DER.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    certificate_id: String,
    certificate_pem: Pem,
}

/// One PEM block.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) enum Pem {
    /// As text.
    Text(String),
    /// As Node writes a `Buffer` of that text.
    Buffer {
        /// `Buffer`.
        #[serde(rename = "type")]
        #[schema(pattern = "^Buffer$")]
        kind: String,
        /// Its bytes, 0 to 255 each.
        data: Vec<u8>,
    },
}

/// What is sent to `/caRegister`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct CaWanted {
    /// How the CA is called; null, empty or absent: by a random label alone.
    #[schema(required = false)]
    csr_subjects: Option<CsrSubjects>,
}

/// The parts of a CA's name; each may be null, empty or absent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct CsrSubjects {
    /// Two letters.
    #[schema(required = false, pattern = "^([A-Za-z]{2})?$", example = "DE")]
    country_name: Option<String>,
    #[schema(required = false, max_length = 128)]
    state_name: Option<String>,
    #[schema(required = false, max_length = 128)]
    locality_name: Option<String>,
    #[schema(required = false, max_length = 64)]
    organization_name: Option<String>,
    #[schema(required = false, max_length = 64)]
    organization_unit_name: Option<String>,
}

/// A CA that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RegisteredCa {
    /// Lower-case hex SHA-256 of its certificate's DER: the name of its folder in `<data_dir>/ca`.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(super) certificate_id: String,
    /// The same.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(super) ca_certificate_id: String,
}

/// What a client with an accepted certificate is told.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct Greeting {
    #[schema(example = "Hello, world!")]
    pub(super) data: &'static str,
}
