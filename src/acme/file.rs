//! The cache of a single node: a folder of 0600 files, each replaced as a whole.
//!
//! `account-<hash>.json` per directory · `order.json` while one runs · `certificate.pem`,
//! key and chain in one file so that they can never disagree · `backoff.json` · `lease`, a
//! lock that dies with its process. Challenges stay in memory: a restart publishes them anew.

use super::{
    Certificate,
    cache::{
        ANSWER_LIFETIME_SECONDS, Account, Backoff, Cache, CacheError, ChallengeAnswer, ChallengeKind, Lease,
        Pending,
    },
    disk::{
        forgiving, incomplete, io_error, off_thread, read, read_json, remove, take_lease, text, texts, write,
    },
    jws::sha256_hex,
    secret::Secret,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// First word of the line that precedes key and chain; PEM readers skip it.
const MARK: &str = "# m0v ";

/// The cache in `<data_dir>/acme/`.
#[derive(Debug)]
pub struct FileCache {
    dir: PathBuf,
    challenges: Mutex<HashMap<(ChallengeKind, String), ChallengeAnswer>>,
}

impl FileCache {
    /// Opens the folder, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made or entered.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
            .map_err(|source| io_error("use the folder", dir, source))?;
        Ok(Self { dir: dir.to_owned(), challenges: Mutex::default() })
    }

    fn account_path(&self, directory: &str) -> PathBuf {
        let hash = sha256_hex(directory.as_bytes());
        self.dir.join(format!("account-{}.json", hash.get(..16).unwrap_or(&hash)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn lock_challenges(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<(ChallengeKind, String), ChallengeAnswer>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Cache for FileCache {
    async fn take_lease(&self, holder: &str) -> Result<Option<Lease>, CacheError> {
        let (path, holder) = (self.path("lease"), holder.to_owned());
        off_thread(move || take_lease(&path, &holder)).await
    }

    async fn extend_lease(&self, _lease: &Lease) -> Result<(), CacheError> {
        Ok(())
    }

    async fn release_lease(&self, lease: Lease) -> Result<(), CacheError> {
        drop(lease);
        Ok(())
    }

    async fn account(&self, directory: &str) -> Result<Option<Account>, CacheError> {
        let path = self.account_path(directory);
        let advice = "move it away; m0v then makes a new account";
        let Some(value) = read_json(&path, advice).await? else { return Ok(None) };
        let account = (|| {
            Some(Account {
                directory: text(&value, "directory")?,
                key: Secret::new(text(&value, "key")?),
                registered: value.get("registered")?.as_bool()?,
            })
        })();
        account.map(Some).ok_or_else(|| incomplete(&path, advice))
    }

    async fn keep_account(&self, _lease: &Lease, account: &Account) -> Result<(), CacheError> {
        let Account { directory, key, registered } = account;
        let value = json!({ "directory": directory, "key": key.expose(), "registered": registered });
        write(self.account_path(directory), value.to_string()).await
    }

    /// A damaged file costs one order more, never the service: it counts as none.
    async fn pending(&self) -> Result<Option<Pending>, CacheError> {
        let value = forgiving(read_json(&self.path("order.json"), "").await)?;
        Ok(value.and_then(|value| {
            Some(Pending {
                directory: text(&value, "directory")?,
                domains: texts(&value, "domains")?,
                key_pem: Secret::new(text(&value, "key_pem")?),
                order_url: text(&value, "order_url"),
                begun_at: value.get("begun_at")?.as_i64()?,
            })
        }))
    }

    async fn keep_pending(&self, _lease: &Lease, pending: Option<&Pending>) -> Result<(), CacheError> {
        let path = self.path("order.json");
        let Some(Pending { directory, domains, key_pem, order_url, begun_at }) = pending else {
            return off_thread(move || remove(&path)).await;
        };
        let value = json!({ "directory": directory, "domains": domains, "key_pem": key_pem.expose(),
            "order_url": order_url, "begun_at": begun_at });
        write(path, value.to_string()).await
    }

    async fn certificate(&self) -> Result<Option<(i64, Certificate)>, CacheError> {
        let path = self.path("certificate.pem");
        let Some(pem) = read(&path).await? else { return Ok(None) };
        let advice = "move it away; m0v then orders a new certificate";
        let damaged =
            |cause: &str| CacheError::Damaged { path: path.clone(), cause: cause.to_owned(), advice };
        let (note, pem) = pem
            .strip_prefix(MARK)
            .and_then(|rest| rest.split_once('\n'))
            .ok_or_else(|| damaged("its first line is missing"))?;
        let note: Value = serde_json::from_str(note).map_err(|e| damaged(&e.to_string()))?;
        let end_of_key = pem.find("-----BEGIN CERTIFICATE").ok_or_else(|| damaged("no certificate in it"))?;
        let (key, chain) = pem.split_at(end_of_key);
        let read = (|| {
            let version = note.get("version")?.as_i64()?;
            Some((version, text(&note, "directory")?, note.get("obtained_at")?.as_i64()?))
        })();
        let (version, directory, obtained_at) =
            read.ok_or_else(|| damaged("its first line is incomplete"))?;
        let certificate =
            Certificate::new(directory, Secret::new(key.to_owned()), chain.to_owned(), obtained_at);
        Ok(Some((version, certificate.map_err(|e| damaged(&e.to_string()))?)))
    }

    async fn certificate_version(&self) -> Result<Option<i64>, CacheError> {
        Ok(self.certificate().await?.map(|(version, _)| version))
    }

    async fn keep_certificate(&self, _lease: &Lease, certificate: &Certificate) -> Result<i64, CacheError> {
        let version = match self.certificate().await {
            Ok(newest) => newest.map_or(0, |(version, _)| version) + 1,
            Err(CacheError::Damaged { .. }) => certificate.obtained_at,
            Err(other) => return Err(other),
        };
        let Certificate { directory, obtained_at, .. } = certificate;
        let note = json!({ "version": version, "directory": directory, "obtained_at": obtained_at });
        let (key, chain) = (certificate.key_pem.expose().trim_end(), &certificate.chain_pem);
        write(self.path("certificate.pem"), format!("{MARK}{note}\n{key}\n{chain}")).await?;
        Ok(version)
    }

    /// A damaged file counts as no failures.
    async fn backoff(&self) -> Result<Backoff, CacheError> {
        let value = forgiving(read_json(&self.path("backoff.json"), "").await)?;
        let backoff = value.and_then(|value| {
            let time = |key: &str| value.get(key)?.as_i64();
            Some(Backoff {
                failures: value.get("failures")?.as_u64()?.try_into().ok()?,
                not_before: time("not_before")?,
                failed_at: time("failed_at")?,
                sentence: text(&value, "sentence")?,
                fingerprint: text(&value, "fingerprint")?,
            })
        });
        Ok(backoff.unwrap_or_default())
    }

    async fn keep_backoff(&self, _lease: &Lease, backoff: &Backoff) -> Result<(), CacheError> {
        let Backoff { failures, not_before, failed_at, sentence, fingerprint } = backoff;
        let value = json!({ "failures": failures, "not_before": not_before, "failed_at": failed_at,
            "sentence": sentence, "fingerprint": fingerprint });
        write(self.path("backoff.json"), value.to_string()).await
    }

    async fn publish_challenge(&self, answer: &ChallengeAnswer) -> Result<(), CacheError> {
        let mut challenges = self.lock_challenges();
        challenges.retain(|_, old| answer.expires - old.expires < ANSWER_LIFETIME_SECONDS);
        challenges.insert((answer.kind, answer.ident.clone()), answer.clone());
        Ok(())
    }

    async fn challenge(&self, kind: ChallengeKind, ident: &str) -> Result<Option<Secret>, CacheError> {
        let challenges = self.lock_challenges();
        Ok(challenges.get(&(kind, ident.to_owned())).map(|answer| answer.key_authorization.clone()))
    }

    async fn withdraw_challenge(&self, kind: ChallengeKind, ident: &str) -> Result<(), CacheError> {
        self.lock_challenges().remove(&(kind, ident.to_owned()));
        Ok(())
    }
}
