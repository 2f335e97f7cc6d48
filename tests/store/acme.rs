//! What nodes share of ACME: one holder of the lease, a fence, sealed keys.

use crate::cluster::Cluster;
use m0v::{
    acme::{
        Account, Backoff, Cache, CacheError, Certificate, ChallengeAnswer, ChallengeKind, Pending, Secret,
    },
    store::{
        Sealer, Store,
        postgres::{Postgres, PostgresOptions},
    },
};
use rcgen::{CertificateParams, KeyPair};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const DIRECTORY: &str = "https://ca.example/dir";

struct Shared {
    cluster: Arc<Cluster>,
    database: String,
}

impl Shared {
    async fn prepared() -> Self {
        let cluster = Cluster::shared();
        let database = cluster.new_database();
        let shared = Self { cluster, database };
        shared.store().prepare().await.expect("a schema");
        shared
    }

    fn store(&self) -> Postgres {
        let url = self.cluster.url_of(&self.database);
        let options = PostgresOptions { url, ca_file: None, max_connections: 3, allow_unsafe: false };
        Postgres::new(options).expect("a usable URL")
    }

    /// A node of its own: pool, process and all.
    fn node(&self, name: &str, secret: &str) -> Arc<dyn Cache> {
        let sealer = Sealer::new(secret.as_bytes()).expect("a key");
        self.store().acme_cache(name.to_owned(), sealer).expect("PostgreSQL is shared")
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql_in(&self.database, sql)
    }
}

fn certificate(name: &str) -> Certificate {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let chain = params.self_signed(&key).expect("signs itself").pem();
    Certificate::new(DIRECTORY.to_owned(), Secret::new(key.serialize_pem()), chain, 1_700_000_000)
        .expect("a certificate")
}

fn account(key: &str, registered: bool) -> Account {
    Account { directory: DIRECTORY.to_owned(), key: Secret::new(key.to_owned()), registered }
}

fn pending() -> Pending {
    Pending {
        directory: DIRECTORY.to_owned(),
        domains: vec!["a.example".to_owned(), "b.example".to_owned()],
        key_pem: Secret::new("PEM".to_owned()),
        order_url: None,
        begun_at: 1_700_000_000,
    }
}

fn is_lost<T: std::fmt::Debug>(result: Result<T, CacheError>) {
    match result {
        Err(CacheError::LeaseLost) => {}
        other => panic!("{other:?} of a writer that came late"),
    }
}

#[tokio::test]
async fn another_node_finds_what_one_kept() {
    let shared = Shared::prepared().await;
    let (one, two) = (shared.node("a", "secret"), shared.node("a", "secret"));
    let lease = one.take_lease("one").await.expect("an answer").expect("a lease");
    let backoff = Backoff {
        failures: u32::MAX,
        not_before: 1_700_000_100,
        failed_at: 1_700_000_000,
        sentence: "as the CA\0said".to_owned(),
        fingerprint: "f".to_owned(),
    };
    one.keep_account(&lease, &account("KEY", false)).await.expect("keeps");
    one.keep_pending(&lease, Some(&pending())).await.expect("keeps");
    one.keep_backoff(&lease, &backoff).await.expect("keeps");
    let kept = certificate("a.example");
    assert_eq!(two.certificate().await.expect("an answer"), None);
    assert_eq!(one.keep_certificate(&lease, &kept).await.expect("keeps"), 1);
    timeout(Duration::from_secs(30), two.changed()).await.expect("hears of it");

    assert_eq!(two.account(DIRECTORY).await.expect("an answer"), Some(account("KEY", false)));
    assert_eq!(two.account("https://elsewhere/").await.expect("an answer"), None);
    assert_eq!(two.pending().await.expect("an answer"), Some(pending()));
    let sentence = "as the CA said".to_owned();
    assert_eq!(two.backoff().await.expect("an answer"), Backoff { sentence, ..backoff });
    assert_eq!(two.certificate().await.expect("an answer"), Some((1, kept)));
    one.keep_pending(&lease, None).await.expect("ends");
    assert_eq!(two.pending().await.expect("an answer"), None);
    // A key is replaced only by one that the CA knows.
    is_lost(one.keep_account(&lease, &account("OTHER", false)).await);
    one.keep_account(&lease, &account("KEY", true)).await.expect("keeps");
    assert_eq!(two.account(DIRECTORY).await.expect("an answer"), Some(account("KEY", true)));
}

