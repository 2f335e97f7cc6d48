//! `m0v chain`: leaf, intermediates and root from three files into one chain, every fault named.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use pem::Pem;
use rustls::pki_types::CertificateDer;

use super::chain::{ChainError, read_certificates};
use super::check::{check_certificate, check_length, parse};
use super::roots::{is_root, signed};

/// Puts the three files in the order that devices want and returns the PEM text of the whole.
///
/// # Errors
/// Every fault found, each in one sentence that names its file.
pub fn assemble(leaf: &Path, ca: &Path, root: &Path, now: SystemTime) -> Result<String, Vec<ChainError>> {
    let mut faults = Vec::new();
    let mut elements: Vec<(&Path, CertificateDer<'static>)> = Vec::new();
    for file in [leaf, ca, root] {
        match certificates(file) {
            Ok(ders) if ders.len() > 1 && file != ca => {
                let fault = format!("holds {} certificates; one is wanted here", ders.len());
                faults.push(ChainError::new(file, fault));
            }
            Ok(ders) => elements.extend(ders.into_iter().map(|der| (file, der))),
            Err(fault) => faults.push(fault),
        }
    }
    // What is missing would be named again by everything below.
    if faults.is_empty() {
        judge(leaf, root, &elements, now, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let blocks: Vec<Pem> = elements.iter().map(|(_, der)| Pem::new("CERTIFICATE", der.to_vec())).collect();
    Ok(pem::encode_many_config(&blocks, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let pem = fs::read(file).map_err(|error| ChainError::io(file, "read", &error))?;
    read_certificates(file, &pem)
}

fn judge(
    leaf: &Path,
    root: &Path,
    elements: &[(&Path, CertificateDer<'static>)],
    now: SystemTime,
    faults: &mut Vec<ChainError>,
) {
    let mut certs = Vec::new();
    for (at, (file, der)) in elements.iter().enumerate() {
        match parse(file, der, at) {
            Ok(cert) => certs.push((*file, cert)),
            Err(fault) => faults.push(fault),
        }
    }
    for (at, (file, cert)) in certs.iter().enumerate() {
        faults.extend(check_certificate(file, cert, now).err());
        let role = match at {
            0 if cert.is_ca() => Some("is a CA; the server's own certificate must come first"),
            0 => None,
            _ if !cert.is_ca() => Some("is no CA certificate"),
            _ if at + 1 == certs.len() && *file == root && !is_root(cert) => {
                Some("is not self-signed: an intermediate, not a root")
            }
            _ => None,
        };
        faults.extend(role.map(|role| ChainError::new(file, format!("{} {role}", cert.subject()))));
    }
    for ((file, cert), (_, issuer)) in certs.iter().zip(certs.iter().skip(1)) {
        if !signed(cert, issuer) {
            let (name, by, wanted) = (cert.subject(), issuer.subject(), cert.issuer());
            let fault = if cert.issuer().as_raw() == issuer.subject().as_raw() {
                format!("{name} is not signed by {by}: the name is right, but another key signed it")
            } else {
                format!("{name} is not signed by {by}, but by {wanted}")
            };
            faults.push(ChainError::new(file, fault));
        }
    }
    let ders: Vec<_> = elements.iter().map(|(_, der)| der.clone()).collect();
    faults.extend(check_length(leaf, &ders).err());
}
