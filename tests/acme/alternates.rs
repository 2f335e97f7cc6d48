//! One order, several chains: which is served.

use crate::{
    node::{Node, judge, options},
    pebble::{Mischief, Pebble},
};
use m0v::acme::Options;
use std::fs;

fn name_of(root: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("root.pem");
    fs::write(&file, root).unwrap();
    let args = ["x509", "-in", &file.display().to_string(), "-noout", "-subject", "-nameopt", "multiline"];
    crate::node::openssl(&args).split_once("= ").unwrap().1.trim().to_owned()
}

#[tokio::test]
async fn serves_the_chain_to_the_preferred_root_or_to_a_known_one() {
    let pebble = Pebble::with(&Mischief { alternate_roots: 2, chain_length: 3, ..Mischief::default() });
    let roots: Vec<_> = (0..3).map(|number| pebble.root(number)).collect();
    let names: Vec<_> = roots.iter().map(|root| name_of(root)).collect();
    let mut node = Node::new(&pebble.site, options(&pebble.site)).await;
    let prefer = |name: &str| Options { preferred_chain: Some(name.to_owned()), ..options(&pebble.site) };

    let default = node.issue().await.unwrap();
    assert_eq!(default.root, names[0]);
    judge(&default, &roots[0], 2048);

    let preferred = node.issue_with(prefer(&names[2].to_uppercase())).await.unwrap();
    assert_eq!(preferred.root, names[2]);
    judge(&preferred, &roots[2], 2048);
    assert_eq!(preferred.chain_pem.matches("BEGIN CERTIFICATE").count(), 4);

    let unknown = node.issue_with(prefer("DST Root CA X3")).await.unwrap();
    assert_eq!(unknown.root, names[0], "falls back to the default");

    // Only one root is in chains/: without any wish the chain to it is taken, and it beats a wish.
    *node.recorder.only_root.lock().unwrap() = Some(names[1].clone());
    assert_eq!(node.issue_with(options(&pebble.site)).await.unwrap().root, names[1]);
    assert_eq!(node.issue_with(prefer(&names[2])).await.unwrap().root, names[1]);

    // None is known: kept all the same, rather than ordering again and again.
    *node.recorder.only_root.lock().unwrap() = Some("nobody".to_owned());
    assert_eq!(node.issue_with(prefer(&names[2])).await.unwrap().root, names[2]);
}
