use super::{Asked, Snapshot};
use crate::device::{Fingerprint, Identity, Refused};
use crate::store::devices::{Ca, Listed, Role, Status};
use std::sync::Arc;

const NOW: i64 = 1_800_000_000_000_000;

fn id(number: u8) -> String {
    format!("{number:064x}")
}

fn listed(number: u8, status: Status) -> Listed {
    Listed {
        certificate_id: id(number),
        device_id: format!("d{number}"),
        pub_id: Some(i64::from(number)),
        ca_id: Some("ca".into()),
        role: Role::Device,
        status,
        not_after: NOW + 1,
    }
}

fn ca(status: Status) -> Ca {
    Ca {
        ca_id: "ca".into(),
        subject: String::new(),
        pem: String::new(),
        status,
        auto_register: true,
        created_at: 0,
    }
}

fn admit(snapshot: &Snapshot, number: u8, now: i64) -> Option<Result<Arc<Identity>, Refused>> {
    let id = id(number);
    snapshot.admit(&id, Fingerprint::parse(&id).unwrap(), now)
}

fn connected(snapshot: &Snapshot, number: u8) -> Arc<Identity> {
    admit(snapshot, number, NOW).expect("known").expect("accepted")
}

use Status::{Active, Pending, Revoked};

#[test]
fn an_older_answer_overrides_no_newer_one() {
    let snapshot = Snapshot::default();
    let (first, second) = (snapshot.ask(), snapshot.ask());
    snapshot.put(&listed(1, Revoked), second);
    snapshot.put(&listed(1, Active), first);
    snapshot.put_all(&[listed(1, Active)], first);
    snapshot.recall(&[ca(Active)], &[listed(1, Active)]);
    snapshot.remove(&id(1), first);
    assert_eq!(admit(&snapshot, 1, NOW).unwrap().err(), Some(Refused::Revoked));
    assert!(snapshot.forget_before(first).is_empty());
    assert!(admit(&snapshot, 1, NOW).is_some());
    assert!(snapshot.put_cas(&[ca(Revoked)], second));
    assert!(!snapshot.put_cas(&[ca(Active)], first));
    snapshot.put(&listed(2, Active), second);
    assert_eq!(admit(&snapshot, 2, NOW).unwrap().err(), Some(Refused::Revoked), "its CA is");
}

#[test]
fn what_was_written_down_holds_until_the_store_says_otherwise() {
    let snapshot = Snapshot::noting();
    snapshot.recall(&[ca(Active)], &[listed(1, Active), listed(2, Active), listed(3, Pending)]);
    assert!(!snapshot.has_news(), "it came from there");
    let [one, two] = [1, 2].map(|number| connected(&snapshot, number));
    assert_eq!(admit(&snapshot, 3, NOW).unwrap().err(), Some(Refused::Pending));
    assert!(snapshot.is_bound(1) && snapshot.is_bound(3) && !snapshot.is_bound(4));
    let asked = snapshot.ask();
    snapshot.put_cas(&[ca(Active)], asked);
    snapshot.put_all(&[listed(1, Active), listed(2, Revoked)], asked);
    assert!(snapshot.forget_before(asked).is_empty());
    assert!(!one.is_revoked() && two.is_revoked());
    assert!(admit(&snapshot, 3, NOW).is_none() && !snapshot.is_bound(3), "it is gone");
    let (cas, mut listed) = snapshot.take_news();
    listed.sort_by(|one, other| one.0.cmp(&other.0));
    let became: Vec<_> =
        listed.iter().map(|(id, it)| (id.as_str(), it.as_ref().map(|it| it.status))).collect();
    assert_eq!(became, [(id(2).as_str(), Some(Revoked)), (id(3).as_str(), None)]);
    assert_eq!(cas, Some(vec![ca(Active)]), "the first time, whatever is there from earlier");
    assert!(!snapshot.has_news());
    snapshot.put_back(cas, &listed);
    assert_eq!(snapshot.take_news().1.len(), 2);
}

#[test]
fn who_is_connected_is_cut_off_by_the_stores_word_alone() {
    let snapshot = Snapshot::default();
    let early = snapshot.ask();
    snapshot.put(&listed(1, Active), early);
    snapshot.put(&listed(2, Active), early);
    let one = connected(&snapshot, 1);
    let asked = snapshot.ask();
    assert_eq!(snapshot.forget_before(asked), [id(1)], "to be asked for");
    assert!(!one.is_revoked() && admit(&snapshot, 2, NOW).is_none());
    snapshot.remove(&id(1), asked);
    assert!(one.is_revoked() && admit(&snapshot, 1, NOW).is_none());
}

#[test]
fn an_identity_ends_by_date_by_revocation_and_by_another_name() {
    let snapshot = Snapshot::default();
    let put = |listed: &Listed| snapshot.put(listed, snapshot.ask());
    let ends: [&dyn Fn(); 5] = [
        &|| snapshot.expire(NOW + 2),
        &|| put(&listed(1, Revoked)),
        &|| put(&listed(1, Pending)),
        &|| assert!(snapshot.put_cas(&[ca(Revoked)], snapshot.ask())),
        &|| put(&Listed { device_id: "another".into(), ..listed(1, Active) }),
    ];
    for ends in ends {
        snapshot.put_cas(&[ca(Active)], snapshot.ask());
        put(&listed(1, Active));
        let identity = connected(&snapshot, 1);
        assert!(Arc::ptr_eq(&identity, &connected(&snapshot, 1)), "all of a certificate share it");
        put(&Listed { pub_id: Some(9), role: Role::Service, ..listed(1, Active) });
        assert_eq!((identity.pub_id(), identity.role()), (Some(9), Role::Service));
        assert!(!identity.is_revoked() && snapshot.is_bound(9) && !snapshot.is_bound(1));
        ends();
        assert!(identity.is_revoked());
    }
    assert!(snapshot.ask() > Asked::default());
}
