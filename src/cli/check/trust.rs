//! The chain as it would be served, and what a device must hold to trust it.

use super::Finding;
use crate::config::Config;
use crate::server::CertificateFiles;
use crate::tls::{self, CertifiedChain, Element};
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A leaf is renewed at the latest this long before its end.
const LEAF_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// An intermediate or root moves with all devices in the field: half a year is what an update of
/// them takes.
const CA_SOON: Duration = Duration::from_secs(183 * 24 * 3600);

/// Nothing where a CA issues the certificate: `acme` speaks of that.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    if !config.acme.domains.is_empty() {
        return Vec::new();
    }
    let files = CertificateFiles::of(config);
    if files.ca.is_some() && !files.chain.exists() {
        let text =
            format!("a local CA and certificate are made at the first start: {}", files.chain.display());
        return vec![Finding::ok("chain", text)];
    }
    let now = SystemTime::now();
    match files.load(now) {
        Err(error) => vec![Finding::fault("chain", error.to_string())],
        Ok((chain, warnings)) => {
            let bytes: usize = chain.certificates().iter().map(|der| der.len()).sum();
            let (file, count) = (files.chain.display(), chain.certificates().len());
            let mut findings =
                vec![Finding::ok("chain", format!("{file}: {count} certificates, {bytes} bytes, as sent"))];
            findings
                .extend(warnings.into_iter().map(|warning| Finding::warning("chain", warning.to_string())));
            // The running server renews the leaf that m0v made.
            findings.extend(elements(&files, &chain, now, files.ca.is_some()));
            findings
        }
    }
}

/// The ends of the chain's certificates, and what a device must hold. `renewed`: m0v renews the leaf.
pub(super) fn elements(
    files: &CertificateFiles,
    chain: &CertifiedChain,
    now: SystemTime,
    renewed: bool,
) -> Vec<Finding> {
    let elements = chain.elements();
    let ends = elements.iter().enumerate().map(|(at, element)| lifetime(at, element, now, renewed));
    let mut findings: Vec<Finding> = ends.collect();
    findings.extend(device(files, chain, elements.last()));
    findings
}

fn lifetime(at: usize, element: &Element, now: SystemTime, renewed: bool) -> Finding {
    let left = element.not_after.duration_since(now).unwrap_or_default();
    let days = left.as_secs() / DAY.as_secs();
    let role = match at {
        0 => "leaf",
        _ if element.is_root => "root",
        _ => "intermediate",
    };
    let text = format!("{role} {} ends on {} ({days} days)", element.subject, element.ends);
    match at {
        0 if left < LEAF_SOON && !renewed => Finding::warning("chain", format!("{text}: renew it")),
        1.. if left < CA_SOON => {
            Finding::warning("chain", format!("{text}: prepare devices for the one that follows it"))
        }
        _ => Finding::ok("chain", text),
    }
}

/// What goes into the device: the root, the name it asks for, the time.
fn device(files: &CertificateFiles, chain: &CertifiedChain, last: Option<&Element>) -> Vec<Finding> {
    let root = last.filter(|element| element.is_root);
    let holds = match root {
        None => Finding::warning(
            "device",
            format!(
                "the chain is served without a root; the device must hold {}",
                last.map_or("its issuer", |last| &last.issuer)
            ),
        ),
        Some(root) => Finding::ok("device", format!("must hold the root {}", root.subject)),
    };
    let mut findings = vec![holds];
    if let Some(root) = root {
        findings.push(Finding::ok("device", format!("root SHA-1 {}", root.sha1)));
        findings.push(Finding::ok("device", format!("root SHA-256 {}", root.sha256)));
        findings.push(Finding::ok("device", format!("flash {}", file_to_flash(files, root))));
    }
    let names = chain.names();
    findings.push(if names.is_empty() {
        Finding::warning("device", "the certificate has no name (subject alternative name) to verify")
    } else {
        Finding::ok("device", format!("may verify the name {}", names.join(", ")))
    });
    findings
}

fn file_to_flash(files: &CertificateFiles, root: &Element) -> String {
    let folder: Option<&Path> = files.options.roots.as_deref();
    match (&files.ca, tls::root_file(&root.sha256, folder)) {
        (Some(ca), _) => ca.display().to_string(),
        (None, Some(file)) if file.is_relative() && folder.is_none_or(|folder| !file.starts_with(folder)) => {
            format!("{} of m0v's sources", file.display())
        }
        (None, Some(file)) => file.display().to_string(),
        (None, None) => format!("the last certificate in {}", files.chain.display()),
    }
}
