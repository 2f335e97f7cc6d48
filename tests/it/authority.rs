//! CAs of our own, certificates issued and listed, and everything that is refused (DESIGN §2.5–2.7), by
//! the commands, with openssl as the judge.

use crate::harness::{Engine, Finished, Site, eventually, finish, rounds, run_tool};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

on_both_stores![
    a_ca_is_made_listed_and_revoked,
    a_certificate_is_issued_with_its_key_and_listed,
    of_a_request_only_the_key_is_taken,
    what_is_no_ca_is_not_registered,
    what_is_no_devices_certificate_is_not_listed,
    devices_are_listed_linked_approved_and_revoked,
    keys_of_the_api_are_made_once_and_retired,
    the_first_use_makes_one_issuer_even_in_a_race,
];

/// Runs openssl in the site's folder.
fn openssl(site: &Site, arguments: &str) -> Finished {
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

fn path(site: &Site, name: &str) -> String {
    site.folder().join(name).to_string_lossy().into_owned()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("reads a mode").permissions().mode() & 0o777
}

fn fingerprint(site: &Site, file: &str) -> String {
    let said = openssl(site, &format!("x509 -in {file} -noout -fingerprint -sha256")).succeeded();
    said.split('=').nth(1).expect("a fingerprint").trim().replace(':', "").to_lowercase()
}

fn beginning(text: &str, letters: usize) -> &str {
    text.get(..letters).expect("is long enough")
}

/// Insists on a refusal with these words, and on nothing of a key in it.
fn refused(run: &Finished, words: &str) {
    let said = run.failed().said();
    assert!(said.contains(words), "no {words:?}: {said}");
    assert!(!said.contains("MII"), "nothing is repeated: {said}");
}

/// `NAME.key` and a self-signed `NAME.pem`, with further arguments of `openssl req`.
fn self_signed(site: &Site, name: &str, more: &str) {
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

fn of_a_request_only_the_key_is_taken(engine: Engine) {
    let site = Site::new(engine);
    fs::write(site.folder().join("evil.cnf"), EVIL).expect("writes a configuration");
    openssl(&site, "req -new -newkey rsa:3072 -nodes -keyout own.key -out own.csr -config evil.cnf")
        .succeeded();
    let (csr, out) = (path(&site, "own.csr"), path(&site, "out"));
    site.run(&["cert", "issue", "mine", "--csr", &csr, "--out", &out]).succeeded();
    assert!(!site.folder().join("out/private_key.pem").exists());
    let text = openssl(&site, "x509 -in out/certificate.pem -noout -text").succeeded();
    for words in ["Subject: CN = mine\n", "CA:FALSE", "TLS Web Client Authentication", "(3072 bit)"] {
        assert!(text.contains(words), "no {words:?}: {text}");
    }
    for words in ["evil", "Alternative", "CA:TRUE", "Certificate Sign", "Server"] {
        assert!(!text.contains(words), "{words:?} came from the request: {text}");
    }
    let of_certificate = openssl(&site, "x509 -in out/certificate.pem -noout -pubkey").succeeded();
    assert_eq!(of_certificate, openssl(&site, "pkey -in own.key -pubout").succeeded());

    let own = fs::read_to_string(&csr).expect("reads the request");
    let der = openssl(&site, "req -in own.csr -outform der -out own.der");
    der.succeeded();
    let mut bytes = fs::read(site.folder().join("own.der")).expect("reads the request");
    *bytes.last_mut().expect("is not empty") ^= 1;
    let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes.clone()));
    bytes.push(0);
    let long = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes));
    openssl(&site, "req -new -newkey rsa:1024 -nodes -keyout weak.key -out weak.csr -subj /CN=w").succeeded();
    let weak = fs::read_to_string(site.folder().join("weak.csr")).expect("reads it");
    let key = fs::read_to_string(site.folder().join("own.key")).expect("reads it");
    let certificate = fs::read_to_string(site.folder().join("out/certificate.pem")).expect("reads it");
    let before = site.count("device_cert");
    for (name, text, words) in [
        ("forged", forged.as_str(), "csr: its signature is not made with its own key"),
        ("long", &long, "csr: it is no certificate request"),
        ("weak", &weak, "csr: it has an RSA key of 1024 bits; at least 2048 are needed"),
        ("key", &key, "is a private key, which belongs to its owner alone"),
        ("certificate", &certificate, "is another kind of PEM; a certificate request is wanted"),
        ("two", &format!("{own}{own}"), "holds several PEM blocks"),
        ("junk", &format!("junk\n{own}"), "is not PEM from the first character to the last"),
        ("empty", "", "is empty"),
    ] {
        let file = site.folder().join(name);
        fs::write(&file, text).expect("writes a file");
        refused(&site.run(&["cert", "issue", name, "--csr", &file.to_string_lossy()]), words);
    }
    assert_eq!(site.count("device_cert"), before);
    assert_eq!(site.count("device"), 1);
    let huge = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", vec![0x30; 20_000]));
    fs::write(site.folder().join("huge"), huge).expect("writes a file");
    refused(
        &site.run(&["cert", "issue", "huge", "--csr", &path(&site, "huge")]),
        "csr: it is no certificate request",
    );
}

