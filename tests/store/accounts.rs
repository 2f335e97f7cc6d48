//! The suite, continued: tokens, accounts, handshakes, and what may be done on a broker.

use crate::contract::Bench;
use m0v::store::{
    Store,
    accounts::{Entry, KEPT_HANDSHAKES, Kind, NewAccount, NewToken, NotTied, Rule, Rules},
    now,
};
use std::sync::Arc;
use tokio::task::JoinSet;

fn rules(publish: &[&str], subscribe: &[&str]) -> Rules {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Rules { publish: list(publish), subscribe: list(subscribe) }
}

fn account(name: &str) -> NewAccount {
    NewAccount {
        identity_hash: format!("identity of {name}"),
        username: name.into(),
        password_hash: format!("argon2id of {name}"),
        mosquitto_hash: format!("pbkdf2 of {name}"),
        rules: rules(&["own"], &["own"]),
        peer: "192.0.2.1:7".into(),
    }
}

fn token(name: &str, uses: Option<i64>) -> NewToken {
    NewToken {
        name: name.into(),
        token_hash: format!("hash of {name}"),
        uses,
        expires_at: None,
        rules: rules(&["a/{device}", "a/#"], &["b/+"]),
    }
}

fn shown(name: &str) -> Entry {
    Entry::Token(format!("hash of {name}"))
}

pub(crate) async fn lets_in_by_the_rules_of_the_entry(bench: &dyn Bench) {
    let store = bench.store();
    assert!(store.admits(&Entry::Open).await.unwrap() && !store.admits(&shown("t")).await.unwrap());
    assert!(store.register(&account("open"), &Entry::Open).await.unwrap());
    assert!(!store.register(&account("x"), &shown("t")).await.unwrap());
    assert!(store.add_token(&token("t", None), "root").await.unwrap());
    assert!(!store.add_token(&token("t", Some(1)), "root").await.unwrap(), "the name is in use");
    assert!(!store.register(&account("x"), &Entry::Open).await.unwrap(), "there is a token now");
    assert!(!store.register(&account("x"), &shown("other")).await.unwrap());
    assert!(store.register(&account("config"), &Entry::Configured).await.unwrap());
    assert!(store.register(&account("token"), &shown("t")).await.unwrap());
    for (name, expected) in [
        ("open", rules(&["own"], &["own"])),
        ("config", rules(&["own"], &["own"])),
        ("token", rules(&["a/#", "a/{device}"], &["b/+"])),
    ] {
        let found = store.find_account(name).await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.is_active, found.device_id), (name, true, None));
        assert_eq!(found.password_hash, format!("argon2id of {name}"));
        assert_eq!(found.rules, expected, "{name}");
    }
    assert!(store.find_account("x").await.unwrap().is_none(), "a refusal leaves nothing");
    assert!(store.revoke_token("t", "root").await.unwrap() && store.revoke_token("t", "root").await.unwrap());
    assert!(!store.revoke_token("none", "root").await.unwrap());
    assert!(!store.register(&account("x"), &shown("t")).await.unwrap(), "revoked");
    assert!(!store.admits(&Entry::Open).await.unwrap(), "a door once shut stays shut");
    assert!(store.register(&account("open"), &Entry::Configured).await.is_err(), "the name is taken");
    assert_eq!(
        bench.sql("SELECT who, what, subject FROM audit ORDER BY id"),
        "anybody|account register|account 1 open from 192.0.2.1:7\n\
         root|token new|token t\n\
         token of the configuration|account register|account 2 config from 192.0.2.1:7\n\
         token t|account register|account 3 token from 192.0.2.1:7\n\
         root|token revoke|token t"
    );
    assert_eq!(bench.sql("SELECT count(*) FROM handshake"), "3", "to register is a handshake too");
}

pub(crate) async fn refuses_tokens_that_are_used_up_or_expired(bench: &dyn Bench) {
    let store = bench.store();
    store.add_token(&token("twice", Some(2)), "root").await.unwrap();
    store.add_token(&NewToken { expires_at: Some(now() - 1), ..token("late", None) }, "root").await.unwrap();
    let tomorrow = now() + 86_400_000_000;
    store.add_token(&NewToken { expires_at: Some(tomorrow), ..token("good", None) }, "root").await.unwrap();
    for (name, entry, expected) in [
        ("a", "twice", true),
        ("b", "twice", true),
        ("c", "twice", false),
        ("d", "late", false),
        ("e", "good", true),
    ] {
        assert_eq!(store.admits(&shown(entry)).await.unwrap(), expected, "{name}");
        assert_eq!(store.register(&account(name), &shown(entry)).await.unwrap(), expected, "{name}");
    }
    let tokens = store.list_tokens("", 10).await.unwrap();
    let told: Vec<_> = tokens.iter().map(|it| (it.name.as_str(), it.uses_left, it.expires_at)).collect();
    assert_eq!(told[0], ("good", None, Some(tomorrow)));
    assert_eq!((told[1].0, told[2]), ("late", ("twice", Some(0), None)));
    assert_eq!(tokens[0].rules, rules(&["a/{device}", "a/#"], &["b/+"]), "as given");
    let after = store.list_tokens("good", 1).await.unwrap();
    assert_eq!(after.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["late"]);
}

