//! Certificates as people hand them over: PEM text in, one certificate out, or what it is instead.
//! Nothing of the text is repeated: it may be a private key.

use super::{
    judge::{self, Unfit},
    name::{BadName, check_device_id, is_invisible},
};
use crate::{
    store::{
        Micros,
        devices::{Enrolment, Grounds, NotEnrolled, Role},
    },
    tls::certificate_id,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// Longest PEM text in bytes: the longest certificate taken, in base64, with room.
pub const MAX_PEM_BYTES: usize = judge::MAX_CERTIFICATE_BYTES * 2;

/// Longest model number in bytes.
pub const MAX_MODEL_BYTES: usize = 128;

/// Certificates may begin this much later than now: the clocks of those who make them differ. Until
/// then they are listed and not accepted.
const AHEAD: Micros = 24 * 3600 * 1_000_000;

/// Why a text is not one PEM block of the wanted kind. Continues "the text …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Too much there.
    #[error("has more than {MAX_PEM_BYTES} bytes")]
    Long,
    /// Somebody pasted what must never be sent.
    #[error("is a private key, which belongs to its owner alone: make a new one, and send {0} instead")]
    PrivateKey(&'static str),
    /// A request where a certificate is wanted, or the other way round.
    #[error("is another kind of PEM; {0} is wanted (\"BEGIN {1}\")")]
    OtherKind(&'static str, &'static str),
    /// No PEM at all, or junk around it.
    #[error("is not PEM from the first character to the last; {0} is wanted, and nothing around it")]
    NoPem(&'static str),
    /// More than one.
    #[error("holds several PEM blocks; one is wanted")]
    Several,
    /// Between the lines is no base64.
    #[error("is broken PEM")]
    Broken,
}

/// Reads the one certificate of a PEM text. It is not judged.
///
/// # Errors
/// What the text is instead.
pub fn read_pem_certificate(text: &str) -> Result<CertificateDer<'static>, BadPem> {
    let block = one_block(text, "a certificate", &["CERTIFICATE"])?;
    CertificateDer::from_pem_slice(block.as_bytes()).map_err(|_| BadPem::Broken)
}

/// The text without the white space around it, if it is one PEM block of a kind wanted.
pub(super) fn one_block<'a>(
    text: &'a str,
    wanted: &'static str,
    labels: &[&'static str],
) -> Result<&'a str, BadPem> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(BadPem::Empty);
    }
    if text.len() > MAX_PEM_BYTES {
        return Err(BadPem::Long);
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(BadPem::PrivateKey(wanted));
    }
    let inner = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----"));
    let Some((label, rest)) = inner else { return Err(BadPem::NoPem(wanted)) };
    if !labels.contains(&label) {
        return Err(BadPem::OtherKind(wanted, labels.first().unwrap_or(&"")));
    }
    let body = rest.strip_suffix("-----").and_then(|rest| rest.strip_suffix(label));
    let Some(body) = body.and_then(|rest| rest.strip_suffix("-----END ")) else {
        let is_another = text.matches("-----BEGIN ").nth(1).is_some();
        return Err(if is_another { BadPem::Several } else { BadPem::NoPem(wanted) });
    };
    if body.contains("-----") {
        return Err(BadPem::Several);
    }
    Ok(text)
}

