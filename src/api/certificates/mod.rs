//! `POST /devicecert`, `/syncdevicecert`, `/caRegister`, `GET /`: certificates issued, listed, shown.
//!
//! What a certificate is worth, and how one is made, is the device room's to say. A change is in
//! force here before it is answered. What goes in and out is in `shapes`.

mod shapes;

pub(super) use shapes::{
    CaWanted, CertificateToList, CertificateWanted, CsrSubjects, Greeting, IssuedCertificate, KeyPair, Pem,
    RegisteredCa,
};

use super::body::JsonBody;
use super::error::{ApiError, ErrorBody};
use super::gate::{Caller, Gate};
use super::names;
use super::refusals::{Always, BadRequest, NotEntitled, Unavailable};
use super::telemetry::{Success, success};
use crate::device::Registry;
use crate::device::certificate::{BadListing, MAX_PEM_BYTES, listing, read_pem_certificate, why_not_listed};
use crate::device::issue::{IssueError, Issued, Issuing, Wanted};
use crate::device::request::Request;
use crate::device::subject::Subject;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::body::{BadBody, Object};
use crate::protocol::reply::Refusal;
use crate::store::devices::{Change, NotEnrolled, Role};
use crate::store::{Store, StoreError, now};
use axum::extract::{FromRef, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::borrow::Cow;
use std::sync::Arc;

/// What these routes stand on.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) gate: Arc<Gate>,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) issuing: Arc<Issuing>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
}

impl FromRef<Certificates> for Arc<Gate> {
    fn from_ref(certificates: &Certificates) -> Self {
        Self::clone(&certificates.gate)
    }
}

/// Those with a body.
pub(super) fn routes(certificates: Certificates) -> Router {
    Router::new()
        .route("/devicecert", post(issue))
        .route("/syncdevicecert", post(sync))
        .route("/caRegister", post(register_ca))
        .with_state(certificates)
}

/// The one without.
pub(super) fn greeting(certificates: Certificates) -> Router {
    Router::new().route("/", get(greet)).with_state(certificates)
}

