//! The suite, continued: devices, their certificates, and the CAs that vouch for them.

use crate::contract::{Bench, T0, by_id, confirmation};
use m0v::store::{
    Store,
    devices::{
        Ca, Change, Device, Enrolment, Grounds, Listed, NotEnrolled, NotLinked, Revocation, Role, Status,
    },
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{sync::broadcast::Receiver, task::JoinSet, time::timeout};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

const WHO: &str = "root";

/// Any certificate id will do for a store: 64 hex digits.
fn id(number: u32) -> String {
    format!("{number:064x}")
}

fn ca(number: u32, auto_register: bool) -> Ca {
    Ca {
        ca_id: id(number),
        subject: format!("CN=ca {number}"),
        pem: format!("pem {number}"),
        status: Status::Active,
        auto_register,
        created_at: 0,
    }
}

pub(crate) fn listed(device: &str, certificate: u32) -> Enrolment {
    Enrolment {
        device_id: device.into(),
        model_number: Some("m1".into()),
        certificate_id: id(certificate),
        pem: format!("pem {certificate}"),
        not_after: T0,
        role: Role::Device,
        grounds: Grounds::Listed,
    }
}

fn just_in_time(device: &str, certificate: u32, ca: u32, max_per_hour: i64) -> Enrolment {
    let grounds = Grounds::JustInTime { ca_id: id(ca), max_per_hour };
    Enrolment { model_number: None, grounds, ..listed(device, certificate) }
}

async fn enrol(store: &Arc<dyn Store>, enrolment: &Enrolment) -> Listed {
    store.enrol(enrolment, WHO).await.unwrap().unwrap_or_else(|why| panic!("{enrolment:?}: {why:?}"))
}

async fn refused(store: &Arc<dyn Store>, enrolment: &Enrolment) -> NotEnrolled {
    store.enrol(enrolment, WHO).await.unwrap().expect_err("refused")
}

fn audit(bench: &dyn Bench) -> String {
    bench.sql("SELECT what, subject FROM audit ORDER BY id").replace(&"0".repeat(62), "…")
}

pub(crate) async fn lists_certificates_and_makes_their_devices(bench: &dyn Bench) {
    let store = bench.store();
    let first = enrol(&store, &listed("d1", 1)).await;
    let pub_id = first.pub_id.expect("a pub of its own");
    assert_eq!(bench.sql("SELECT pub_id, hash FROM pub"), format!("{pub_id}|"));
    let expected = Listed {
        certificate_id: id(1),
        device_id: "d1".into(),
        pub_id: Some(pub_id),
        ca_id: None,
        role: Role::Device,
        status: Status::Active,
        not_after: T0,
    };
    assert_eq!(first, expected);
    assert_eq!(enrol(&store, &listed("d1", 1)).await, expected, "again");
    assert_eq!(store.find_listed(&id(1)).await.unwrap(), Some(expected));
    assert_eq!(store.find_listed(&id(9)).await.unwrap(), None);
    let other = refused(&store, &listed("d2", 1)).await;
    assert_eq!(other, NotEnrolled::OtherDevice { device_id: "d1".into() });
    assert_eq!(bench.sql("SELECT count(*) FROM device"), "1", "nothing of it is done");

    let device = store.find_device("d1").await.unwrap().unwrap();
    assert!(device.created_at > T0);
    let expected = Device {
        device_id: "d1".into(),
        model_number: Some("m1".into()),
        pub_id: Some(pub_id),
        status: Status::Active,
        ca_id: None,
        created_at: device.created_at,
    };
    assert_eq!(device, expected);
    let cert = store.find_cert(&id(1)).await.unwrap().unwrap();
    assert_eq!((cert.pem.as_str(), cert.not_after, cert.revoked_at), ("pem 1", T0, None));

    // A second certificate of the device, and the first one raised.
    let service = Enrolment { role: Role::Service, ..listed("d1", 2) };
    assert_eq!(enrol(&store, &service).await.pub_id, Some(pub_id));
    assert_eq!(enrol(&store, &listed("d1", 2)).await.role, Role::Service, "never lowered");
    let raised = Enrolment { role: Role::Service, ..listed("d1", 1) };
    assert_eq!(enrol(&store, &raised).await.role, Role::Service);
    assert_eq!(store.listed_of("d1").await.unwrap().len(), 2);

    let unknown = Enrolment { grounds: Grounds::Issued { ca_id: id(70) }, ..listed("d3", 3) };
    assert_eq!(refused(&store, &unknown).await, NotEnrolled::UnknownCa);
    store.add_ca(&ca(70, true), WHO).await.unwrap().unwrap();
    assert_eq!(enrol(&store, &unknown).await.ca_id, Some(id(70)));
    assert_eq!(store.find_device("d3").await.unwrap().unwrap().ca_id, Some(id(70)));
    assert_eq!(
        audit(bench),
        "cert add|certificate …01 of device d1\n\
         cert add|certificate …02 of device d1\n\
         cert add|certificate …01 of device d1 as service\n\
         ca add|ca …46 (CN=ca 70)\n\
         cert issue|certificate …03 of device d3"
    );
}

pub(crate) async fn registers_just_in_time_within_bounds(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(refused(&store, &just_in_time("d1", 1, 7, 9)).await, NotEnrolled::UnknownCa);
    let added = store.add_ca(&ca(7, true), WHO).await.unwrap().unwrap();
    assert!(added.created_at > T0, "the store's time");
    store.add_ca(&ca(8, false), WHO).await.unwrap().unwrap();
    let again = Ca { subject: "another".into(), ..ca(7, false) };
    assert_eq!(store.add_ca(&again, WHO).await.unwrap(), Err(added.clone()), "as it is");
    assert_eq!(store.list_cas().await.unwrap().len(), 2);

    let first = enrol(&store, &just_in_time("d1", 1, 7, 2)).await;
    assert_eq!((first.status, first.ca_id.clone()), (Status::Active, Some(id(7))));
    // Its name is its CA's now.
    let taken = refused(&store, &just_in_time("d1", 2, 8, 2)).await;
    assert_eq!(taken, NotEnrolled::NameTaken { ca_id: Some(id(7)) });
    enrol(&store, &listed("synced", 3)).await;
    let taken = refused(&store, &just_in_time("synced", 4, 7, 2)).await;
    assert_eq!(taken, NotEnrolled::NameTaken { ca_id: None });

    // Two devices an hour; more certificates of a known one are no new device.
    enrol(&store, &just_in_time("d2", 5, 7, 2)).await;
    assert_eq!(refused(&store, &just_in_time("d3", 6, 7, 2)).await, NotEnrolled::TooManyNew);
    assert_eq!(enrol(&store, &just_in_time("d1", 7, 7, 2)).await.pub_id, first.pub_id);
    let pending = enrol(&store, &just_in_time("p1", 8, 8, 2)).await;
    assert_eq!(pending.status, Status::Pending, "each CA has its own");
    age_devices(bench);
    enrol(&store, &just_in_time("d3", 6, 7, 2)).await;

    assert_eq!(store.approve_device("nobody", WHO).await.unwrap(), None);
    assert_eq!(store.approve_device("p1", WHO).await.unwrap(), Some(Status::Pending));
    assert_eq!(store.approve_device("p1", WHO).await.unwrap(), Some(Status::Active));
    assert_eq!(store.find_listed(&id(8)).await.unwrap().unwrap().status, Status::Active);
    enrol(&store, &just_in_time("p2", 9, 8, 2)).await;
    assert_eq!(enrol(&store, &listed("p2", 10)).await.status, Status::Active, "listing approves");
    assert_eq!(store.find_listed(&id(9)).await.unwrap().unwrap().status, Status::Active);
    assert_eq!(bench.sql("SELECT count(*) FROM audit WHERE what = 'device approve'"), "2");
}

/// Makes all devices older than an hour.
fn age_devices(bench: &dyn Bench) {
    let older = match bench.micros("x").as_str() {
        "x" => "created_at - 3601000000",
        _ => "created_at - interval '3601 s'",
    };
    bench.sql(&format!("UPDATE device SET created_at = {older}"));
}

pub(crate) async fn registers_once_in_a_race(bench: &dyn Bench) {
    let store = bench.store();
    store.add_ca(&ca(7, true), WHO).await.unwrap().unwrap();
    let doors = [bench.store(), bench.another()];
    for round in 0..10 {
        let mut racers = JoinSet::new();
        for racer in 0..10 {
            let store = Arc::clone(&doors[racer % 2]);
            let enrolment = just_in_time(&format!("d{round}"), round, 7, 100);
            racers.spawn(async move { store.enrol(&enrolment, WHO).await.unwrap().unwrap() });
        }
        let entries = racers.join_all().await;
        assert!(entries.windows(2).all(|pair| pair[0] == pair[1]), "{entries:?}");
    }
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT pub_id) FROM device"), "10|10");
    assert_eq!(bench.sql("SELECT count(*) FROM pub"), "10");
    assert_eq!(bench.sql("SELECT count(*) FROM audit WHERE what = 'cert register'"), "10");
}

