//! CAs of our own, certificates issued and listed, and everything that is refused (DESIGN §2.5–2.7), by
//! the commands, with openssl as the judge.

use crate::harness::{Engine, Finished, Site, eventually, finish, rounds, run_tool};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

on_both_stores![
    a_ca_is_made_listed_and_revoked,
    a_certificate_is_issued_with_its_key_and_listed,
    devices_are_listed_linked_approved_and_revoked,
    keys_of_the_api_are_made_once_and_retired,
    the_first_use_makes_one_issuer_even_in_a_race,
];

/// Runs openssl in the site's folder.
pub(crate) fn openssl(site: &Site, arguments: &str) -> Finished {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let child = Command::new("openssl")
        .args(&arguments)
        .current_dir(site.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    finish(child.expect("starts openssl"), "openssl")
}

pub(crate) fn path(site: &Site, name: &str) -> String {
    site.folder().join(name).to_string_lossy().into_owned()
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("reads a mode").permissions().mode() & 0o777
}

pub(crate) fn fingerprint(site: &Site, file: &str) -> String {
    let said = openssl(site, &format!("x509 -in {file} -noout -fingerprint -sha256")).succeeded();
    said.split('=').nth(1).expect("a fingerprint").trim().replace(':', "").to_lowercase()
}

pub(crate) fn beginning(text: &str, letters: usize) -> &str {
    text.get(..letters).expect("is long enough")
}

/// Insists on a refusal with these words, and on nothing of a key in it.
pub(crate) fn refused(run: &Finished, words: &str) {
    let said = run.failed().said();
    assert!(said.contains(words), "no {words:?}: {said}");
    assert!(!said.contains("MII"), "nothing is repeated: {said}");
}

/// `NAME.key` and a self-signed `NAME.pem`, with further arguments of `openssl req`.
pub(crate) fn self_signed(site: &Site, name: &str, more: &str) {
    openssl(
        site,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} {more}"
        ),
    )
    .succeeded();
}

/// A self-signed certificate on P-256, valid from one New Year to another.
pub(crate) fn dated(site: &Site, file: &str, cn: &str, is_ca: bool, (from, to): (i32, i32)) {
    let key = KeyPair::generate().expect("makes a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    let pem = params.self_signed(&key).expect("signs").pem();
    fs::write(site.folder().join(file), pem).expect("writes a certificate");
}

fn a_ca_is_made_listed_and_revoked(engine: Engine) {
    let site = Site::new(engine);
    let subjects =
        ["--country", "de", "--state", "Bayern", "--organization", "Zähler & Söhne", "--unit", "Labor"];
    let id = site.run(&[&["ca", "new", "--name", "Werk 7"][..], &subjects].concat()).succeeded();
    let id = id.trim();
    let folder = site.data_dir().join("ca").join(id);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(site.data_dir().join("ca")), 0o700);
    for (file, expected) in
        [("ca.cert.pem", 0o644), ("ca.private_key.pem", 0o600), ("ca.public_key.pem", 0o644)]
    {
        assert_eq!(mode(folder.join(file)), expected, "{file}");
    }
    let certificate = folder.join("ca.cert.pem").to_string_lossy().into_owned();
    assert_eq!(fingerprint(&site, &certificate), id);
    let text = openssl(&site, &format!("x509 -in {certificate} -noout -text -nameopt utf8,sep_comma_plus"))
        .succeeded();
    for words in [
        "C=DE,ST=Bayern,O=Zähler & Söhne,OU=Labor,CN=Werk 7",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "Public-Key: (2048 bit)",
        "Version: 3",
        "X509v3 Subject Key Identifier",
    ] {
        assert!(text.contains(words), "no {words:?}: {text}");
    }
    run_tool("openssl", &["verify", "-x509_strict", "-CAfile", &certificate, &certificate]).succeeded();
    let public = openssl(&site, &format!("x509 -in {certificate} -noout -pubkey")).succeeded();
    assert_eq!(public, fs::read_to_string(folder.join("ca.public_key.pem")).expect("reads the public key"));

    let said = site.run(&["ca", "list"]).succeeded();
    assert!(said.starts_with(id) && said.contains(" active, ends 20"), "{said}");
    refused(&site.run(&["ca", "add", &certificate]), "there is one already");
    refused(&site.run(&["ca", "revoke", "abcdefgh"]), "no CA has the id abcdefgh");
    let said = site.run(&["ca", "revoke", beginning(id, 12)]).succeeded();
    assert!(said.contains(&format!("{id} is revoked; certificates that ended: 0")), "{said}");
    assert!(site.run(&["ca", "list"]).succeeded().contains(" revoked, ends 20"));
    for (key, value, words) in [
        ("--country", "DEU", "countryName must be two letters"),
        ("--name", &"x".repeat(65), "the name has more than 64 characters"),
        ("--locality", "a\nb", "localityName has a control or invisible character"),
    ] {
        refused(&site.run(&["ca", "new", key, value]), words);
    }
    assert_eq!(site.count("ca"), 1);
    let said = site.run(&["audit"]).succeeded();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains(": ca add ") && lines[1].contains(": ca revoke "),
        "{said}"
    );
    assert!(lines.iter().all(|line| line.contains(" cli ") && line.contains('@')), "{said}");
    assert_eq!(site.run(&["audit", "--limit", "1"]).succeeded().lines().collect::<Vec<_>>(), lines[1..]);
}

