//! Proving to the CA that the names lead here: answers out, CA asked to look, verdict awaited.

use super::{
    AcmeError, Kind, Problem, Step,
    account::Session,
    cache::{ANSWER_LIFETIME_SECONDS, ChallengeAnswer, ChallengeKind},
    jws,
    order::Issuer,
    secret::Secret,
};
use rustls_acme::acme::{self, Auth, AuthStatus, Challenge, ChallengeType, Identifier, Order};
use tokio::time::Instant;

/// A name the CA is looking at.
struct Asked {
    url: String,
    domain: String,
    kind: ChallengeKind,
    ident: String,
}

/// Has every name of the order validated. All are asked first, then awaited, so many names
/// take no longer than one.
pub(crate) async fn all(issuer: &Issuer, session: &Session, order: &Order) -> Result<(), AcmeError> {
    let mut asked = Vec::new();
    let result = prove(issuer, session, order, &mut asked).await;
    // As long as a verdict is out, the CA may still come and look.
    if result.as_ref().map_or_else(AcmeError::ends_the_order, |()| true) {
        for name in &asked {
            issuer.cache.withdraw_challenge(name.kind, &name.ident).await?;
        }
    }
    result
}

async fn prove(
    issuer: &Issuer,
    session: &Session,
    order: &Order,
    asked: &mut Vec<Asked>,
) -> Result<(), AcmeError> {
    let failures = issuer.cache.backoff().await?.failures;
    let enabled = enabled(&issuer.checked.options, failures);
    for url in &order.authorizations {
        let auth = look_at(issuer, session, url).await?;
        let Identifier::Dns(domain) = &auth.identifier;
        match auth.status {
            AuthStatus::Valid => {}
            AuthStatus::Pending => asked.push(ask(issuer, session, url, &auth, &enabled).await?),
            _ => return Err(failed(domain, &auth)),
        }
    }
    for name in asked.iter() {
        verdict(issuer, session, name).await?;
    }
    Ok(())
}

/// The challenges switched on, the one to try first in front; after a failure the other.
fn enabled(options: &super::Options, failures: u32) -> Vec<ChallengeKind> {
    let mut enabled = Vec::new();
    enabled.extend(options.tls_alpn_01.then_some(ChallengeKind::TlsAlpn01));
    enabled.extend(options.http_01.then_some(ChallengeKind::Http01));
    if failures % 2 == 1 {
        enabled.reverse();
    }
    enabled
}

async fn ask(
    issuer: &Issuer,
    session: &Session,
    url: &str,
    auth: &Auth,
    enabled: &[ChallengeKind],
) -> Result<Asked, AcmeError> {
    let Identifier::Dns(domain) = &auth.identifier;
    let chosen = enabled.iter().find_map(|kind| Some((*kind, challenge_of(auth, *kind)?)));
    let (kind, challenge) = chosen.ok_or_else(|| AcmeError::NoChallenge {
        domain: domain.clone(),
        offered: auth.challenges.iter().map(name_of).collect::<Vec<_>>().join(", "),
        enabled: enabled.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
    })?;
    let ident = match kind {
        ChallengeKind::Http01 => challenge.token.clone(),
        ChallengeKind::TlsAlpn01 => domain.to_ascii_lowercase(),
    };
    let answer = ChallengeAnswer {
        kind,
        ident: ident.clone(),
        key_authorization: Secret::new(jws::key_authorization(&session.account.key_pair, &challenge.token)?),
        expires: issuer.ambient.now() + ANSWER_LIFETIME_SECONDS,
    };
    issuer.cache.publish_challenge(&answer).await?;
    issuer.step(Step::ChallengePublished);
    let (account, tls) = (&session.account, &issuer.caller.tls);
    let accepted = issuer.caller.run("challenge", || account.challenge(tls, &challenge.url)).await;
    match accepted {
        Ok(()) => {}
        // Asked already, before a restart: the authorization tells how it went.
        Err(AcmeError::Problem(problem)) if problem.kind == Kind::Malformed => {}
        Err(other) => return Err(other),
    }
    issuer.step(Step::ChallengeAccepted);
    Ok(Asked { url: url.to_owned(), domain: domain.clone(), kind, ident })
}

async fn verdict(issuer: &Issuer, session: &Session, asked: &Asked) -> Result<(), AcmeError> {
    let pace = &issuer.caller.pace;
    let begun = Instant::now();
    let mut pauses = pace.pauses();
    loop {
        tokio::time::sleep(pauses.next().unwrap_or(pace.poll_most)).await;
        let auth = look_at(issuer, session, &asked.url).await?;
        match auth.status {
            AuthStatus::Valid => return Ok(()),
            AuthStatus::Pending if begun.elapsed() > pace.settle => {
                let what = format!("the validation of {}", asked.domain);
                return Err(AcmeError::Unfinished { what, waited: pace.settle });
            }
            AuthStatus::Pending => {}
            _ => return Err(failed(&asked.domain, &auth)),
        }
    }
}

async fn look_at(issuer: &Issuer, session: &Session, url: &str) -> Result<Auth, AcmeError> {
    let (account, tls) = (&session.account, &issuer.caller.tls);
    issuer.caller.run("authorization", || account.auth(tls, url)).await
}

fn failed(domain: &str, auth: &Auth) -> AcmeError {
    let blamed = auth.challenges.iter().find_map(|challenge| Some((challenge, challenge.error.as_ref()?)));
    let (challenge, problem) = match blamed {
        Some((challenge, acme::Problem { typ, detail })) => {
            let detail = detail.as_deref().unwrap_or("no reason given");
            (name_of(challenge), Problem::new("challenge", 0, typ.as_deref().unwrap_or(""), detail))
        }
        None => {
            let detail = format!("the authorization is {:?}", auth.status);
            ("any challenge", Problem::new("authorization", 0, "", &detail))
        }
    };
    AcmeError::Validation {
        domain: domain.to_owned(),
        challenge: challenge.to_owned(),
        problem: Box::new(problem),
    }
}

fn challenge_of(auth: &Auth, kind: ChallengeKind) -> Option<&Challenge> {
    let wanted = match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    auth.challenges.iter().find(|challenge| challenge.typ == wanted)
}

fn name_of(challenge: &Challenge) -> &'static str {
    match challenge.typ {
        ChallengeType::Http01 => "http-01",
        ChallengeType::TlsAlpn01 => "tls-alpn-01",
        ChallengeType::Dns01 => "dns-01",
        ChallengeType::Unknown => "another challenge",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::Options,
        ChallengeKind::{Http01, TlsAlpn01},
        *,
    };

    #[test]
    fn tries_the_other_challenge_after_a_failure() {
        let options = |http_01, tls_alpn_01| Options { http_01, tls_alpn_01, ..Options::default() };
        assert_eq!(enabled(&options(true, true), 0), [TlsAlpn01, Http01]);
        assert_eq!(enabled(&options(true, true), 1), [Http01, TlsAlpn01]);
        assert_eq!(enabled(&options(true, true), 2), [TlsAlpn01, Http01]);
        assert_eq!(enabled(&options(true, false), 0), [Http01]);
    }
}