pub(crate) async fn caps_new_devices_in_a_race(bench: &dyn Bench) {
    bench.store().add_ca(&ca(7, true), WHO).await.unwrap().unwrap();
    let doors = [bench.store(), bench.another()];
    let mut racers = JoinSet::new();
    for racer in 0..20 {
        let store = Arc::clone(&doors[racer as usize % 2]);
        let enrolment = just_in_time(&format!("d{racer}"), racer, 7, 5);
        racers.spawn(async move { store.enrol(&enrolment, WHO).await.unwrap() });
    }
    let entries = racers.join_all().await;
    assert_eq!(entries.iter().filter(|entry| entry.is_ok()).count(), 5);
    let others = entries.into_iter().filter_map(Result::err);
    assert!(others.into_iter().all(|why| why == NotEnrolled::TooManyNew));
    assert_eq!(bench.sql("SELECT count(*) FROM pub"), "5", "and nothing left of the others");
}

pub(crate) async fn gives_a_pub_to_one_device_in_a_race(bench: &dyn Bench) {
    let doors = [bench.store(), bench.another()];
    let free = doors[0].add_pub(by_id(500)).await.unwrap().unwrap().pub_id;
    for number in 0..6 {
        enrol(&doors[0], &listed(&format!("d{number}"), number)).await;
    }
    let mut racers = JoinSet::new();
    for (racer, door) in (0..6).zip(doors.iter().cycle()) {
        let store = Arc::clone(door);
        racers.spawn(async move { store.link_device(&format!("d{racer}"), free, WHO).await.unwrap() });
    }
    let linked = racers.join_all().await;
    assert_eq!(linked.iter().filter(|linked| linked.is_ok()).count(), 1, "{linked:?}");
    assert_eq!(bench.sql("SELECT count(*) FROM device WHERE pub_id = 500"), "1");
}