fn a_certificate_is_issued_with_its_key_and_listed(engine: Engine) {
    let site = Site::new(engine);
    let out = path(&site, "out");
    let id = site.run(&["cert", "issue", "halle 3/zähler", "--model", "CC3220SF", "--out", &out]).succeeded();
    let id = id.trim();
    assert_eq!(fingerprint(&site, "out/certificate.pem"), id);
    assert_eq!(mode(site.folder().join("out/private_key.pem")), 0o600);
    let text = openssl(&site, "x509 -in out/certificate.pem -noout -text -nameopt utf8").succeeded();
    for words in [
        "Subject: CN=halle 3/zähler",
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Client Authentication",
        "Public-Key: (2048 bit)",
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
        "sha256WithRSAEncryption",
    ] {
        assert!(text.contains(words), "no {words:?}: {text}");
    }
    let verify = "verify -x509_strict -purpose sslclient -CAfile out/root.pem out/certificate.pem";
    openssl(&site, verify).succeeded();
    let of_certificate = openssl(&site, "x509 -in out/certificate.pem -noout -pubkey").succeeded();
    let of_key = openssl(&site, "pkey -in out/private_key.pem -pubout").succeeded();
    assert_eq!(of_certificate, of_key, "the key is the certificate's");
    assert_eq!(of_key, fs::read_to_string(site.folder().join("out/public_key.pem")).expect("reads it"));
    let ends_in_eleven_years = openssl(&site, "x509 -in out/certificate.pem -noout -checkend 346896000");
    let ends_in_nine_years = openssl(&site, "x509 -in out/certificate.pem -noout -checkend 283824000");
    assert_eq!((ends_in_nine_years.code(), ends_in_eleven_years.code()), (Some(0), Some(1)));
    let issuer = site.data_dir().join("ca/issuer");
    assert_eq!((mode(&issuer), mode(issuer.join("ca.private_key.pem"))), (0o700, 0o600));
    assert!(
        !site.data_dir().join("tls").exists()
            || !fs::read_to_string(issuer.join("ca.cert.pem")).is_ok_and(|pem| {
                fs::read_to_string(site.data_dir().join("tls/ca.pem")).is_ok_and(|local| local == pem)
            }),
        "never the server's own CA"
    );

    refused(&site.run(&["cert", "issue", "other", "--out", &out]), "certificate.pem: ");
    let said = site.run(&["cert", "list"]).succeeded();
    assert!(said.contains(&format!("{id} device \"halle 3/zähler\" role device active, ends 20")), "{said}");
    assert_eq!((site.count("device"), site.count("device_cert"), site.count("pub")), (1, 1, 1));
    let said = site.run(&["device", "list"]).succeeded();
    assert!(said.contains("\"halle 3/zähler\" active, id 1, model \"CC3220SF\", CA "), "{said}");
    let bundle = site.run(&["cert", "issue", "second"]).succeeded();
    for (label, count) in [("CERTIFICATE", 2), ("PRIVATE KEY", 1), ("PUBLIC KEY", 1)] {
        assert_eq!(bundle.matches(&format!("-----BEGIN {label}-----")).count(), count, "{bundle}");
    }
    for (device, words) in [
        ("", "deviceId is empty"),
        ("a\tb", "deviceId has a control or invisible character"),
        (&"x".repeat(129), "deviceId has more than 128 bytes"),
    ] {
        refused(&site.run(&["cert", "issue", device]), words);
    }
    site.run(&["cert", "issue", &"x".repeat(128), "--out", &path(&site, "long")]).succeeded();
    openssl(&site, &verify.replace("out/", "long/")).succeeded();

    site.run(&["cert", "revoke", beginning(id, 8)]).succeeded();
    assert!(
        site.run(&["cert", "list"])
            .succeeded()
            .contains(&format!("{id} device \"halle 3/zähler\" role device revoked"))
    );
    refused(&site.run(&["cert", "revoke", &"0".repeat(64)]), "no certificate has the id");
    let ca = site.run(&["ca", "list"]).succeeded();
    assert!(ca.contains("new devices wait for approval"), "{ca}");
    site.run(&["ca", "revoke", beginning(&ca, 64)]).succeeded();
    refused(&site.run(&["cert", "issue", "third"]), "that issues device certificates is revoked");
    let log = fs::read_to_string(site.folder().join("out/private_key.pem")).expect("reads the key");
    let secret = log.lines().nth(3).expect("a line of the key");
    for table in ["device_cert", "ca", "audit", "device"] {
        let column = if table == "audit" {
            "subject"
        } else if table == "device" {
            "device_id"
        } else {
            "pem"
        };
        assert_eq!(site.count(&format!("{table} WHERE {column} LIKE '%{secret}%'")), 0, "{table}");
    }
}