/// A certificate for a device
///
/// Issued by the CA of `[api] issuer_ca`, listed, and in force before the answer. A device may have
/// several. Without `csr` an RSA-2048 key pair is made, whose private half is in the answer alone.
#[utoipa::path(
    post,
    path = "/devicecert",
    tag = "certificates",
    security(("apiKey" = []), ("clientCertificate" = [])),
    request_body(content = CertificateWanted, description = "Other members are ignored", content_type = "application/json"),
    responses(
        (status = 200, description = "It is listed", body = IssuedCertificate, content_type = "application/json"),
        (status = 409, description = "The device is revoked, or another CA's", body = ErrorBody),
        (status = 500, description = "The issuer cannot issue; the server's log says why", body = ErrorBody),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn issue(
    State(certificates): State<Certificates>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    caller.is_service()?;
    let object = body.object()?;
    let device_id = names::device_id_of(&object)?;
    let model_number = optional(&object, "modelNumber")?;
    let csr = optional(&object, "csr")?;
    let wanted = Wanted { device_id: &device_id, model_number: model_number.as_deref(), csr: csr.as_deref() };
    certificates.is_up()?;
    let issued = certificates.issuing.issue(wanted, &caller.who()).await;
    let issued = issued.map_err(|error| certificates.not_issued(error))?;
    // The key is in this answer alone: what is late here is in force within a second all the same.
    for change in [Change::Ca(issued.ca_id.clone()), Change::Device(device_id.into_owned())] {
        if let Err(error) = certificates.registry.changed(&change).await {
            certificates.store_failed("bring a certificate into force", &error);
        }
    }
    Ok(no_store(Json(answer(issued, csr.as_deref()))))
}

/// Lists a device's certificate
///
/// For certificates that others issued: from now on the device is known by it. In force before the
/// answer. Listed before for the same device it is 200 again, for another 409. Members that are not
/// described, a private key for example, are ignored, and neither stored nor logged.
#[utoipa::path(
    post,
    path = "/syncdevicecert",
    tag = "certificates",
    security(("apiKey" = []), ("clientCertificate" = [])),
    request_body(content = CertificateToList, description = "Other members are ignored", content_type = "application/json"),
    responses(
        (status = 200, description = "It is listed", body = Success, content_type = "application/json"),
        (status = 409, description = "It is listed for another device, or revoked", body = ErrorBody),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn sync(
    State(certificates): State<Certificates>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    caller.is_service()?;
    let object = body.object()?;
    let device_id = names::device_id_of(&object)?;
    let model_number = optional(&object, "modelNumber")?;
    let part = object.part("certificatePem")?;
    let pem = pem_of(&object)?;
    let der = read_pem_certificate(&pem).map_err(|bad| part.refuse(bad))?;
    let enrolment = listing(&der, &device_id, model_number.as_deref(), Role::Device, now());
    let enrolment = enrolment.map_err(|bad| match bad {
        BadListing::Unfit(_) => ApiError::Invalid(format!("certificatePem: {bad}")),
        BadListing::DeviceId(_) | BadListing::ModelNumber => ApiError::Invalid(bad.to_string()),
    })?;
    let certificate_id = object.part("certificateId")?;
    if certificate_id.string()? != enrolment.certificate_id {
        return Err(certificate_id
            .refuse("must be the lower-case hex SHA-256 of the certificate's DER")
            .into());
    }
    certificates.is_up()?;
    let enrolled = certificates.store.enrol(&enrolment, &caller.who()).await;
    match enrolled.map_err(|error| certificates.refuse("list a certificate", &error))? {
        Ok(_) => {}
        Err(refused) => return Err(conflict(&refused)),
    }
    let changed = certificates.registry.changed(&Change::Device(enrolment.device_id)).await;
    changed.map_err(|error| certificates.refuse("bring a certificate into force", &error))?;
    Ok(success())
}

/// A new CA
///
/// Made, with its key, in `<data_dir>/ca/<id>/` on the server, and registered: devices with
/// certificates of this CA are registered just in time. The key leaves by hand alone.
#[utoipa::path(
    post,
    path = "/caRegister",
    tag = "certificates",
    security(("apiKey" = [])),
    request_body(content = CaWanted, description = "Other members are ignored", content_type = "application/json"),
    responses(
        (status = 200, description = "It is registered", body = RegisteredCa, content_type = "application/json"),
        (status = 500, description = "The folder cannot be written; the server's log says why", body = ErrorBody),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn register_ca(
    State(certificates): State<Certificates>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    if matches!(caller, Caller::Certificate(_)) {
        return Err(ApiError::NotEntitled("this needs an API key"));
    }
    let object = body.object()?;
    let subject = match object.find("csrSubjects").map(|part| part.object()).transpose()? {
        None => Subject::default(),
        Some(subjects) => Subject {
            country: part_of(&subjects, "countryName")?,
            state: part_of(&subjects, "stateName")?,
            locality: part_of(&subjects, "localityName")?,
            organization: part_of(&subjects, "organizationName")?,
            unit: part_of(&subjects, "organizationUnitName")?,
            common_name: None,
        },
    };
    certificates.is_up()?;
    let ca_id = certificates.issuing.register_ca(subject, &caller.who()).await;
    let ca_id = ca_id.map_err(|error| certificates.not_issued(error))?;
    if let Err(error) = certificates.registry.changed(&Change::Ca(ca_id.clone())).await {
        certificates.store_failed("bring a CA into force", &error);
    }
    Ok(no_store(Json(RegisteredCa { certificate_id: ca_id.clone(), ca_certificate_id: ca_id })))
}

/// Is this certificate accepted?
#[utoipa::path(
    get,
    path = "/",
    tag = "certificates",
    security(("clientCertificate" = [])),
    responses(
        (status = 200, description = "It is", body = Greeting, content_type = "application/json"),
        Always, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn greet(caller: Result<Caller, ApiError>) -> Result<Response, ApiError> {
    match caller {
        Ok(Caller::Certificate(_)) => Ok(no_store(Json(Greeting { data: "Hello, world!" }))),
        Ok(Caller::Key { .. }) | Err(ApiError::NoCredentials(_)) => {
            Err(ApiError::NotEntitled("this needs a client certificate, and no API key"))
        }
        Err(refused) => Err(refused),
    }
}

impl Certificates {
    /// Nothing is made that could not be listed.
    fn is_up(&self) -> Result<(), ApiError> {
        if self.health.store_is_up() { Ok(()) } else { Err(ApiError::Refused(Refusal::Unavailable)) }
    }

    fn store_failed(&self, what: &str, error: &StoreError) {
        events::store_failed(&self.health, &self.metrics, what, error);
    }

    fn refuse(&self, what: &str, error: &StoreError) -> ApiError {
        self.store_failed(what, error);
        ApiError::Refused(error.refusal())
    }

    fn not_issued(&self, error: IssueError) -> ApiError {
        match error {
            IssueError::Listing(_) | IssueError::Request(_) | IssueError::Subject(_) => {
                ApiError::Invalid(error.to_string())
            }
            IssueError::NotEnrolled(refused) => conflict(&refused),
            IssueError::Store(error) => self.refuse("issue a certificate", &error),
            IssueError::Busy | IssueError::ShuttingDown => ApiError::Refused(Refusal::Busy),
            IssueError::IssuerRevoked { .. } | IssueError::Authority(_) | IssueError::Useless { .. } => {
                events::cannot_issue(&self.metrics, &error);
                ApiError::CannotIssue
            }
        }
    }
}

fn conflict(refused: &NotEnrolled) -> ApiError {
    ApiError::Conflict(why_not_listed(refused))
}

fn answer(issued: Issued, csr: Option<&str>) -> IssuedCertificate {
    let key_pair = match (issued.key_pair, csr) {
        (Some(keys), _) => {
            KeyPair { private_key: Some(keys.expose_private_pem().to_owned()), public_key: keys.public_pem }
        }
        (None, csr) => KeyPair { public_key: csr.map(public_key_of).unwrap_or_default(), private_key: None },
    };
    IssuedCertificate {
        certificate_id: issued.certificate_id,
        certificate_pem: issued.certificate_pem,
        key_pair,
        root_cert_pem: issued.root_pem,
        created_at: issued.created_at.div_euclid(1_000_000),
    }
}

/// The key of a request that was accepted.
fn public_key_of(csr: &str) -> String {
    let Ok(request) = Request::read(csr) else { return String::new() };
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("PUBLIC KEY", request.spki()), config)
}

/// A text that may be absent or empty.
fn optional<'a>(object: &Object<'a>, name: &str) -> Result<Option<Cow<'a, str>>, BadBody> {
    let text = object.find(name).map(|part| part.string()).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn part_of(object: &Object<'_>, name: &str) -> Result<Option<String>, BadBody> {
    Ok(optional(object, name)?.map(Cow::into_owned))
}

/// `certificatePem` as text or as Node's Buffer.
fn pem_of<'a>(object: &Object<'a>) -> Result<Cow<'a, str>, ApiError> {
    let part = object.part("certificatePem")?;
    if !part.is_object() {
        return Ok(part.string()?);
    }
    let buffer = part.object()?;
    let kind = buffer.part("type")?;
    if kind.string()? != "Buffer" {
        return Err(kind.refuse("must be Buffer").into());
    }
    let data = buffer.part("data")?;
    let text = String::from_utf8(data.bytes(MAX_PEM_BYTES)?);
    Ok(Cow::Owned(text.map_err(|_| data.refuse("is not UTF-8"))?))
}

fn no_store(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}