pub(crate) async fn revokes_for_ever(bench: &dyn Bench) {
    let store = bench.store();
    store.add_ca(&ca(7, true), WHO).await.unwrap().unwrap();
    enrol(&store, &listed("d1", 1)).await;
    enrol(&store, &listed("d1", 2)).await;
    enrol(&store, &just_in_time("d3", 3, 7, 9)).await;
    enrol(&store, &just_in_time("d4", 4, 7, 9)).await;
    enrol(&store, &listed("d4", 5)).await;
    let revoke = async |what: Revocation| store.revoke(&what, WHO).await.unwrap();
    let status = async |number| store.find_listed(&id(number)).await.unwrap().unwrap().status;

    assert_eq!(revoke(Revocation::Certificate(id(9))).await, None);
    assert_eq!(revoke(Revocation::Device("nobody".into())).await, None);
    assert_eq!(revoke(Revocation::Ca(id(9))).await, None);
    assert_eq!(revoke(Revocation::Certificate(id(1))).await, Some(1));
    assert_eq!(revoke(Revocation::Certificate(id(1))).await, Some(0), "once");
    assert_eq!((status(1).await, status(2).await), (Status::Revoked, Status::Active));
    let cert = store.find_cert(&id(1)).await.unwrap().unwrap();
    assert!(cert.status == Status::Revoked && cert.revoked_at.is_some_and(|at| at >= cert.created_at));
    assert_eq!(refused(&store, &listed("d1", 1)).await, NotEnrolled::Revoked);

    assert_eq!(revoke(Revocation::Device("d1".into())).await, Some(1), "one was revoked before");
    assert_eq!(status(2).await, Status::Revoked);
    assert_eq!(refused(&store, &listed("d1", 6)).await, NotEnrolled::Revoked, "and all that are to come");
    assert_eq!(store.approve_device("d1", WHO).await.unwrap(), Some(Status::Revoked));
    assert_eq!(store.find_device("d1").await.unwrap().unwrap().status, Status::Revoked);

    assert_eq!(revoke(Revocation::Ca(id(7))).await, Some(2));
    assert_eq!((status(3).await, status(4).await), (Status::Revoked, Status::Revoked));
    assert_eq!(status(5).await, Status::Active, "listed by itself");
    assert_eq!(refused(&store, &just_in_time("d5", 7, 7, 9)).await, NotEnrolled::UnknownCa);
    assert_eq!(store.add_ca(&ca(7, true), WHO).await.unwrap().unwrap_err().status, Status::Revoked);
    assert_eq!(
        bench
            .sql("SELECT what, subject FROM audit WHERE what LIKE '%revoke' ORDER BY id")
            .replace(&"0".repeat(62), "…"),
        "cert revoke|certificate …01\ndevice revoke|device d1\nca revoke|ca …07"
    );
}