/// One PEM block.
#[must_use]
pub fn pem_text(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// Why a certificate is not to be listed as asked. Names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadListing {
    /// The device's name.
    #[error("deviceId {0}")]
    DeviceId(#[from] BadName),
    /// The device's model.
    #[error("modelNumber must be 1 to {MAX_MODEL_BYTES} bytes without control characters")]
    ModelNumber,
    /// The certificate itself.
    #[error("the certificate {0}")]
    Unfit(#[from] Unfit),
}

/// Judges a certificate that somebody wants listed for a device, and fills in the form.
///
/// # Errors
/// What is wrong with the certificate or the names.
pub fn listing(
    der: &[u8],
    device_id: &str,
    model_number: Option<&str>,
    role: Role,
    now: Micros,
) -> Result<Enrolment, BadListing> {
    check_device_id(device_id)?;
    check_model(model_number)?;
    let judged = judge::leaf(der, now).or_else(|unfit| match unfit {
        Unfit::NotYetValid(_) => judge::leaf(der, now.saturating_add(AHEAD)).map_err(|_| unfit),
        other => Err(other),
    })?;
    Ok(Enrolment {
        device_id: device_id.to_owned(),
        model_number: model_number.map(str::to_owned),
        certificate_id: certificate_id(der),
        pem: pem_text(der),
        not_after: judged.not_after(),
        role,
        grounds: Grounds::Listed,
    })
}

/// Why a certificate was not listed, in words.
#[must_use]
pub fn why_not_listed(refused: &NotEnrolled) -> String {
    match refused {
        NotEnrolled::OtherDevice { device_id } => {
            format!("the certificate is listed for another device, {}", device_id.escape_debug())
        }
        NotEnrolled::Revoked => "the certificate or the device is revoked, which is for ever".to_owned(),
        NotEnrolled::NameTaken { .. } => {
            "the device belongs to another CA, or is known by fingerprints only".to_owned()
        }
        NotEnrolled::UnknownCa => "the CA is not registered, or revoked".to_owned(),
        NotEnrolled::TooManyNew => "too many new devices of this CA in an hour, try again later".to_owned(),
    }
}

/// Any text a person can read.
pub(super) fn check_model(model_number: Option<&str>) -> Result<(), BadListing> {
    match model_number {
        Some(model) if model.is_empty() || model.len() > MAX_MODEL_BYTES || model.contains(is_invisible) => {
            Err(BadListing::ModelNumber)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_block_or_it_is_said_what_it_is() {
        let good = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(read_pem_certificate(good).as_deref(), Ok(&[0x30, 0][..]));
        assert_eq!(
            read_pem_certificate(&format!("\r\n {}", good.replace('\n', "\r\n"))).as_deref(),
            Ok(&[0x30, 0][..])
        );
        let of = |kind: &str| good.replace("CERTIFICATE", kind);
        let certificate = "a certificate";
        for (text, expected) in [
            (String::new(), BadPem::Empty),
            (" \n".into(), BadPem::Empty),
            ("x".repeat(MAX_PEM_BYTES + 1), BadPem::Long),
            ("MAA=".into(), BadPem::NoPem(certificate)),
            (format!("junk\n{good}"), BadPem::NoPem(certificate)),
            (format!("{good}junk"), BadPem::NoPem(certificate)),
            (good.replace("END CERT", "END CRET"), BadPem::NoPem(certificate)),
            ("-----BEGIN CERTIFICATE-----".into(), BadPem::NoPem(certificate)),
            ("-----BEGIN ".into(), BadPem::NoPem(certificate)),
            (format!("{good}{good}"), BadPem::Several),
            (format!("{good}\n{}", of("X509 CRL")), BadPem::Several),
            (of("PRIVATE KEY"), BadPem::PrivateKey(certificate)),
            (of("RSA PRIVATE KEY"), BadPem::PrivateKey(certificate)),
            (of("ENCRYPTED PRIVATE KEY"), BadPem::PrivateKey(certificate)),
            (format!("{good}{}", of("EC PRIVATE KEY")), BadPem::PrivateKey(certificate)),
            (of("CERTIFICATE REQUEST"), BadPem::OtherKind(certificate, "CERTIFICATE")),
            (of("PUBLIC KEY"), BadPem::OtherKind(certificate, "CERTIFICATE")),
            (good.replace("MAA=", "M*A="), BadPem::Broken),
        ] {
            let read = read_pem_certificate(&text);
            assert_eq!(read, Err(expected), "{text:?}");
        }
    }
}