/// A request for everything that a device must not be.
const EVIL: &str = "[req]
distinguished_name = dn
req_extensions = ext
prompt = no
[dn]
CN = evil
[ext]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
extendedKeyUsage = serverAuth
subjectAltName = DNS:evil.example.org
";

fn what_is_no_ca_is_not_registered(engine: Engine) {
    let site = Site::new(engine);
    self_signed(&site, "good", "-days 30");
    self_signed(&site, "leaf", "-days 30 -addext basicConstraints=CA:FALSE");
    self_signed(&site, "crl", "-days 30 -addext keyUsage=cRLSign");
    self_signed(&site, "server", "-days 30 -addext extendedKeyUsage=serverAuth");
    openssl(&site, "req -new -key good.key -out v1.csr -subj /CN=v1").succeeded();
    openssl(&site, "x509 -req -in v1.csr -signkey good.key -out v1.pem -days 30").succeeded();
    openssl(
        &site,
        "req -x509 -newkey rsa:1024 -nodes -keyout weak.key -out weak.pem -subj /CN=weak -days 30",
    )
    .succeeded();
    dated(&site, "expired.pem", "old", true, (2020, 2021));
    dated(&site, "early.pem", "new", true, (2090, 2095));
    let good = fs::read_to_string(site.folder().join("good.pem")).expect("reads it");
    let key = fs::read_to_string(site.folder().join("good.key")).expect("reads it");
    for (name, text) in [
        ("two.pem", format!("{good}{good}")),
        ("junk.pem", format!("# my CA\n{good}")),
        ("both.pem", format!("{good}{key}")),
        ("key.pem", key),
        ("empty.pem", String::new()),
    ] {
        fs::write(site.folder().join(name), text).expect("writes a file");
    }
    for (name, words) in [
        ("leaf.pem", "is no CA's (basicConstraints CA:TRUE is missing)"),
        ("crl.pem", "has a keyUsage without keyCertSign"),
        ("server.pem", "has an extendedKeyUsage without clientAuth"),
        ("v1.pem", "is of X.509 version 1"),
        ("weak.pem", "has an RSA key of 1024 bits"),
        ("expired.pem", "expired on 2021-01-01"),
        ("early.pem", "is not valid before 2090-01-01"),
        ("two.pem", "holds several PEM blocks"),
        ("junk.pem", "is not PEM from the first character to the last"),
        ("both.pem", "is a private key"),
        ("key.pem", "is a private key"),
        ("empty.pem", "is empty"),
        ("nowhere.pem", "nowhere.pem: "),
    ] {
        refused(&site.run(&["ca", "add", &path(&site, name)]), words);
    }
    assert_eq!(site.count("ca"), 0);
    let id = site.run(&["ca", "add", &path(&site, "good.pem"), "--pending"]).succeeded();
    assert_eq!(id.trim(), fingerprint(&site, "good.pem"));
    assert!(site.run(&["ca", "list"]).succeeded().contains("active, new devices wait for approval, ends 20"));
}

