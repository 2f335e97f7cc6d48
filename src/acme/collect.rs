//! Fetching the certificate: of the chains a CA offers, the one the devices will take.

use super::{
    AcmeError,
    account::Session,
    certificate::Certificate,
    order::{Issuer, Running},
};
use rustls_acme::acme::OrderStatus;

/// Alternates looked at; a CA offers one or two.
const ALTERNATES_MAX: usize = 8;

/// Downloads the default chain and, as long as something is left to wish for, the alternates.
/// A chain that passes the devices' check beats one with the preferred root, which beats the
/// default: an odd chain is kept rather than ordering the same again and again.
pub(crate) async fn best_chain(
    issuer: &Issuer,
    session: &Session,
    running: &Running,
) -> Result<Certificate, AcmeError> {
    let OrderStatus::Valid { certificate: url } = &running.order.status else {
        return Err(AcmeError::OrderClosed("it is not valid".to_owned()));
    };
    let answer = issuer.post(session, "certificate", url, None).await?;
    let alternates = answer.links("alternate");
    let mut best = judge(issuer, read(issuer, running, answer.body)?);
    let mut roots = vec![best.certificate.root.clone()];
    for url in alternates.iter().take(ALTERNATES_MAX) {
        if best.passes && best.preferred {
            break;
        }
        let body = issuer.post(session, "certificate", url, None).await?.body;
        let candidate = judge(issuer, read(issuer, running, body)?);
        roots.push(candidate.certificate.root.clone());
        if candidate.rank() > best.rank() {
            best = candidate;
        }
    }
    if let (false, Some(name)) = (best.preferred, &issuer.checked.options.preferred_chain) {
        let (root, roots) = (&best.certificate.root, roots.join("`, `"));
        log::warn!("[acme] preferred_chain `{name}` is not to be had (offered: `{roots}`); using `{root}`");
    }
    Ok(best.certificate)
}

struct Candidate {
    certificate: Certificate,
    passes: bool,
    preferred: bool,
}

impl Candidate {
    fn rank(&self) -> (bool, bool) {
        (self.passes, self.preferred)
    }
}

fn judge(issuer: &Issuer, certificate: Certificate) -> Candidate {
    let wish = issuer.checked.options.preferred_chain.as_deref();
    let preferred = wish.is_none_or(|name| name.eq_ignore_ascii_case(&certificate.root));
    let passes = match issuer.install.check(&certificate) {
        Ok(()) => true,
        Err(sentence) => {
            log::info!("the chain to `{}` does not pass: {sentence}", certificate.root);
            false
        }
    };
    Candidate { certificate, passes, preferred }
}

/// Reads a downloaded chain and holds it against the order: our key, our names, our time.
fn read(issuer: &Issuer, running: &Running, body: Vec<u8>) -> Result<Certificate, AcmeError> {
    let chain =
        String::from_utf8(body).map_err(|_| AcmeError::WrongCertificate("it is no text".to_owned()))?;
    let now = issuer.ambient.now();
    let directory = issuer.checked.directory().to_owned();
    let certificate = Certificate::new(directory, running.key.clone(), chain, now)?;
    if let Some(missing) = issuer.checked.domains().iter().find(|name| !certificate.domains.contains(name)) {
        return Err(AcmeError::WrongCertificate(format!("{missing} is not on it")));
    }
    if certificate.not_after <= now {
        return Err(AcmeError::WrongCertificate("it is over already: is the clock right?".to_owned()));
    }
    Ok(certificate)
}