/// Forty at once, half of them through another node, for a token with seven uses.
pub(crate) async fn uses_a_token_up_exactly(bench: &dyn Bench) {
    let nodes: [Arc<dyn Store>; 2] = [bench.store(), bench.another()];
    nodes[0].add_token(&token("seven", Some(7)), "root").await.unwrap();
    let mut asked = JoinSet::new();
    for number in 0..40 {
        let node = Arc::clone(&nodes[number % 2]);
        asked.spawn(async move {
            let account = account(&format!("racer {number}"));
            node.register(&account, &shown("seven")).await.unwrap()
        });
    }
    let made = asked.join_all().await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 7);
    assert_eq!(bench.sql("SELECT count(*) FROM account"), "7");
    assert_eq!(bench.sql("SELECT uses_left FROM onboarding_token"), "0");
    assert_eq!(bench.sql("SELECT count(*) FROM audit WHERE what = 'account register'"), "7");
}

pub(crate) async fn notes_handshakes_and_rotates_identities(bench: &dyn Bench) {
    let store = bench.store();
    store.register(&account("ann"), &Entry::Open).await.unwrap();
    let before = now() - 60_000_000;
    assert!(store.shake_hands("identity of ann", None, "192.0.2.2:1").await.unwrap());
    assert!(!store.shake_hands("identity of bob", None, "192.0.2.2:1").await.unwrap());
    assert!(!store.shake_hands("identity of bob", Some("new"), "192.0.2.2:1").await.unwrap());
    assert!(store.shake_hands("identity of ann", Some("another"), "192.0.2.3:1").await.unwrap());
    assert!(!store.shake_hands("identity of ann", None, "192.0.2.2:1").await.unwrap(), "it was rotated");
    assert!(store.shake_hands("another", None, "192.0.2.4:1").await.unwrap());
    let portrait = store.show_account("ann").await.unwrap().unwrap();
    let peers: Vec<_> = portrait.handshakes.iter().map(|(_, peer)| peer.as_deref().unwrap()).collect();
    assert_eq!(peers, ["192.0.2.4:1", "192.0.2.3:1", "192.0.2.2:1", "192.0.2.1:7"]);
    assert!(portrait.handshakes.iter().all(|(at, _)| *at > before && *at <= now() + 60_000_000));
    assert_eq!(portrait.account.last_handshake_at, Some(portrait.handshakes[0].0));
    assert_eq!(
        bench.sql("SELECT who, subject FROM audit WHERE what = 'account rotate'"),
        "account ann|account 1 ann from 192.0.2.3:1"
    );

    for _ in 0..KEPT_HANDSHAKES + 5 {
        store.shake_hands("another", None, "192.0.2.5:1").await.unwrap();
    }
    assert_eq!(bench.sql("SELECT count(*) FROM handshake"), KEPT_HANDSHAKES.to_string());
    assert_eq!(bench.sql("SELECT count(*) FROM handshake WHERE peer = '192.0.2.5:1'"), "100", "the latest");
    assert!(store.set_enabled("ann", false, "root").await.unwrap());
    assert!(!store.shake_hands("another", Some("x"), "192.0.2.5:1").await.unwrap(), "disabled");
}

/// Whoever rotates at the same time gets one new identity in all.
pub(crate) async fn rotates_once_in_a_race(bench: &dyn Bench) {
    let nodes: [Arc<dyn Store>; 2] = [bench.store(), bench.another()];
    nodes[0].register(&account("ann"), &Entry::Open).await.unwrap();
    let mut asked = JoinSet::new();
    for number in 0..10 {
        let node = Arc::clone(&nodes[number % 2]);
        let new = format!("new {number}");
        asked.spawn(async move { node.shake_hands("identity of ann", Some(&new), "p").await.unwrap() });
    }
    assert_eq!(asked.join_all().await.into_iter().filter(|done| *done).count(), 1);
    assert!(bench.sql("SELECT identity_hash FROM account").starts_with("new "));
}

