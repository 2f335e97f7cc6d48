//! The folder: modes, whole files, one holder, and what damage costs.

use m0v::acme::{
    Account, Backoff, Cache, CacheError, Certificate, ChallengeAnswer, ChallengeKind, FileCache, Pending,
    Secret,
};
use rcgen::{CertificateParams, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

pub(crate) fn certificate(days: i64) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example.org".to_owned()]).unwrap();
    let now = chrono::Utc::now().timestamp();
    params.not_before = (std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.unsigned_abs())).into();
    params.not_after = params.not_before + std::time::Duration::from_secs(days.unsigned_abs() * 86_400);
    let pem = params.self_signed(&key).unwrap().pem();
    Certificate::new("https://ca/dir".to_owned(), Secret::new(key.serialize_pem()), pem, now).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn filled(dir: &Path) -> FileCache {
    let cache = FileCache::open(dir).unwrap();
    let lease = cache.take_lease("one").await.unwrap().unwrap();
    let account = Account {
        directory: "https://ca/dir".to_owned(),
        key: Secret::new("KEY".to_owned()),
        registered: true,
    };
    let pending = Pending {
        directory: "https://ca/dir".to_owned(),
        domains: vec!["a.example.org".to_owned()],
        key_pem: Secret::new("PEM".to_owned()),
        order_url: Some("https://ca/order/1".to_owned()),
        begun_at: 17,
    };
    let backoff =
        Backoff { failures: 3, not_before: 9, failed_at: 8, sentence: "no".to_owned(), ..Backoff::default() };
    cache.keep_account(&lease, &account).await.unwrap();
    cache.keep_pending(&lease, Some(&pending)).await.unwrap();
    cache.keep_backoff(&lease, &backoff).await.unwrap();
    assert_eq!(cache.account("https://ca/dir").await.unwrap(), Some(account));
    assert_eq!(cache.account("https://elsewhere/").await.unwrap(), None);
    assert_eq!(cache.pending().await.unwrap(), Some(pending));
    assert_eq!(cache.backoff().await.unwrap(), backoff);
    let kept = certificate(90);
    assert_eq!(cache.certificate_version().await.unwrap(), None);
    assert_eq!(cache.keep_certificate(&lease, &kept).await.unwrap(), 1);
    assert_eq!(cache.keep_certificate(&lease, &kept).await.unwrap(), 2);
    assert_eq!(cache.certificate().await.unwrap(), Some((2, kept)));
    cache
}

#[tokio::test]
async fn keeps_everything_in_files_only_the_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/acme");
    // What a crash between writing and renaming leaves behind, readable by all.
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("certificate.new"), "half a certif").unwrap();
    let cache = filled(&folder).await;
    assert_eq!(mode(&folder), 0o700);
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for path in names {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let shown = crate::node::openssl(&[
        "x509",
        "-noout",
        "-ext",
        "subjectAltName",
        "-in",
        &folder.join("certificate.pem").display().to_string(),
    ]);
    assert!(shown.contains("a.example.org"), "openssl reads the file as it is: {shown}");
    let lease = cache.take_lease("one").await.unwrap().unwrap();
    cache.keep_pending(&lease, None).await.unwrap();
    assert_eq!(cache.pending().await.unwrap(), None);
}

#[tokio::test]
async fn lets_one_hold_the_lease_and_counts_the_fence() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (FileCache::open(dir.path()).unwrap(), FileCache::open(dir.path()).unwrap());
    let first = one.take_lease("one").await.unwrap().unwrap();
    assert!(two.take_lease("two").await.unwrap().is_none());
    one.release_lease(first).await.unwrap();
    let second = two.take_lease("two").await.unwrap().unwrap();
    assert_eq!(second.fence, 2);
    drop(second);
    assert_eq!(one.take_lease("one").await.unwrap().unwrap().fence, 3);
}

#[tokio::test]
async fn says_what_a_damaged_file_costs_or_goes_on_without() {
    let dir = tempfile::tempdir().unwrap();
    let cache = filled(dir.path()).await;
    for entry in fs::read_dir(dir.path()).unwrap() {
        fs::write(entry.unwrap().path(), "{torn").unwrap();
    }
    let account = cache.account("https://ca/dir").await.unwrap_err();
    assert!(account.to_string().contains("move it away; m0v then makes a new account"), "{account}");
    let certificate = cache.certificate().await.unwrap_err();
    assert!(matches!(certificate, CacheError::Damaged { .. }), "{certificate}");
    assert_eq!(cache.pending().await.unwrap(), None);
    assert_eq!(cache.backoff().await.unwrap(), Backoff::default());
    // A damaged certificate is replaced under a version nobody has seen.
    let lease = cache.take_lease("one").await.unwrap().unwrap();
    let fresh = self::certificate(90);
    assert_eq!(cache.keep_certificate(&lease, &fresh).await.unwrap(), fresh.obtained_at);
}

#[tokio::test]
async fn forgets_answers_nobody_took_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FileCache::open(dir.path()).unwrap();
    let answer = |ident: &str, expires| ChallengeAnswer {
        kind: ChallengeKind::Http01,
        ident: ident.to_owned(),
        key_authorization: Secret::new("hunter2".to_owned()),
        expires,
    };
    cache.publish_challenge(&answer("old", 0)).await.unwrap();
    cache.publish_challenge(&answer("young", 86_000)).await.unwrap();
    cache.publish_challenge(&answer("new", 90_000)).await.unwrap();
    let mut found = Vec::new();
    for ident in ["old", "young", "new"] {
        found.push(cache.challenge(ChallengeKind::Http01, ident).await.unwrap().is_some());
    }
    assert_eq!(found, [false, true, true]);
    assert!(!format!("{:?}", answer("a", 0)).contains("hunter2"));
}
