//! kill -9 after every step of an order: the next run goes on with the same account and order.

use crate::{
    node::{Listeners, Node, Recorder, issuer, judge, options},
    pebble::{Mischief, Pebble, Site},
};
use m0v::acme::{Cache, FileCache, Options, Step};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

const STEPS: [Step; 12] = [
    Step::AccountKeyKept,
    Step::AccountOpened,
    Step::KeyKept,
    Step::OrderPlaced,
    Step::OrderKept,
    Step::ChallengePublished,
    Step::ChallengeAccepted,
    Step::Authorized,
    Step::Finalized,
    Step::Issued,
    Step::Downloaded,
    Step::CertificateKept,
];

#[tokio::test(flavor = "multi_thread")]
async fn survives_a_kill_after_every_step() {
    let pebble = Pebble::with(&Mischief::default());
    for step in STEPS {
        let dir = pebble.site.dir.path().join(format!("{step:?}"));
        let before = (pebble.accounts(), pebble.orders());
        run_until(&pebble.site, &dir, step);

        let node = Node::in_dir(&pebble.site, options(&pebble.site), &dir).await;
        if step == Step::CertificateKept {
            let (version, certificate) = node.cache.certificate().await.unwrap().unwrap();
            judge(&certificate, &pebble.root(0), 2048);
            assert_eq!(version, 1);
        } else {
            assert_eq!(node.cache.certificate().await.unwrap(), None, "{step:?}");
            judge(&node.issue().await.unwrap(), &pebble.root(0), 2048);
        }
        let made = (pebble.accounts() - before.0, pebble.orders() - before.1);
        // Killed while the CA was asking, nobody answered it: that order is dead by the CA's
        // rules and not by ours.
        let orders_at_most = if step == Step::ChallengeAccepted { 2 } else { 1 };
        assert_eq!(made.0, 1, "accounts after {step:?}");
        assert!((1..=orders_at_most).contains(&made.1), "{} orders after {step:?}", made.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_killed_after_the_certificate_was_kept_is_not_ordered_again() {
    let pebble = Pebble::start();
    let dir = pebble.site.dir.path().join("kept");
    run_until(&pebble.site, &dir, Step::CertificateKept);
    // The begun order is still noted. Going on with it yields the same certificate, no new order.
    let node = Node::in_dir(&pebble.site, options(&pebble.site), &dir).await;
    let (_, kept) = node.cache.certificate().await.unwrap().unwrap();
    let again = node.issue().await.unwrap();
    assert_eq!(kept.chain_pem, again.chain_pem);
    assert_eq!(pebble.orders(), 1);
    assert_eq!(node.cache.pending().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_other_names_is_not_gone_on_with() {
    let pebble = Pebble::start();
    let dir = pebble.site.dir.path().join("other");
    run_until(&pebble.site, &dir, Step::OrderKept);
    let other = Options { domains: vec!["other.example.org".to_owned()], ..options(&pebble.site) };
    let node = Node::in_dir(&pebble.site, other, &dir).await;
    assert_eq!(node.issue().await.unwrap().domains, ["other.example.org"]);
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 2));
}

/// Runs an order in a process of its own that kills itself, -9, just after `step`.
fn run_until(site: &Site, dir: &Path, step: Step) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "kill::the_one_that_is_killed"])
        .env("ACME_DIR", dir)
        .env("ACME_SITE", site.dir.path())
        .env("ACME_PORTS", format!("{} {}", site.http_port, site.tls_port))
        .env("ACME_DIRECTORY", site.directory())
        .env("ACME_STEP", format!("{step:?}"))
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(9), "the child did not reach {step:?}: {said}");
}

#[tokio::test]
#[ignore = "started by the other tests here, to be killed"]
async fn the_one_that_is_killed() {
    let var = |name: &str| std::env::var(name).unwrap();
    let ports: Vec<u16> = var("ACME_PORTS").split(' ').map(|port| port.parse().unwrap()).collect();
    let cache = Arc::new(FileCache::open(&PathBuf::from(var("ACME_DIR"))).unwrap());
    let options = Options {
        domains: vec!["meter.example.org".to_owned()],
        contact: vec!["ops@example.org".to_owned()],
        directory: var("ACME_DIRECTORY"),
        ca_file: Some(PathBuf::from(var("ACME_SITE")).join("ca.pem")),
        http_01: true,
        ..Options::default()
    };
    let last = var("ACME_STEP");
    let issuer = issuer(options, &cache, &Arc::<Recorder>::default()).on_step(move |step| {
        if format!("{step:?}") == last {
            let me = std::process::id().to_string();
            Command::new("kill").args(["-9", &me]).status().unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    });
    let _listeners = Listeners::on(ports[0], ports[1], &cache).await;
    let lease = cache.take_lease("child").await.unwrap().unwrap();
    Box::pin(issuer.issue(&lease)).await.unwrap();
}