pub(crate) async fn changes_what_an_account_may_do(bench: &dyn Bench) {
    let store = bench.store();
    store.register(&account("ann"), &Entry::Open).await.unwrap();
    let rule = |kind, pattern: &str| Rule { kind, pattern: pattern.into() };
    let (new, own) = (rule(Kind::Publish, "x/+'; DROP TABLE acl; --"), rule(Kind::Subscribe, "own"));
    assert_eq!(store.allow("ann", &new, "root").await.unwrap(), Some(true));
    assert_eq!(store.allow("ann", &new, "root").await.unwrap(), Some(false), "it was already");
    assert_eq!(store.allow("bob", &new, "root").await.unwrap(), None);
    assert_eq!(store.deny("ann", &own, "root").await.unwrap(), Some(true));
    assert_eq!(store.deny("ann", &own, "root").await.unwrap(), Some(false));
    assert_eq!(store.deny("bob", &own, "root").await.unwrap(), None);
    let found = store.find_account("ann").await.unwrap().unwrap();
    assert_eq!(found.rules, rules(&["own", "x/+'; DROP TABLE acl; --"], &[]));
    assert!(!store.set_enabled("bob", false, "root").await.unwrap());
    for is_enabled in [false, false, true] {
        assert!(store.set_enabled("ann", is_enabled, "root").await.unwrap());
        assert_eq!(store.find_account("ann").await.unwrap().unwrap().is_active, is_enabled);
        assert_eq!(store.export_accounts(0, 10).await.unwrap().len(), usize::from(is_enabled));
    }
    assert_eq!(
        bench.sql("SELECT who, what, subject FROM audit WHERE id > 1 ORDER BY id"),
        "root|account allow|account 1 ann pub:x/+'; DROP TABLE acl; --\n\
         root|account deny|account 1 ann sub:own\n\
         root|account disable|account 1 ann\n\
         root|account enable|account 1 ann"
    );
}

pub(crate) async fn ties_accounts_to_devices(bench: &dyn Bench) {
    let store = bench.store();
    for name in ["ann", "bob"] {
        store.register(&account(name), &Entry::Open).await.unwrap();
    }
    bench.sql("INSERT INTO device (device_id) VALUES ('meter-7')");
    assert_eq!(store.tie("ann", Some("meter-7"), "root").await.unwrap(), Ok(()));
    assert_eq!(store.tie("ann", Some("meter-8"), "root").await.unwrap(), Err(NotTied::UnknownDevice));
    assert_eq!(store.tie("eve", Some("meter-7"), "root").await.unwrap(), Err(NotTied::UnknownAccount));
    assert_eq!(store.find_account("ann").await.unwrap().unwrap().device_id.as_deref(), Some("meter-7"));
    for (client_id, username, expected) in [
        ("meter-7", "ann", false),
        ("meter-7", "bob", true),
        ("ann", "bob", true),
        ("ann", "ann", false),
        ("something", "bob", false),
    ] {
        assert_eq!(store.is_anothers(client_id, username).await.unwrap(), expected, "{client_id} {username}");
    }
    for (status, is_active) in [("revoked", false), ("pending", false), ("active", true)] {
        bench.sql(&format!("UPDATE device SET status = '{status}'"));
        assert_eq!(store.find_account("ann").await.unwrap().unwrap().is_active, is_active, "{status}");
        let greeted = store.shake_hands("identity of ann", None, "192.0.2.2:1").await.unwrap();
        assert_eq!(greeted, is_active, "{status}");
        let exported = store.export_accounts(0, 10).await.unwrap();
        assert_eq!(exported.len(), 1 + usize::from(is_active), "{status}");
    }
    let exported = store.export_accounts(0, 1).await.unwrap();
    assert_eq!(exported[0].mosquitto_hash, "pbkdf2 of ann");
    assert_eq!(
        (exported[0].device_id.as_deref(), exported[0].rules.publish.as_slice()),
        (Some("meter-7"), &["own".to_owned()][..])
    );
    assert_eq!(store.tie("ann", None, "root").await.unwrap(), Ok(()));
    let accounts = store.list_accounts(0, 10).await.unwrap();
    let told: Vec<_> =
        accounts.iter().map(|it| (it.account_id, it.username.as_str(), it.device_id.is_some())).collect();
    assert_eq!(told, [(1, "ann", false), (2, "bob", false)]);
    assert_eq!(store.list_accounts(1, 10).await.unwrap(), accounts[1..]);
    assert!(store.show_account("eve").await.unwrap().is_none());
}