fn devices_are_listed_linked_approved_and_revoked(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    site.run(&["cert", "issue", "one"]).succeeded();
    site.run(&["cert", "issue", "two"]).succeeded();
    site.run(&["pub", "add", "--id", "50"]).succeeded();
    let linked = site.run(&["device", "link", "one", "50"]).succeeded();
    assert!(linked.starts_with("\"one\" active, id 50, CA "), "{linked}");
    refused(&site.run(&["device", "link", "two", "50"]), "pub 50 is another device's: one");
    refused(&site.run(&["device", "link", "two", "51"]), "no pub has id 51");
    refused(&site.run(&["device", "link", "three", "50"]), "no device has the id three");
    assert_eq!(site.run(&["device", "approve", "one"]).succeeded(), "was active already\n");
    refused(&site.run(&["device", "approve", "three"]), "no device has the id three");
    assert_eq!(site.run(&["device", "revoke", "one"]).succeeded(), "revoked; certificates that ended: 1\n");
    refused(&site.run(&["device", "approve", "one"]), "revoked, which is for ever");
    refused(&site.run(&["cert", "issue", "one"]), "revoked, which is for ever");
    refused(&site.run(&["device", "revoke", "three"]), "no device has the id three");
    let said = site.run(&["device", "list"]).succeeded();
    assert!(said.contains("\"one\" revoked, id 50") && said.contains("\"two\" active, id "), "{said}");
    let audit = site.run(&["audit"]).succeeded();
    for deed in ["device link", "device revoke", "cert issue"] {
        assert!(audit.contains(deed), "no {deed}: {audit}");
    }
    drop(server);
}

fn keys_of_the_api_are_made_once_and_retired(engine: Engine) {
    let site = Site::new(engine);
    let key = site.run(&["key", "add", "back office"]).succeeded();
    let key = key.trim();
    assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert_eq!(site.count(&format!("api_key WHERE key_hash = '{key}'")), 0, "only its hash is kept");
    refused(&site.run(&["key", "add", "back office"]), "there is one already: back office made 20");
    let other = site.run(&["key", "add", "app"]).succeeded();
    assert_ne!(other.trim(), key);
    let said = site.run(&["key", "list"]).succeeded();
    assert!(said.lines().count() == 2 && !said.contains(key) && !said.contains("retired"), "{said}");
    assert!(site.run(&["key", "retire", "app"]).succeeded().contains("app made 20"));
    assert!(site.run(&["key", "list"]).succeeded().contains(", retired 20"));
    refused(&site.run(&["key", "add", "app"]), "there is one already");
    refused(&site.run(&["key", "retire", "nobody"]), "no key is called nobody");
    site.run(&["key", "add", ""]).ended_with(64);
    site.run(&["key", "add", "(configured)"]).ended_with(64);
    assert!(!site.run(&["audit"]).succeeded().contains(key));
}

fn the_first_use_makes_one_issuer_even_in_a_race(engine: Engine) {
    let site = Site::new(engine);
    site.run(&["pub", "list"]).succeeded();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..5)
            .map(|number| {
                let site = &site;
                scope.spawn(move || site.run(&["cert", "issue", &format!("device {number}")]).succeeded())
            })
            .collect();
        runs.into_iter().for_each(|run| drop(run.join().expect("issues")));
    });
    assert_eq!((site.count("ca"), site.count("device_cert")), (1, 5));
    let folders = fs::read_dir(site.data_dir().join("ca")).expect("reads the folder");
    let names: Vec<_> = folders.map(|it| it.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|name| name == "issuer" || name == ".lock"), "{names:?}");
}

#[test]
fn a_ca_whose_making_was_killed_is_never_half_a_ca() {
    let site = Site::new(Engine::Embedded);
    site.run(&["pub", "list"]).succeeded();
    let folder = site.data_dir().join("ca");
    for round in 0..rounds(6, 200) {
        let mut child =
            site.command(&["ca", "new"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        // Not at a time, but at a step: while key and files are made there is a lock, then a folder.
        if round % 2 == 0 {
            eventually("the making", || folder.join(".lock").exists().then_some(()));
        } else {
            let unfinished = || {
                let names = fs::read_dir(&folder).ok()?.flatten();
                names
                    .into_iter()
                    .any(|it| it.file_name().to_string_lossy().starts_with(".new-"))
                    .then_some(())
            };
            eventually("an unfinished folder or the end", || {
                unfinished().or_else(|| child.try_wait().expect("looks").map(drop))
            });
        }
        child.kill().ok();
        child.wait().expect("ends");
        for entry in fs::read_dir(&folder).expect("reads the folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            for file in ["ca.cert.pem", "ca.private_key.pem", "ca.public_key.pem"] {
                let text = fs::read_to_string(entry.path().join(file)).expect("a whole CA");
                assert!(text.trim_end().ends_with("-----"), "{file} is whole");
            }
        }
    }
    site.run(&["ca", "new"]).succeeded();
    site.run(&["cert", "issue", "after"]).succeeded();
    let left = fs::read_dir(&folder).expect("reads the folder").flatten();
    assert!(
        !left.into_iter().any(|it| it.file_name().to_string_lossy().starts_with(".new-")),
        "and is cleared away"
    );
}
