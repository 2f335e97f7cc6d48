//! Which CA vouches for a certificate. Whatever is accepted here, openssl accepts too.

use crate::pki::{Ca, Der, Edit, NOW, openssl, plain, unknown_extension, write_pem};
use m0v::device::judge::{self, Anchor, Anchors, MAX_PRESENTED, Unvouched, vouching_ca};
use rcgen::{
    BasicConstraints, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SanType, date_time_ymd,
};

fn only(anchor: Anchor) -> Anchors {
    Anchors::new(vec![anchor], vec![])
}

/// The label of the refusal, or `good`; and if it is good, openssl must say so as well.
fn judged(chain: &[Der], ca: &Ca) -> &'static str {
    judge::leaf(&chain[0], NOW).unwrap();
    match vouching_ca(chain, &only(ca.anchor()), None, NOW) {
        Ok(by) => {
            assert_eq!(by.ca_id(), ca.id());
            openssl_agrees(chain, ca);
            "good"
        }
        Err(unvouched) => {
            let words = unvouched.to_string();
            assert!(words.len() <= 112 && words.bytes().all(|it| matches!(it, b' '..=b'~')), "{words}");
            unvouched.label()
        }
    }
}

pub(crate) fn openssl_agrees(chain: &[Der], ca: &Ca) {
    let folder = tempfile::tempdir().unwrap();
    write_pem(&folder.path().join("ca"), std::slice::from_ref(&ca.der));
    write_pem(&folder.path().join("leaf"), &chain[..1]);
    write_pem(&folder.path().join("others"), &[&chain[1..], std::slice::from_ref(&ca.der)].concat());
    let seconds = NOW / 1_000_000;
    let said = openssl(
        folder.path(),
        &format!(
            "verify -attime {seconds} -x509_strict -partial_chain -purpose sslclient -CAfile ca -untrusted others leaf"
        ),
    );
    // Strict: but for the key identifiers, which RFC 5280 wants and many CAs leave out.
    match said {
        Ok(_) => {}
        Err(fault)
            if fault.contains("Missing Authority Key Identifier")
                || fault.contains("Missing Subject Key") =>
        {
            let said = openssl(
                folder.path(),
                &format!(
                    "verify -attime {seconds} -partial_chain -purpose sslclient -CAfile ca -untrusted others leaf"
                ),
            );
            said.unwrap_or_else(|fault| panic!("openssl does not agree: {fault}"));
        }
        Err(fault) => panic!("openssl does not agree: {fault}"),
    }
}

#[test]
fn a_ca_vouches_directly_and_through_others_in_any_order() {
    let root = Ca::root("root", &plain);
    let middle = root.sub("middle", &plain);
    let lower = middle.sub("lower", &plain);
    let leaf = lower.leaf("device", &plain);
    let (m, l, r) = (&middle.der, &lower.der, &root.der);
    assert_eq!(judged(&[root.leaf("device", &plain)], &root), "good");
    for others in [[l, m, r], [r, m, l], [m, l, l], [m, r, l]] {
        let chain: Vec<Der> = std::iter::once(&leaf).chain(others).cloned().collect();
        assert_eq!(judged(&chain, &root), "good");
        assert_eq!(judged(&chain, &middle), "good", "a CA in the middle may be the registered one");
    }
    assert_eq!(judged(&[leaf.clone(), l.clone()], &root), "unknown-ca", "a link is missing");
    assert_eq!(judged(&[leaf], &Ca::root("root", &plain)), "unknown-ca");
    assert_eq!(vouching_ca(&[], &Anchors::default(), None, NOW).unwrap_err(), Unvouched::Malformed);
}

#[test]
fn a_namesake_is_not_the_ca() {
    let (ours, theirs) = (Ca::root("root", &plain), Ca::root("root", &plain));
    let leaf = theirs.leaf("device", &plain);
    assert_eq!(judged(std::slice::from_ref(&leaf), &ours), "bad-signature");
    assert_eq!(judged(&[leaf, theirs.der.clone()], &ours), "bad-signature");
}