pub(crate) async fn links_a_device_to_a_pub_that_is_free(bench: &dyn Bench) {
    let store = bench.store();
    let own = enrol(&store, &listed("d1", 1)).await.pub_id.unwrap();
    let others = enrol(&store, &listed("d2", 2)).await.pub_id.unwrap();
    let confirmed = store.confirm(&confirmation(5, None), T0).await.unwrap().pub_id.unwrap();
    let link = async |device: &str, pub_id| store.link_device(device, pub_id, WHO).await.unwrap();
    assert_eq!(link("nobody", confirmed).await, Err(NotLinked::UnknownDevice));
    assert_eq!(link("d1", 999).await, Err(NotLinked::UnknownPub));
    assert_eq!(link("d1", others).await, Err(NotLinked::Taken { device_id: "d2".into() }));
    assert_eq!(link("d1", own).await.unwrap().pub_id, Some(own), "as it is");
    assert_eq!(link("d1", confirmed).await.unwrap().pub_id, Some(confirmed));
    assert_eq!(store.find_listed(&id(1)).await.unwrap().unwrap().pub_id, Some(confirmed));
    assert_eq!(
        bench.sql(&format!("SELECT count(*) FROM pub WHERE pub_id = {own}")),
        "1",
        "the old one stays"
    );
    assert_eq!(link("d2", own).await.unwrap().pub_id, Some(own), "and is free");
    assert_eq!(
        bench.sql("SELECT what, subject FROM audit WHERE what = 'device link' ORDER BY id"),
        format!(
            "device link|pub {confirmed} instead of {own} to device d1\n\
             device link|pub {own} instead of {others} to device d2"
        )
    );

    // A device without one, as somebody made it by hand, gets one with its next certificate.
    bench.sql("INSERT INTO device (device_id) VALUES ('bare')");
    assert!(enrol(&store, &listed("bare", 3)).await.pub_id.is_some());
}

pub(crate) async fn pages_through_everything(bench: &dyn Bench) {
    let store = bench.store();
    for number in 0..5 {
        enrol(&store, &listed(&format!("d{number}"), number)).await;
    }
    let ids: Vec<_> = (0..5).map(id).collect();
    let listed: Vec<_> =
        store.list_listed("", 3).await.unwrap().into_iter().map(|it| it.certificate_id).collect();
    assert_eq!(listed, ids[..3]);
    let listed: Vec<_> =
        store.list_listed(&ids[2], 9).await.unwrap().into_iter().map(|it| it.certificate_id).collect();
    assert_eq!(listed, ids[3..]);
    let certs: Vec<_> =
        store.list_certs(&ids[3], 9).await.unwrap().into_iter().map(|it| it.certificate_id).collect();
    assert_eq!(certs, ids[4..]);
    let devices: Vec<_> =
        store.list_devices("d1", 2).await.unwrap().into_iter().map(|it| it.device_id).collect();
    assert_eq!(devices, ["d2", "d3"]);
    let last = store.list_audit(None, 2).await.unwrap();
    assert_eq!(
        last.iter().map(|it| it.subject.clone().unwrap()).collect::<Vec<_>>(),
        [format!("certificate {} of device d4", id(4)), format!("certificate {} of device d3", id(3)),]
    );
    assert!(last.iter().all(|it| it.who == WHO && it.what == "cert add" && it.at > T0));
    assert_eq!(store.list_audit(Some(last[1].id), 9).await.unwrap().len(), 3);
}

pub(crate) async fn tells_other_processes_what_changed(bench: &dyn Bench) {
    let (here, there) = (bench.store(), bench.another());
    let mut changes = here.changes();
    let hearing = Arc::clone(&here);
    let hearing = tokio::spawn(async move { hearing.hear().await });
    assert_eq!(next(&mut changes).await, Change::Everything, "what was before");
    there.add_ca(&ca(7, false), WHO).await.unwrap().unwrap();
    enrol(&there, &just_in_time("a device of 8", 1, 7, 9)).await;
    there.approve_device("a device of 8", WHO).await.unwrap();
    let free = there.add_pub(by_id(500)).await.unwrap().unwrap().pub_id;
    there.link_device("a device of 8", free, WHO).await.unwrap().unwrap();
    there.revoke(&Revocation::Certificate(id(1)), WHO).await.unwrap();
    there.revoke(&Revocation::Ca(id(7)), WHO).await.unwrap();
    let mut missing = HashSet::from([
        Change::Ca(id(7)).to_string(),
        Change::Certificate(id(1)).to_string(),
        Change::Device("a device of 8".into()).to_string(),
    ]);
    while !missing.is_empty() {
        let change = next(&mut changes).await;
        assert_ne!(change, Change::Everything);
        missing.remove(&change.to_string());
    }
    hearing.abort();
}

async fn next(changes: &mut Receiver<Change>) -> Change {
    timeout(PATIENCE, changes.recv()).await.expect("told in time").expect("told")
}
