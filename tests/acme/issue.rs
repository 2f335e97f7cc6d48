//! First issue, by each challenge.

use crate::{
    node::{Node, judge, options},
    pebble::{Mischief, Pebble},
};
use m0v::acme::{Cache, Options, Secret};

#[tokio::test]
async fn issues_by_http_01() {
    let pebble = Pebble::start();
    let node = Node::new(&pebble.site, options(&pebble.site)).await;
    let certificate = node.issue().await.unwrap();
    judge(&certificate, &pebble.root(0), 2048);
    assert_eq!(certificate.domains, ["meter.example.org"]);
    assert!(certificate.root.starts_with("Pebble Root CA"), "{}", certificate.root);
    assert_eq!(certificate.lifetime(), 7_776_000 - 1);
    assert_eq!(node.cache.certificate().await.unwrap(), Some((1, certificate)));
    assert_eq!(node.cache.pending().await.unwrap(), None);
}

#[tokio::test]
async fn issues_two_names_by_tls_alpn_01_with_a_larger_key() {
    let pebble = Pebble::start();
    let options = Options {
        domains: vec!["Meter.Example.org".to_owned(), "confirm.example.org".to_owned()],
        http_01: false,
        tls_alpn_01: true,
        key_bits: 3072,
        ..options(&pebble.site)
    };
    let node = Node::new(&pebble.site, options).await;
    let certificate = node.issue().await.unwrap();
    judge(&certificate, &pebble.root(0), 3072);
    assert_eq!(certificate.domains, ["confirm.example.org", "meter.example.org"]);
}

#[tokio::test]
async fn issues_while_half_of_all_nonces_are_refused() {
    let pebble = Pebble::with(&Mischief { reject_nonces_percent: 50, ..Mischief::default() });
    let node = Node::new(&pebble.site, options(&pebble.site)).await;
    judge(&node.issue().await.unwrap(), &pebble.root(0), 2048);
    assert!(pebble.log().contains("Configured to reject 50% of good nonces"));
}

#[tokio::test]
async fn issues_to_a_bound_account_and_says_what_a_wrong_binding_lacks() {
    const KID: &str = "kid-1";
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::with(&Mischief { binding: Some((KID, KEY)), ..Mischief::default() });
    let mut node = Node::new(&pebble.site, options(&pebble.site)).await;
    let bound = |key: &str| Options {
        eab_kid: Some(KID.to_owned()),
        eab_key: Some(Secret::new(key.to_owned())),
        ..options(&pebble.site)
    };

    let none = node.issue().await.unwrap_err().to_string();
    assert!(none.contains("set [acme] eab_kid and eab_key"), "{none}");
    let wrong =
        node.issue_with(bound("AAAAZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")).await;
    let wrong = wrong.unwrap_err().to_string();
    assert!(wrong.contains("check [acme] eab_kid and eab_key"), "{wrong}");
    assert_eq!(pebble.accounts(), 0);

    judge(&node.issue_with(bound(KEY)).await.unwrap(), &pebble.root(0), 2048);
    // Once known, the account needs no binding any more.
    node.issue_with(options(&pebble.site)).await.unwrap();
    assert_eq!(pebble.accounts(), 1);
}

#[tokio::test]
async fn keeps_the_key_across_renewals_only_when_told_to() {
    let pebble = Pebble::start();
    let mut node = Node::new(&pebble.site, options(&pebble.site)).await;
    let first = node.issue().await.unwrap();
    let pinned = node.issue_with(Options { reuse_key: true, ..options(&pebble.site) }).await.unwrap();
    let larger =
        node.issue_with(Options { reuse_key: true, key_bits: 4096, ..options(&pebble.site) }).await.unwrap();
    let fresh = node.issue_with(options(&pebble.site)).await.unwrap();
    assert_eq!(pinned.key_pem, first.key_pem);
    assert_ne!(pinned.chain_pem, first.chain_pem);
    judge(&larger, &pebble.root(0), 4096);
    assert_ne!(fresh.key_pem, first.key_pem);
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 4));
}

#[tokio::test]
async fn asks_for_no_look_at_names_validated_lately() {
    let pebble = Pebble::with(&Mischief { reuse_authorizations: true, ..Mischief::default() });
    let node = Node::new(&pebble.site, options(&pebble.site)).await;
    node.issue().await.unwrap();
    judge(&node.issue().await.unwrap(), &pebble.root(0), 2048);
    assert_eq!(pebble.log().matches("Starting 3 validations").count(), 1);
}