#[test]
fn who_is_no_ca_makes_no_certificates() {
    let root = Ca::root("root", &plain);
    for edit in [(&|it: &mut rcgen::CertificateParams| it.is_ca = IsCa::NoCa) as Edit<'_>, &|it| {
        it.is_ca = IsCa::ExplicitNoCa;
    }] {
        let device = root.sub("device", &|it| {
            edit(it);
            it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        let minted = device.leaf("minted", &plain);
        assert_eq!(judged(&[minted.clone(), device.der.clone()], &root), "signed-by-leaf");
        assert_eq!(judged(&[minted, device.der.clone(), root.der.clone()], &root), "signed-by-leaf");
    }
    let no_signer = root.sub("crl signer", &|it| it.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(judged(&[no_signer.leaf("x", &plain), no_signer.der.clone()], &root), "wrong-usage");
}

#[test]
fn a_path_is_no_longer_than_each_ca_in_it_allows() {
    let at_most = |longest: u8| {
        move |it: &mut rcgen::CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(longest))
    };
    let root = Ca::root("root", &at_most(1));
    let middle = root.sub("middle", &plain);
    let lower = middle.sub("lower", &plain);
    let through = |chain: &[&Ca]| {
        let mut ders = vec![chain[0].leaf("device", &plain)];
        ders.extend(chain.iter().map(|ca| ca.der.clone()));
        ders
    };
    assert_eq!(judged(&through(&[&root]), &root), "good");
    assert_eq!(judged(&through(&[&middle]), &root), "good");
    assert_eq!(judged(&through(&[&lower, &middle]), &root), "path-too-long", "by the registered CA's word");
    let open = Ca::root("open", &plain);
    let narrow = open.sub("narrow", &at_most(0));
    let below = narrow.sub("below", &plain);
    assert_eq!(judged(&through(&[&narrow]), &open), "good");
    assert_eq!(judged(&through(&[&below, &narrow]), &open), "path-too-long", "by a CA in the middle");
}

#[test]
fn every_ca_in_the_path_is_judged() {
    let root = Ca::root("root", &plain);
    let by = |edit: Edit<'_>| {
        let middle = root.sub("middle", edit);
        judged(&[middle.leaf("device", &plain), middle.der.clone()], &root)
    };
    assert_eq!(by(&|it| it.not_after = date_time_ymd(2025, 12, 31)), "expired");
    assert_eq!(by(&|it| it.not_before = date_time_ymd(2026, 6, 1)), "not-yet-valid");
    assert_eq!(by(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "wrong-usage");
    assert_eq!(by(&|it| it.custom_extensions = vec![unknown_extension(true)]), "critical-extension");
    assert_eq!(by(&|it| it.custom_extensions = vec![unknown_extension(false)]), "good");
    let constraints = |it: &mut rcgen::CertificateParams| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".into())];
        it.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    };
    let named = root.sub("named", &constraints);
    let leaf = |name: &str| {
        let san = SanType::DnsName(name.try_into().unwrap());
        [named.leaf("device", &move |it| it.subject_alt_names = vec![san.clone()]), named.der.clone()]
    };
    assert_eq!(judged(&leaf("a.example.org"), &root), "good");
    assert_eq!(judged(&leaf("a.example.com"), &root), "name-constraint");
    let leaf = root.leaf("device", &|it| it.custom_extensions = vec![unknown_extension(true)]);
    assert_eq!(judged(&[leaf], &root), "critical-extension");
}

#[test]
fn an_expired_ca_vouches_no_more() {
    for (edit, label) in [
        (
            (&|it: &mut rcgen::CertificateParams| it.not_after = date_time_ymd(2025, 12, 31)) as Edit<'_>,
            "expired",
        ),
        (&|it| it.not_before = date_time_ymd(2026, 6, 1), "not-yet-valid"),
    ] {
        let root = Ca::root("root", edit);
        assert_eq!(judged(&[root.leaf("device", &plain)], &root), label);
    }
}

#[test]
fn a_revoked_ca_vouches_no_more_not_even_through_another() {
    let root = Ca::root("root", &plain);
    let middle = root.sub("middle", &plain);
    let chain = [middle.leaf("device", &plain), middle.der.clone()];
    let judged = |active: &[&Ca], revoked: &[&Ca]| {
        let read = |cas: &[&Ca]| cas.iter().map(|ca| ca.anchor()).collect();
        let anchors = Anchors::new(read(active), read(revoked));
        vouching_ca(&chain, &anchors, None, NOW).map(|by| by.ca_id().to_owned())
    };
    assert_eq!(judged(&[&root], &[]), Ok(root.id()));
    assert_eq!(judged(&[], &[&root]), Err(Unvouched::RevokedCa));
    assert_eq!(judged(&[&root], &[&middle]), Err(Unvouched::RevokedCa), "the one in the middle");
    assert_eq!(judged(&[&middle], &[&root]), Ok(middle.id()), "the one above was not needed");
    let renewed = middle.renewed("middle", &|it| it.not_after = date_time_ymd(2030, 1, 1));
    assert_eq!(judged(&[&renewed], &[&middle]), Ok(renewed.id()));
    assert_eq!(judged(&[&root, &renewed], &[&middle]).map(drop), Ok(()));
}

#[test]
fn a_device_stays_with_the_ca_it_has() {
    let old = Ca::root("root", &plain);
    let new = old.renewed("root", &|it| it.not_after = date_time_ymd(2030, 1, 1));
    let other = Ca::root("other", &plain);
    let leaf = [old.leaf("device", &plain)];
    let anchors = Anchors::new(vec![old.anchor(), new.anchor(), other.anchor()], vec![]);
    for ca in [&old, &new] {
        let by = vouching_ca(&leaf, &anchors, Some(&ca.id()), NOW).unwrap();
        assert_eq!(by.ca_id(), ca.id());
    }
    for stranger in [None, Some(other.id())] {
        assert_eq!(vouching_ca(&leaf, &anchors, stranger.as_deref(), NOW).unwrap().ca_id(), old.id());
    }
}

#[test]
fn junk_is_put_aside_and_mazes_are_not_entered() {
    let root = Ca::root("root", &plain);
    let leaf = root.leaf("device", &plain);
    let junk: Vec<Der> =
        (0..7).map(|n| Ca::root(&format!("junk {n}"), &plain).der).chain([vec![0x30; 99].into()]).collect();
    let mut chain = vec![leaf.clone()];
    chain.extend(junk.iter().cloned());
    assert_eq!(judged(&chain, &root), "good");
    chain.extend(vec![junk[0].clone(); MAX_PRESENTED]);
    assert_eq!(judged(&chain, &root), "too-many-certificates");

    // Fifteen CAs of one name, each of which might have signed any other.
    let mut maze = vec![
        root.sub("maze", &plain)
            .leaf("device", &|it| it.distinguished_name.push(DnType::OrganizationName, "x")),
    ];
    let twins: Vec<Ca> = (0..MAX_PRESENTED - 1).map(|_| Ca::root("maze", &plain)).collect();
    maze.extend(twins.iter().map(|twin| twin.der.clone()));
    assert_eq!(judged(&maze, &root), "too-many-certificates");
    assert_eq!(judged(&maze[..5], &root), "unknown-ca");
    assert_eq!(judged(&maze[..5], &twins[9]), "bad-signature");
}
