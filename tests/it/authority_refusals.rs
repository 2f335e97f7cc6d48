//! What the commands take for no CA, no device's certificate and no request, each by name.

use crate::{
    authority::{dated, fingerprint, openssl, path, refused, self_signed},
    authority_owners::make_pki,
    harness::{Engine, Site},
};
use std::fs;

on_both_stores![
    of_a_request_only_the_key_is_taken,
    a_ca_on_p_521_is_registered,
    what_is_no_ca_is_not_registered,
    what_is_no_devices_certificate_is_not_listed,
];

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

/// Its own signature cannot be checked by the reader of certificates; who it vouches for is judged all the same.
fn a_ca_on_p_521_is_registered(engine: Engine) {
    let site = Site::new(engine);
    openssl(&site, "ecparam -name secp521r1 -genkey -noout -out p521.key").succeeded();
    openssl(&site, "req -x509 -new -key p521.key -sha512 -out p521.pem -subj /CN=p521 -days 30").succeeded();
    site.run(&["ca", "add", &path(&site, "p521.pem")]).succeeded();
    assert_eq!(site.count("ca"), 1);
}

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