fn what_is_no_devices_certificate_is_not_listed(engine: Engine) {
    let site = Site::new(engine);
    let pki = site.folder().join("pki");
    make_pki(&pki, "30").succeeded();
    self_signed(
        &site,
        "unnamed",
        "-days 30 -addext basicConstraints=critical,CA:FALSE -multivalue-rdn -subj /CN=a+CN=b",
    );
    self_signed(
        &site,
        "server",
        "-days 30 -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth",
    );
    dated(&site, "expired.pem", "old", false, (2020, 2021));
    dated(&site, "early.pem", "new", false, (2090, 2095));
    dated(&site, "long.pem", &"x".repeat(7 * 1024), false, (2020, 2095));
    dated(&site, "control.pem", "a\u{7}b", false, (2020, 2095));
    let pki = |name: &str| pki.join(name).to_string_lossy().into_owned();
    for (file, words) in [
        (pki("root.pem"), "is a CA's (basicConstraints CA:TRUE)"),
        (pki("client.key"), "is a private key"),
        (pki("server-chain.pem"), "holds several PEM blocks"),
        (path(&site, "server.pem"), "has an extendedKeyUsage without clientAuth"),
        (path(&site, "unnamed.pem"), "has several CNs in its subject (--device)"),
        (path(&site, "expired.pem"), "expired on 2021-01-01"),
        (path(&site, "early.pem"), "is not valid before 2090-01-01"),
        (path(&site, "long.pem"), "has a CN that has more than 128 bytes"),
        (path(&site, "control.pem"), "has a CN that has a control or invisible character"),
    ] {
        refused(&site.run(&["cert", "add", &file]), words);
    }
    assert_eq!((site.count("device"), site.count("device_cert")), (0, 0));
    let client = pki("client.pem");
    let id = site.run(&["cert", "add", &client]).succeeded();
    assert_eq!(id.trim(), fingerprint(&site, &client));
    assert_eq!(site.run(&["cert", "add", &client]).succeeded(), id, "again, for the same device");
    refused(
        &site.run(&["cert", "add", &client, "--device", "other"]),
        "is listed for another device, meter-17",
    );
    site.run(&["cert", "add", &path(&site, "unnamed.pem"), "--device", "c"]).succeeded();
    site.run(&["cert", "add", &pki("proxy.pem"), "--role", "service"]).succeeded();
    let said = site.run(&["cert", "list"]).succeeded();
    for words in [
        "device \"meter-17\" role device active",
        "device \"c\" role",
        "device \"gateway\" role service active",
    ] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    site.run(&["cert", "add", &client, "--role", "owner"]).ended_with(64);
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

#[test]
fn the_issuer_may_be_a_folder_of_the_owners() {
    let site = Site::new(Engine::Embedded);
    site.configure("[api]\nissuer_ca = \"mine\"");
    refused(&site.run(&["cert", "issue", "d"]), "mine/ca.cert.pem: cannot be read");
    let mine = site.folder().join("mine");
    fs::create_dir(&mine).expect("makes a folder");
    openssl(
        &site,
        "req -x509 -newkey rsa:2048 -nodes -keyout mine/ca.private_key.pem -out mine/ca.cert.pem -days 40 \
         -subj /C=DE/O=Own/CN=mine -addext keyUsage=critical,keyCertSign",
    )
    .succeeded();
    site.run(&["cert", "issue", "d", "--out", &path(&site, "out")]).succeeded();
    openssl(&site, "verify -purpose sslclient -CAfile mine/ca.cert.pem out/certificate.pem").succeeded();
    let lives_longer = openssl(&site, "x509 -in out/certificate.pem -noout -checkend 3542400");
    assert_eq!(lives_longer.code(), Some(1), "no longer than its CA");
    assert!(!site.data_dir().join("ca").exists(), "nothing is made");

    let key = mine.join("ca.private_key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opens the key");
    let said = site.run(&["check"]).ended_with(1).stdout();
    assert!(said.contains("fault: ca: ") && said.contains("is open to other users; make it 0600"), "{said}");
    assert!(said.contains("CN=mine issues certificates from"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closes it");
    assert!(site.run(&["check"]).succeeded().contains("warning: ca: C=DE, O=Own, CN=mine"), "it ends soon");
    self_signed(&site, "other", "-days 30");
    fs::copy(site.folder().join("other.key"), &key).expect("writes a key");
    refused(&site.run(&["cert", "issue", "e"]), "is not the key of the ca.cert.pem beside it");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").expect("writes a key");
    let said = site.run(&["cert", "issue", "e"]).failed().said();
    assert!(said.contains("holds no private key that can sign"), "{said}");
}

#[test]
fn check_says_what_is_open_and_how_to_close_it() {
    let site = Site::new(Engine::Embedded);
    let said = site.run(&["check"]).succeeded();
    for words in [
        "warning: open: [meter] takes any device, by the id or hash it sends",
        "warning: open: [confirm] takes anybody's confirmations",
        "client_cert = \"optional\" protects devices that have a certificate, \"required\" closes the port",
        "warning: open: /register is open",
        "ok: open: [api] answers anybody on /confo",
        "ok: open: [api] no key_value: ",
        "ok: ca: the CA that issues certificates is made at first use: ",
    ] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    assert!(!site.data_dir().join("ca").exists(), "check makes nothing");
    site.configure(
        "[meter]\nclient_cert = \"required\"\n[api]\nkey_value = \"k-123456789012345678901234\"\nbroker_token = \"b\"",
    );
    self_signed(&site, "soon", "-days 30");
    site.run(&["ca", "add", &path(&site, "soon.pem")]).succeeded();
    site.run(&["cert", "issue", "one"]).succeeded();
    let said = site.run(&["check"]).succeeded();
    for words in [
        "ok: open: [meter] takes only clients with an accepted certificate",
        "warning: config: [api] broker_token: fewer than 17 characters can be guessed",
        "warning: ca: CN=soon (",
        "prepare devices for the one that follows it",
        "ok: ca: CN=m0v CA ",
        "new ones once approved",
    ] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    assert!(!said.contains("no key_value"), "{said}");
}

/// The throw-away PKI of the examples.
pub(crate) fn make_pki(out: &Path, days: &str) -> Finished {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/make-pki.sh");
    run_tool("sh", &[&script.to_string_lossy(), &out.to_string_lossy(), days])
}

#[test]
fn the_examples_pki_is_served_and_accepted() {
    let site = Site::new(Engine::Embedded);
    let pki = site.folder().join("pki");
    make_pki(&pki, "30").succeeded();
    for name in ["root", "server", "client", "proxy"] {
        assert_eq!(mode(pki.join(format!("{name}.key"))), 0o600, "{name}");
    }
    let again = make_pki(&pki, "30");
    assert!(again.ended_with(1).said().contains("exists; remove it"), "{}", again.said());
    make_pki(&site.folder().join("x"), "soon").ended_with(64);
    assert!(!site.folder().join("x").exists());

    site.configure(
        "[tls]\nchain = \"pki/server-chain.pem\"\nkey = \"pki/server.key\"\n[meter]\nclient_cert = \"required\"",
    );
    let server = site.start();
    let root = pki.join("root.pem").to_string_lossy().into_owned();
    let said = send(&server.meter_addr().to_string(), &pki, "client");
    assert!(said.contains("Verify return code: 0 (ok)"), "the chain is served: {said}");
    assert!(!said.contains("Thank you"), "nobody knows the device: {said}");
    site.run(&["ca", "add", &root]).succeeded();
    eventually("the device just in time", || {
        send(&server.meter_addr().to_string(), &pki, "client").contains("Thank you").then_some(())
    });
    let said = site.run(&["device", "list"]).succeeded();
    assert!(said.starts_with("\"meter-17\" active, id "), "{said}");
}

/// Sends one reading over a certificate of the PKI, with openssl; returns everything it says.
fn send(address: &str, pki: &Path, who: &str) -> String {
    let file = |name: &str| pki.join(name).to_string_lossy().into_owned();
    let (root, certificate, key) =
        (file("root.pem"), file(&format!("{who}.pem")), file(&format!("{who}.key")));
    let mut child = Command::new("timeout")
        .args([
            "20",
            "openssl",
            "s_client",
            "-connect",
            address,
            "-servername",
            "localhost",
            "-CAfile",
            &root,
        ])
        .args(["-cert", &certificate, "-key", &key, "-ign_eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts openssl");
    let mut stdin = child.stdin.take().expect("a pipe");
    let reading = "{\"status\":true,\"voltage\":230.1,\"freq\":50}\n";
    stdin.write_all(reading.as_bytes()).ok();
    let said = child.stdout.take().expect("a pipe");
    let (mut text, mut lines) = (String::new(), BufReader::new(said));
    while lines.read_line(&mut text).is_ok_and(|read| read > 0) {
        if text.contains("Thank you") || text.contains("!OK") {
            break;
        }
    }
    child.kill().ok();
    child.wait().expect("ends");
    text
}
