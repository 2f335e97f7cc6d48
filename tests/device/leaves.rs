//! What a certificate is worth by itself.

use crate::pki::{Ca, Der, Edit, NOW, openssl, plain, read_pem, unknown_extension};
use m0v::{
    device::{
        judge::{self, Anchor, MAX_CERTIFICATE_BYTES, Unfit},
        name::MAX_DEVICE_ID_BYTES,
    },
    tls::certificate_id,
};
use rcgen::{
    BasicConstraints, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd, string::BmpString,
};

fn label(der: &[u8]) -> &'static str {
    judge::leaf(der, NOW).map_or_else(|unfit| unfit.label(), |_| "good")
}

#[test]
fn a_leaf_must_be_fit_for_a_tls_client() {
    let ca = Ca::root("ca", &plain);
    let broken = |oid: &[u64]| CustomExtension::from_oid_content(oid, vec![1, 2, 3]);
    let cases: [(&str, &str, Edit<'_>); 19] = [
        ("plain", "good", &plain),
        ("not yet", "not-yet-valid", &|it| it.not_before = date_time_ymd(2026, 1, 2)),
        ("over", "expired", &|it| it.not_after = date_time_ymd(2025, 12, 31)),
        ("a CA", "is-ca", &|it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        ("explicitly none", "good", &|it| it.is_ca = IsCa::ExplicitNoCa),
        ("signs", "good", &|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        ("only enciphers", "wrong-usage", &|it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        ("signs certificates", "wrong-usage", &|it| it.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        ("client", "good", &|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ("both", "good", &|it| {
            it.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("anything", "good", &|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        ("server", "wrong-usage", &|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ("unknown extension", "good", &|it| it.custom_extensions = vec![unknown_extension(false)]),
        ("broken basicConstraints", "undecodable", &|it| {
            it.custom_extensions = vec![broken(&[2, 5, 29, 19])];
        }),
        ("broken keyUsage", "undecodable", &|it| it.custom_extensions = vec![broken(&[2, 5, 29, 15])]),
        ("broken extendedKeyUsage", "undecodable", &|it| {
            it.custom_extensions = vec![broken(&[2, 5, 29, 37])];
        }),
        ("two keyUsages", "undecodable", &|it| {
            it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let other = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 128]);
            it.custom_extensions = vec![other];
        }),
        ("two basicConstraints", "undecodable", &|it| {
            it.is_ca = IsCa::ExplicitNoCa;
            let other = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
            it.custom_extensions = vec![other];
        }),
        ("too long", "too-long", &|it| {
            let padding = CustomExtension::from_oid_content(&[1, 2, 3], vec![0; MAX_CERTIFICATE_BYTES]);
            it.custom_extensions = vec![padding];
        }),
    ];
    for (what, expected, edit) in cases {
        assert_eq!(label(&ca.leaf("device", edit)), expected, "{what}");
    }
}

#[test]
fn the_last_second_counts_and_the_next_does_not() {
    let leaf = Ca::root("ca", &plain).leaf("device", &plain);
    const END: i64 = 1_798_761_600_000_000; // 2027-01-01
    const BEGIN: i64 = 1_735_689_600_000_000; // 2025-01-01
    for (at, expected) in [
        (BEGIN - 1, "not-yet-valid"),
        (BEGIN, "good"),
        (END, "good"),
        (END + 999_999, "good"),
        (END + 1_000_000, "expired"),
        (i64::MIN, "not-yet-valid"),
        (i64::MAX, "expired"),
    ] {
        let judged = judge::leaf(&leaf, at).map_or_else(|unfit| unfit.label(), |_| "good");
        assert_eq!(judged, expected, "{at}");
    }
    assert_eq!(judge::leaf(&leaf, NOW).unwrap().not_after(), END);
    let words = judge::leaf(&leaf, END + 1_000_000).unwrap_err().to_string();
    assert_eq!(words, "expired on 2027-01-01 00:00:00 UTC; it must be renewed");
}

#[test]
fn rsa_keys_are_neither_small_nor_absurd() {
    let ca = Ca::root("ca", &plain);
    let odd = |bytes: usize, first: u8| {
        let sign = vec![0; usize::from(first >= 0x80)];
        [sign, vec![first], vec![0xaa; bytes - 2], vec![1]].concat()
    };
    let f4 = [1, 0, 1];
    type Case<'a> = (&'a [u8], &'a [u8], Result<(), Unfit>);
    let cases: [Case<'_>; 9] = [
        (&odd(256, 0x80), &f4, Ok(())),
        (&odd(1024, 0x80), &f4, Ok(())),
        (&odd(256, 0x80), &[3], Ok(())),
        (&odd(256, 0x7f), &f4, Err(Unfit::WeakKey(2047))),
        (&odd(128, 0x80), &f4, Err(Unfit::WeakKey(1024))),
        (&odd(1025, 0x01), &f4, Err(Unfit::HugeKey(8193))),
        (&odd(2048, 0x80), &f4, Err(Unfit::HugeKey(16384))),
        (&odd(256, 0x80), &[1], Err(Unfit::StrangeExponent)),
        (
            &odd(256, 0x80),
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Err(Unfit::StrangeExponent),
        ),
    ];
    for (modulus, exponent, expected) in cases {
        let judged = judge::leaf(&ca.leaf_with_rsa(modulus, exponent), NOW).map(drop);
        assert_eq!(judged, expected, "{} bytes, exponent {exponent:?}", modulus.len());
    }
}

#[test]
fn the_cn_names_the_device() {
    fn named(der: &Der) -> Result<Option<String>, String> {
        let leaf = judge::leaf(der, NOW).unwrap();
        leaf.device_id().map(|id| id.map(str::to_owned)).map_err(|bad| bad.to_string())
    }
    let ca = Ca::root("ca", &plain);
    let of = |cn: DnValue| named(&ca.leaf(cn, &plain));
    let is = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(of("meter-17".into()), is("meter-17"));
    assert_eq!(of("a/b ü".into()), is("a/b ü"));
    assert_eq!(of(DnValue::PrintableString("meter 1".try_into().unwrap())), is("meter 1"));
    assert_eq!(of(DnValue::Ia5String("m@x".try_into().unwrap())), is("m@x"));
    assert_eq!(of(DnValue::TeletexString("tele".try_into().unwrap())), is("tele"));
    assert_eq!(of(DnValue::BmpString(BmpString::try_from("ünï").unwrap())), is("ünï"));
    assert_eq!(of(DnValue::UniversalString("ü4".try_into().unwrap())), is("ü4"));
    assert_eq!(of("".into()), Ok(None));
    assert_eq!(of("x".repeat(MAX_DEVICE_ID_BYTES).into()), is(&"x".repeat(MAX_DEVICE_ID_BYTES)));

    let bad = |cn: String, words: &str| assert_eq!(of(cn.into()), Err(format!("has a CN that {words}")));
    bad("x".repeat(10 * 1024), "has more than 128 bytes");
    bad("a\nb".into(), "has a control or invisible character");
    bad("a\0".into(), "has a control or invisible character");
    bad(" a".into(), "begins or ends with white space");
    bad("..".into(), "is only dots");

    let none = ca.leaf("x", &|it| assert!(it.distinguished_name.remove(DnType::CommonName)));
    assert_eq!(named(&none), Ok(None));
    let two = ca.leaf("x", &|it| it.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "y"));
    assert_eq!(named(&two), Err("has several CNs in its subject".to_owned()));
}

#[test]
fn openssl_makes_what_rcgen_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| openssl(folder.path(), arguments).unwrap();
    run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 1");
    let request = |name: &str, key: &str, subject: &str| {
        run(&format!(
            "req -new -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj {subject} -multivalue-rdn"
        ));
        run(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -out {name}.pem -days 1"));
        read_pem(&folder.path().join(format!("{name}.pem")))
    };
    let v1 = request("v1", "rsa:2048", "/CN=old");
    let leaf = judge::leaf(&v1, m0v::store::now()).unwrap();
    assert_eq!((leaf.version(), leaf.device_id()), (1, Ok(Some("old"))));
    assert_eq!(Anchor::read("", &v1).unwrap_err(), Unfit::OldVersion(1));
    let signed = openssl(folder.path(), "req -x509 -key v1.key -out self.pem -subj /CN=s -days 1 -x509v1");
    if signed.is_ok() {
        let own = read_pem(&folder.path().join("self.pem"));
        assert_eq!(Anchor::read("", &own).unwrap_err(), Unfit::OldVersion(1));
    }

    let multi = request("multi", "rsa:2048", "/O=x/CN=meter+serialNumber=7");
    assert_eq!(judge::leaf(&multi, m0v::store::now()).unwrap().device_id(), Ok(Some("meter")));
    let two = request("two", "rsa:2048", "/CN=a+CN=b");
    assert!(judge::leaf(&two, m0v::store::now()).unwrap().device_id().is_err());
    let weak = request("weak", "rsa:1024", "/CN=weak");
    assert_eq!(judge::leaf(&weak, m0v::store::now()), Err(Unfit::WeakKey(1024)));
    let ed25519 = request("ed", "ed25519", "/CN=ed");
    judge::leaf(&ed25519, m0v::store::now()).unwrap();
    let ed448 = request("ed448", "ed448", "/CN=ed448");
    assert_eq!(judge::leaf(&ed448, m0v::store::now()), Err(Unfit::OtherKey));
    let pss = request("pss", "rsa-pss", "/CN=pss");
    assert_eq!(judge::leaf(&pss, m0v::store::now()), Err(Unfit::OtherKey));
}

#[test]
fn a_ca_must_be_one_that_may_sign() {
    let cases: [(&str, &str, Edit<'_>); 8] = [
        ("plain", "good", &plain),
        ("no keyUsage", "good", &|it| it.key_usages.clear()),
        ("a device's", "is-no-ca", &|it| it.is_ca = IsCa::NoCa),
        ("explicitly a device's", "is-no-ca", &|it| it.is_ca = IsCa::ExplicitNoCa),
        ("signs CRLs only", "wrong-usage", &|it| it.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("for servers", "wrong-usage", &|it| {
            it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("for clients", "good", &|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ("expired", "good", &|it| it.not_after = date_time_ymd(2025, 12, 31)),
    ];
    for (what, expected, edit) in cases {
        let ca = Ca::root("ca", edit);
        let read = Anchor::read(&certificate_id(&ca.der), &ca.der);
        assert_eq!(read.as_ref().map_or_else(Unfit::label, |_| "good"), expected, "{what}");
        if what == "expired" {
            assert_eq!(read.unwrap().judge_dates(NOW).unwrap_err().label(), "expired");
        }
    }
    let ca = Ca::root("ca", &plain);
    let mut damaged = ca.der.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Anchor::read("", &damaged).unwrap_err(), Unfit::ForgedSelf);
    // Its own name, another's signature: the roots differ in their keys only.
    let forged = Ca::root("ca", &plain).sub("ca", &plain);
    assert_eq!(Anchor::read("", &forged.der).unwrap_err(), Unfit::ForgedSelf);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let leaf = Ca::root("ca", &plain).leaf("device", &plain);
    let with_more = [&leaf[..], b"\0"].concat();
    assert_eq!(judge::leaf(&with_more, NOW), Err(Unfit::TrailingBytes));
    assert_eq!(Anchor::read("", &with_more).unwrap_err(), Unfit::TrailingBytes);
    for junk in
        [&b""[..], b"-----BEGIN CERTIFICATE-----", &[0x30; 4096], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]]
    {
        assert_eq!(label(junk), "undecodable");
    }
    for end in 0..leaf.len() {
        assert_eq!(label(&leaf[..end]), "undecodable", "cut after {end} bytes");
    }
}
