//! The directory, and who m0v is there: one account per directory, however often it crashes.

use super::{
    AcmeError, Pace, Step,
    cache::{self, Cache, Lease},
    call::{Caller, not_acme},
    jws::{self, Signer},
    options::Checked,
    secret::Secret,
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use rustls_acme::acme;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a server says of itself (RFC 8555 §7.1.1), more than `rustls_acme` keeps.
#[derive(Clone, Deserialize)]
pub(crate) struct Directory {
    #[serde(flatten)]
    pub(crate) base: acme::Directory,
    #[serde(rename = "renewalInfo")]
    pub(crate) renewal_info: Option<String>,
    #[serde(default)]
    pub(crate) meta: Meta,
}

/// The directory's `meta`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    external_account_required: bool,
    pub(crate) profiles: BTreeMap<String, Value>,
}

/// A directory and our account there.
pub(crate) struct Session {
    pub(crate) account: acme::Account,
    pub(crate) directory: Directory,
    /// Where the account's orders are listed, if the server does that.
    pub(crate) orders: Option<String>,
}

impl Session {
    pub(crate) fn signer(&self) -> Signer<'_> {
        Signer { key: &self.account.key_pair, kid: Some(&self.account.kid) }
    }

    pub(crate) fn new_nonce(&self) -> &str {
        &self.directory.base.new_nonce
    }
}

/// Asks for the directory, changing nothing: for `m0v check`.
///
/// # Errors
/// `ca_file` is of no use, or there is no directory to be had.
pub async fn reach(checked: &Checked, pace: Pace) -> Result<(), AcmeError> {
    let caller = Caller::new(checked, pace)?;
    discover(&caller, checked.directory()).await.map(drop)
}

pub(crate) async fn discover(caller: &Caller, url: &str) -> Result<Directory, AcmeError> {
    caller.fetch("directory", url).await?.json("directory")
}

/// Opens the account: the kept key first, then the CA. An account known to be registered is
/// only looked up, for a binding may work but once.
pub(crate) async fn open(
    caller: &Caller,
    checked: &Checked,
    cache: &dyn Cache,
    lease: &Lease,
    on_step: &(dyn Fn(Step) + Send + Sync),
) -> Result<Session, AcmeError> {
    let directory = discover(caller, checked.directory()).await?;
    let mut record = match cache.account(checked.directory()).await? {
        Some(record) => record,
        None => {
            let record = new_record(checked)?;
            cache.keep_account(lease, &record).await?;
            record
        }
    };
    on_step(Step::AccountKeyKept);
    let key = key_pair(&record.key)?;
    let known = match record.registered {
        true => look_up(caller, &directory, &key).await?,
        false => None,
    };
    let (kid, orders) = match known {
        Some(known) => known,
        None => register(caller, checked, &directory, &key).await?,
    };
    on_step(Step::AccountOpened);
    if !record.registered {
        record.registered = true;
        cache.keep_account(lease, &record).await?;
    }
    let account = acme::Account { key_pair: key, directory: directory.base.clone(), kid };
    Ok(Session { account, directory, orders })
}

fn new_record(checked: &Checked) -> Result<cache::Account, AcmeError> {
    let fault = |_| AcmeError::Crypto("an account key");
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(fault)?;
    let key = Secret::new(BASE64.encode(key.as_ref()));
    Ok(cache::Account { directory: checked.directory().to_owned(), key, registered: false })
}

fn key_pair(key: &Secret) -> Result<EcdsaKeyPair, AcmeError> {
    let fault =
        AcmeError::Crypto("use of the kept account key; move the account file away for a new account");
    let Ok(pkcs8) = BASE64.decode(key.expose()) else { return Err(fault) };
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|_| fault)
}

type Known = (String, Option<String>);

async fn look_up(
    caller: &Caller,
    directory: &Directory,
    key: &EcdsaKeyPair,
) -> Result<Option<Known>, AcmeError> {
    let payload = json!({ "onlyReturnExisting": true });
    match new_account(caller, directory, key, &payload).await {
        Ok(known) => Ok(Some(known)),
        Err(AcmeError::Problem(problem)) if problem.kind == super::Kind::AccountDoesNotExist => {
            log::warn!("the CA no longer knows this account; registering its key again");
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

async fn register(
    caller: &Caller,
    checked: &Checked,
    directory: &Directory,
    key: &EcdsaKeyPair,
) -> Result<Known, AcmeError> {
    let mut payload = json!({ "termsOfServiceAgreed": true, "contact": checked.contact });
    match &checked.eab {
        Some(eab) => {
            payload["externalAccountBinding"] = jws::binding(eab, key, &directory.base.new_account)?;
        }
        None if directory.meta.external_account_required => {
            let problem = super::Problem::new(
                "newAccount",
                403,
                "externalAccountRequired",
                "this CA opens accounts only for its customers",
            );
            return Err(AcmeError::Problem(Box::new(problem)));
        }
        None => {}
    }
    new_account(caller, directory, key, &payload).await
}

async fn new_account(
    caller: &Caller,
    directory: &Directory,
    key: &EcdsaKeyPair,
    payload: &Value,
) -> Result<Known, AcmeError> {
    let acme::Directory { new_nonce, new_account, .. } = &directory.base;
    let signer = Signer { key, kid: None };
    let answer = signer.post(caller, new_nonce, "newAccount", new_account, Some(payload)).await?;
    let kid = answer.header("location").ok_or_else(|| not_acme("newAccount", "no Location in it"))?;
    let body: Value = answer.json("newAccount")?;
    Ok((kid, body.get("orders").and_then(Value::as_str).map(str::to_owned)))
}