#[tokio::test]
async fn one_of_many_gets_the_lease_and_a_late_writer_changes_nothing() {
    let shared = Shared::prepared().await;
    let nodes: Vec<_> = (0..12).map(|_| shared.node("a", "secret")).collect();
    let mut racers = tokio::task::JoinSet::new();
    for (number, node) in nodes.iter().cloned().enumerate() {
        racers.spawn(async move { node.take_lease(&format!("racer {number}")).await.expect("an answer") });
    }
    let won: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    let [old] = &won[..] else { panic!("{} hold the lease", won.len()) };
    let (one, two) = (&nodes[0], &nodes[1]);
    one.extend_lease(old).await.expect("still its own");

    shared.sql("UPDATE acme_lease SET until = now() - interval '1 second'");
    let new = two.take_lease("next").await.expect("an answer").expect("run out, so free");
    assert_eq!(new.fence, old.fence + 1);
    is_lost(one.extend_lease(old).await);
    is_lost(one.keep_account(old, &account("STALE", true)).await);
    is_lost(one.keep_pending(old, Some(&pending())).await);
    two.keep_pending(&new, Some(&pending())).await.expect("keeps");
    is_lost(one.keep_pending(old, None).await);
    is_lost(one.keep_certificate(old, &certificate("a.example")).await);
    is_lost(one.keep_backoff(old, &Backoff { failures: 9, ..Backoff::default() }).await);
    let rows = "SELECT (SELECT count(*) FROM acme_account), (SELECT count(*) FROM acme_order),
                       (SELECT count(*) FROM acme_cert), (SELECT sum(failures) FROM acme_lease)";
    assert_eq!(shared.sql(rows), "0|1|0|0");

    // A holder that was killed and runs again need not wait for itself.
    assert!(one.take_lease("another").await.expect("an answer").is_none());
    let again = two.take_lease("next").await.expect("an answer").expect("its own");
    is_lost(two.extend_lease(&new).await);
    two.release_lease(again).await.expect("gives it back");
    assert!(one.take_lease("another").await.expect("an answer").is_some());
}

#[tokio::test]
async fn nodes_of_other_settings_find_the_old_certificate_and_never_replace_it() {
    let shared = Shared::prepared().await;
    let (old, new) = (shared.node("a", "secret"), shared.node("a and b", "secret"));
    let (first, second) = (certificate("a.example"), certificate("b.example"));
    let lease = old.take_lease("one").await.expect("an answer").expect("a lease");
    old.keep_certificate(&lease, &first).await.expect("keeps");
    assert_eq!(new.certificate().await.expect("an answer"), Some((1, first.clone())));
    let lease = new.take_lease("two").await.expect("an answer").expect("a lease of its own");
    assert_eq!(new.keep_certificate(&lease, &second).await.expect("keeps"), 2);
    assert_eq!(new.certificate().await.expect("an answer"), Some((2, second)));
    assert_eq!(old.certificate().await.expect("an answer"), Some((1, first)));
}

#[tokio::test]
async fn a_node_with_another_secret_neither_reads_nor_replaces() {
    let shared = Shared::prepared().await;
    let node = shared.node("a", "secret");
    let lease = node.take_lease("one").await.expect("an answer").expect("a lease");
    node.keep_account(&lease, &account("KEY", true)).await.expect("keeps");
    node.keep_certificate(&lease, &certificate("a.example")).await.expect("keeps");
    let stranger = shared.node("a", "another");
    for error in [
        stranger.account(DIRECTORY).await.map(drop).expect_err("must be refused"),
        stranger.certificate().await.map(drop).expect_err("must be refused"),
    ] {
        let text = error.to_string();
        assert!(matches!(error, CacheError::Refused(_)), "{text}");
        assert!(text.contains("the nodes' [database] secret differs") && !text.contains("KEY"), "{text}");
    }
    // A sealed key that was moved to another row does not open either.
    shared.sql("UPDATE acme_cert SET name = 'b'");
    assert!(shared.node("b", "secret").certificate().await.is_err());
}

#[tokio::test]
async fn every_node_answers_a_challenge_until_it_is_withdrawn_or_old() {
    let shared = Shared::prepared().await;
    let (one, two) = (shared.node("a", "secret"), shared.node("a", "secret"));
    let answer = |ident: &str, expires| ChallengeAnswer {
        kind: ChallengeKind::Http01,
        ident: ident.to_owned(),
        key_authorization: Secret::new(format!("{ident}.print")),
        expires,
    };
    one.publish_challenge(&answer("forgotten", 1_700_000_000)).await.expect("publishes");
    one.publish_challenge(&answer("token", i64::MAX)).await.expect("publishes");
    let found = |kind, ident: &'static str| {
        let two = Arc::clone(&two);
        async move { two.challenge(kind, ident).await.expect("an answer") }
    };
    assert_eq!(found(ChallengeKind::Http01, "token").await, Some(Secret::new("token.print".to_owned())));
    assert_eq!(found(ChallengeKind::TlsAlpn01, "token").await, None);
    assert_eq!(found(ChallengeKind::Http01, "forgotten").await, None);
    one.withdraw_challenge(ChallengeKind::Http01, "token").await.expect("withdraws");
    assert_eq!(found(ChallengeKind::Http01, "token").await, None);
}
