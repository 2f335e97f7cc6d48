//! Certificates over HTTPS (DESIGN §2.5): issued, listed, shown, by curl, openssl and Node.

use crate::{
    harness::{Engine, Server, Site, finish, run_tool},
    http::{Answer, VERSIONS, Version, curl},
    pki::{Card, OPTIONAL, READING, STACKS, Talk, TestCa, refusal, self_signed, sql},
};
use m0v::store::devices::Role;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

on_both_stores![
    an_issued_certificate_is_complete_and_in_force_at_once,
    a_request_is_answered_without_a_private_key,
    a_synced_certificate_is_in_force_and_nothing_else_is_kept,
    a_certificate_that_cannot_be_listed_is_refused_by_name,
    a_registered_ca_vouches_for_devices_at_once,
    a_certificate_speaks_for_its_device_and_a_service_for_all,
    node_does_it_all,
    the_story_of_the_examples_is_true,
];

const KEY: &str = "api-key-name: a-key-of-the-test";
const JSON: &str = "content-type: application/json";

/// The API with a key, and certificates asked for on the line ports.
fn config() -> String {
    format!("{OPTIONAL}\n[api]\nkey_value = \"a-key-of-the-test\"\n")
}

fn post(server: &Server<'_>, version: Version, path: &str, body: &Value) -> Answer {
    curl(server, version, path, &["-H", KEY, "-H", JSON, "--data-binary", &body.to_string()])
}

/// The same with a certificate instead of the key.
fn post_as(server: &Server<'_>, card: &Card, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let card = card.arguments("--");
    let mut more: Vec<&str> = card.iter().map(String::as_str).collect();
    more.extend(["-H", JSON, "--data-binary", &body]);
    curl(server, Version::Http2, path, &more)
}

fn greet(server: &Server<'_>, version: Version, card: Option<&Card>) -> Answer {
    let card = card.map(|card| card.arguments("--"));
    let more: Vec<&str> = card.iter().flatten().map(String::as_str).collect();
    curl(server, version, "/", &more)
}

fn is_greeted(answer: &Answer) {
    assert_eq!((answer.status, answer.json()), (200, json!({"data": "Hello, world!"})), "{answer:?}");
}

/// Writes a text to a file of the site.
fn file(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.folder().join(name);
    fs::write(&path, text).expect("writes a file");
    path
}

fn openssl(words: &[&str], files: &[(&str, &Path)]) -> String {
    let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    for (name, path) in files {
        arguments.extend([(*name).to_owned(), path.to_str().expect("a path of ours is text").to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().filter(|it| !it.is_empty()).map(String::as_str).collect();
    run_tool("openssl", &arguments).succeeded()
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {answer}"))
}

/// What was issued, as files.
fn card_of(site: &Site, issued: &Value) -> Card {
    let id = text(issued, "certificateId").to_owned();
    let pem = text(issued, "certificatePem").to_owned();
    let cert = file(site, &format!("{id}.pem"), &pem);
    let key = file(site, &format!("{id}.key"), text(&issued["keyPair"], "privateKey"));
    Card { id, pem, cert, key, chain: None }
}

fn an_issued_certificate_is_complete_and_in_force_at_once(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    for version in VERSIONS {
        let device = format!("meter/{version:?}");
        let answer =
            post(&server, version, "/devicecert", &json!({"deviceId": device, "modelNumber": "CC3220S"}));
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
        let issued = answer.json();
        let members: Vec<_> = issued.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(members, ["certificateId", "certificatePem", "createdAt", "keyPair", "rootCertPem"]);
        assert!(issued["createdAt"].as_i64().is_some_and(|at| at > 1_700_000_000 && at < 253_402_300_799));
        let card = card_of(&site, &issued);
        let said = openssl(&["x509", "-noout", "-fingerprint", "-sha256"], &[("-in", &card.cert)]);
        let fingerprint =
            said.trim().rsplit('=').next().expect("a fingerprint").replace(':', "").to_lowercase();
        assert_eq!(fingerprint, card.id);
        let root = file(&site, "root.pem", text(&issued, "rootCertPem"));
        openssl(
            &["verify", "-purpose", "sslclient", "-x509_strict"],
            &[("-CAfile", &root), ("", &card.cert)],
        );
        let of_key = openssl(&["pkey", "-pubout"], &[("-in", &card.key)]);
        let of_certificate = openssl(&["x509", "-noout", "-pubkey"], &[("-in", &card.cert)]);
        assert_eq!(of_key, of_certificate);
        assert_eq!(of_key.trim(), text(&issued["keyPair"], "publicKey").trim());
        let said = openssl(&["pkey", "-noout", "-text"], &[("-in", &card.key)]);
        assert!(said.contains("2048 bit"), "{said}");
        for stack in STACKS {
            Talk::to_meter(&server, Some(&card), stack).thanked(READING);
        }
        is_greeted(&greet(&server, version, Some(&card)));
        let row = sql(
            &site,
            &format!("SELECT device_id, role, status FROM device_cert WHERE certificate_id = '{}'", card.id),
        );
        assert_eq!(row, format!("{device}|device|active"));
        let model = sql(&site, &format!("SELECT model_number FROM device WHERE device_id = '{device}'"));
        assert_eq!(model, "CC3220S");
        // A second one for the same device is a second one.
        let again =
            post(&server, version, "/devicecert", &json!({"deviceId": device, "modelNumber": null})).json();
        assert_ne!(again["certificateId"], issued["certificateId"]);
    }
    let who = sql(&site, "SELECT DISTINCT who FROM audit WHERE subject LIKE '%meter/%'");
    assert_eq!(who, "api key (configured)");
    assert!(!server.stderr().contains("PRIVATE KEY"), "no key is logged");
    let issuer = site.data_dir().join("ca/issuer/ca.private_key.pem");
    let mode = fs::metadata(issuer).expect("the issuer's key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn a_request_is_answered_without_a_private_key(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    let (key, csr) = (site.folder().join("own.key"), site.folder().join("own.csr"));
    let words = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=somebody else"];
    openssl(&words, &[("-keyout", &key), ("-out", &csr)]);
    let request = fs::read_to_string(&csr).expect("the request");
    let answer = post(&server, Version::Http2, "/devicecert", &json!({"deviceId": "m", "csr": request}));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.body.contains("PRIVATE KEY"), "{answer:?}");
    let issued = answer.json();
    let of_key = openssl(&["pkey", "-pubout"], &[("-in", &key)]);
    assert_eq!(issued["keyPair"], json!({"publicKey": of_key}));
    let cert = file(&site, "own.pem", text(&issued, "certificatePem"));
    let said = openssl(&["x509", "-noout", "-subject"], &[("-in", &cert)]);
    assert!(said.contains("CN = m") && !said.contains("somebody"), "the name is the issuer's: {said}");
    let card = Card { id: text(&issued, "certificateId").into(), pem: String::new(), cert, key, chain: None };
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);

    let made = |words: &[&str]| {
        let (key, csr) = (site.folder().join("other.key"), site.folder().join("other.csr"));
        let words = [&["req", "-new", "-nodes", "-subj", "/CN=m"], words].concat();
        openssl(&words, &[("-keyout", &key), ("-out", &csr)]);
        fs::read_to_string(&csr).expect("the request")
    };
    let curve = |name: &str| made(&["-newkey", "ec", "-pkeyopt", &format!("ec_paramgen_curve:{name}")]);
    let mut forged = pem::parse(&request).expect("PEM").into_contents();
    *forged.last_mut().expect("a signature") ^= 1;
    let certificate = self_signed(site.folder(), "x").pem;
    for (csr, words) in [
        ("nonsense", "csr: the text"),
        (certificate.as_str(), "csr: the text is another kind of PEM"),
        (&request.replacen('A', "B", 40), "csr: "),
        (&format!("{request}{request}"), "csr: the text holds several PEM blocks"),
        (
            &pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", forged)),
            "csr: its signature is not made with its own key",
        ),
        (&made(&["-newkey", "rsa:1024"]), "csr: it has an RSA key of 1024 bits"),
        (&curve("P-521"), "csr: it is signed with an algorithm that is not taken"),
        (&curve("secp256k1"), "csr: it has a key that is neither"),
    ] {
        let answer = post(&server, Version::Http2, "/devicecert", &json!({"deviceId": "m", "csr": csr}));
        let message = answer.refusal(400, "Bad Request");
        assert!(message.contains(words), "{message} instead of {words}");
    }
    let body = json!({"deviceId": "p", "csr": curve("P-384")});
    assert_eq!(post(&server, Version::Http2, "/devicecert", &body).status, 200);
}

fn to_list(card: &Card, device: &str) -> Value {
    json!({"deviceId": device, "modelNumber": "m", "certificateId": card.id, "certificatePem": card.pem})
}

fn a_synced_certificate_is_in_force_and_nothing_else_is_kept(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    let success = json!({"success": true});
    for (device, as_buffer) in [("with text", false), ("with a buffer", true)] {
        let card = self_signed(site.folder(), device);
        assert!(refusal(&server, Some(&card), STACKS[0]).is_some(), "not known yet");
        let mut body = to_list(&card, device);
        if as_buffer {
            body["certificatePem"] = json!({"type": "Buffer", "data": card.pem.as_bytes()});
        }
        let private = fs::read_to_string(&card.key).expect("its key");
        body["keyPair"] = json!({"privateKey": private});
        body["privateKey"] = json!({"type": "Buffer", "data": private.as_bytes()});
        for version in VERSIONS {
            let answer = post(&server, version, "/syncdevicecert", &body);
            assert_eq!((answer.status, answer.json()), (200, success.clone()), "{answer:?}");
        }
        for stack in STACKS {
            Talk::to_meter(&server, Some(&card), stack).thanked(READING);
        }
        let answer = post(&server, Version::Http2, "/syncdevicecert", &to_list(&card, "another"));
        assert!(answer.refusal(409, "Conflict").contains("another device"), "{answer:?}");
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM device_cert"), "2");
    assert_eq!(sql(&site, "SELECT count(*) FROM device WHERE device_id = 'another'"), "0");
    assert!(!server.stderr().contains("PRIVATE KEY"), "no key is logged");
    if engine == Engine::Embedded {
        let bytes = fs::read(site.sqlite_file()).expect("the file");
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(holds(b"BEGIN CERTIFICATE") || site.sqlite_file().with_extension("sqlite-wal").exists());
        assert!(!holds(b"PRIVATE KEY"), "no key is stored");
    } else {
        assert_eq!(sql(&site, "SELECT count(*) FROM device_cert WHERE pem LIKE '%PRIVATE%'"), "0");
    }
}

fn a_certificate_that_cannot_be_listed_is_refused_by_name(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    let card = self_signed(site.folder(), "d");
    let ca = TestCa::new("a CA");
    let with = |member: &str, value: Value| {
        let mut body = to_list(&card, "d");
        body[member] = value;
        body
    };
    let ca_body = json!({"deviceId": "d", "certificateId": ca.id, "certificatePem": ca.pem});
    let key = fs::read_to_string(&card.key).expect("its key");
    let long = "x".repeat(10_000);
    let dated = |name: &str, years| {
        crate::authority::dated(&site, name, name, false, years);
        fs::read_to_string(site.folder().join(name)).expect("a certificate")
    };
    for (body, words) in [
        (
            with("certificatePem", json!(dated("old", (2020, 2021)))),
            "certificatePem: the certificate expired on 2021-01-01",
        ),
        (
            with("certificatePem", json!(dated("new", (2090, 2095)))),
            "certificatePem: the certificate is not valid before 2090-01-01",
        ),
        (with("certificateId", json!("0".repeat(64))), "certificateId must be the lower-case hex SHA-256"),
        (with("certificateId", json!(card.id.to_uppercase())), "certificateId must be"),
        (with("certificateId", json!(null)), "certificateId is missing"),
        (with("certificateId", json!(5)), "certificateId must be a string"),
        (with("certificatePem", json!(null)), "certificatePem is missing"),
        (with("certificatePem", json!("")), "certificatePem"),
        (with("certificatePem", json!("junk")), "certificatePem"),
        (with("certificatePem", json!(format!("junk\n{}", card.pem))), "certificatePem"),
        (with("certificatePem", json!(format!("{0}{0}", card.pem))), "certificatePem"),
        (with("certificatePem", json!(key)), "certificatePem is a private key"),
        (
            with("certificatePem", json!({"type": "Buffer", "data": [300]})),
            "certificatePem.data must be an array",
        ),
        (with("certificatePem", json!({"type": "Blob", "data": []})), "certificatePem.type must be Buffer"),
        (
            with("certificatePem", json!({"type": "Buffer", "data": [255]})),
            "certificatePem.data is not UTF-8",
        ),
        (with("certificatePem", json!([45])), "certificatePem must be a string"),
        (with("deviceId", json!(long)), "deviceId has more than 128 bytes"),
        (with("deviceId", json!("a\nb")), "deviceId has a control"),
        (with("deviceId", json!("")), "deviceId is empty"),
        (with("modelNumber", json!(["m"])), "modelNumber must be a string"),
        (with("modelNumber", json!(long)), "modelNumber must be"),
        (ca_body, "certificatePem: the certificate is a CA's"),
        (json!({}), "deviceId is missing"),
    ] {
        let answer = post(&server, Version::Http2, "/syncdevicecert", &body);
        let message = answer.refusal(400, "Bad Request");
        assert!(message.contains(words), "{message} instead of {words}");
        assert!(!message.contains("PRIVATE KEY-----"), "{message}");
    }
    for path in ["/devicecert", "/syncdevicecert", "/caRegister"] {
        let answer = curl(&server, Version::Http2, path, &["-H", JSON, "-d", "{}"]);
        answer.refusal(401, "Unauthorized");
        let answer = curl(&server, Version::Http2, path, &["-H", KEY]);
        answer.refusal(405, "Method Not Allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM device"), "0");
}

fn a_registered_ca_vouches_for_devices_at_once(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    for (number, body) in [
        json!({}),
        json!({"csrSubjects": null}),
        json!({"csrSubjects": {"countryName": "", "stateName": null}}),
        json!({"csrSubjects": {"countryName": "DE", "stateName": "Bayern", "localityName": "M\u{fc}nchen",
            "organizationName": "m0v", "organizationUnitName": "test"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = post(&server, Version::Http2, "/caRegister", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let made = answer.json();
        let id = text(&made, "certificateId");
        assert_eq!(made, json!({"certificateId": id, "caCertificateId": id}));
        let folder = site.data_dir().join("ca").join(id);
        let (ca, key) = (folder.join("ca.cert.pem"), folder.join("ca.private_key.pem"));
        assert_eq!(fs::metadata(&key).expect("its key").permissions().mode() & 0o777, 0o600);
        let said = openssl(&["x509", "-noout", "-fingerprint", "-sha256"], &[("-in", &ca)]);
        assert!(said.replace(':', "").to_lowercase().contains(id), "{said}");
        let public = openssl(&["pkey", "-pubout"], &[("-in", &key)]);
        assert_eq!(public, fs::read_to_string(folder.join("ca.public_key.pem")).expect("its public key"));

        // Its key signs for a device elsewhere, with a tool of theirs.
        let device = format!("made by openssl {number}");
        let (own, csr, cert) = (folder.join("own.key"), folder.join("own.csr"), folder.join("own.pem"));
        let subject = format!("/CN={device}");
        let words = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject];
        openssl(&words, &[("-keyout", &own), ("-out", &csr)]);
        let extensions = folder.join("extensions");
        fs::write(
            &extensions,
            "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n",
        )
        .expect("writes extensions");
        let words = ["x509", "-req", "-days", "30", "-CAcreateserial"];
        openssl(
            &words,
            &[("-in", &csr), ("-CA", &ca), ("-CAkey", &key), ("-out", &cert), ("-extfile", &extensions)],
        );
        let card = Card { id: String::new(), pem: String::new(), cert, key: own, chain: None };
        Talk::to_meter(&server, Some(&card), STACKS[number % STACKS.len()]).thanked(READING);
        is_greeted(&greet(&server, Version::Http11, Some(&card)));
        assert_eq!(sql(&site, &format!("SELECT ca_id FROM device WHERE device_id = '{device}'")), id);
    }
    for (subjects, words) in [
        (json!({"countryName": "DEU"}), "countryName"),
        (json!({"organizationName": "x".repeat(65)}), "organizationName"),
        (json!({"stateName": 5}), "csrSubjects.stateName must be a string"),
        (json!("DE"), "csrSubjects must be an object"),
    ] {
        let answer = post(&server, Version::Http2, "/caRegister", &json!({"csrSubjects": subjects}));
        assert!(answer.refusal(400, "Bad Request").contains(words), "{answer:?}");
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM ca"), "4");
}

fn a_certificate_speaks_for_its_device_and_a_service_for_all(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    let (device, service) = (self_signed(site.folder(), "d"), self_signed(site.folder(), "s"));
    let answer = greet(&server, Version::Http11, Some(&device));
    assert!(answer.refusal(401, "Unauthorized").contains("neither listed nor signed"), "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    greet(&server, Version::Http2, Some(&device)).refusal(401, "Unauthorized");
    let answer = post_as(&server, &device, "/confo/a/b", &json!({}));
    answer.refusal(401, "Unauthorized");
    greet(&server, Version::Http2, None).refusal(401, "Unauthorized");

    device.list(&site, "d/1", Role::Device);
    service.list(&site, "s", Role::Service);
    is_greeted(&greet(&server, Version::Http2, Some(&device)));
    is_greeted(&greet(&server, Version::Http11, Some(&service)));
    let report = json!({"voltage": 231.4});
    for path in ["/devicetelemetry", "/devicetelemetry/d%2F1"] {
        assert_eq!(post_as(&server, &device, path, &report).status, 200, "{path}");
        let row = site.telemetry().pop().expect("it is there");
        assert_eq!((row.device_id.as_str(), &row.body), ("d/1", &report));
    }
    for (card, path) in [(&device, "/devicetelemetry/d"), (&service, "/devicetelemetry/d%2F1")] {
        let answer = post_as(&server, card, path, &report);
        assert!(answer.refusal(401, "Unauthorized").contains("another device's"), "{answer:?}");
    }
    let forward = json!({"deviceId": "x", "createdAt": 1_732_300_000, "data": report});
    for (path, body) in [
        ("/forwardtelemetry", &forward),
        ("/forwardstatus", &forward),
        ("/devicecert", &json!({"deviceId": "made by a service"})),
        ("/syncdevicecert", &to_list(&self_signed(site.folder(), "y"), "y")),
    ] {
        let answer = post_as(&server, &device, path, body);
        assert!(answer.refusal(401, "Unauthorized").contains("role service"), "{answer:?}");
        assert_eq!(post_as(&server, &service, path, body).status, 200, "{path}");
    }
    let answer = post_as(&server, &service, "/caRegister", &json!({}));
    assert!(answer.refusal(401, "Unauthorized").contains("API key"), "{answer:?}");
    let who = sql(&site, "SELECT DISTINCT who FROM audit WHERE subject LIKE '%made by a service%'");
    assert_eq!(who, format!("certificate {}", service.id));

    // A key that is there is judged alone.
    let card = service.arguments("--");
    let mut more: Vec<&str> = card.iter().map(String::as_str).collect();
    more.extend(["-H", "api-key-name: wrong", "-H", JSON, "-d", "{}"]);
    let answer = curl(&server, Version::Http2, "/forwardstatus", &more);
    assert!(answer.refusal(401, "Unauthorized").contains("wrong API key"), "{answer:?}");
    more.truncate(4);
    more.extend(["-H", KEY]);
    let answer = curl(&server, Version::Http2, "/", &more);
    answer.refusal(401, "Unauthorized");
    let message = greet(&server, Version::Http11, None).refusal(401, "Unauthorized");
    assert_eq!(message, "this needs a client certificate, and no API key", "a key would not help");
}

fn node_does_it_all(engine: Engine) {
    let site = Site::with(engine, &config());
    let server = site.start();
    let card = self_signed(site.folder(), "node");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/api.js");
    let port = server.api_addr().port().to_string();
    let path = |path: &Path| path.to_str().expect("a path of ours is text").to_owned();
    let (ca, cert, key) = (path(&server.ca_file()), path(&card.cert), path(&card.key));
    let said =
        run_tool("node", &[script, &port, &ca, "a-key-of-the-test", &cert, &key, &card.id]).succeeded();
    assert_eq!(said.trim(), "all as expected");
    let rows = site.telemetry();
    let told: Vec<_> = rows.iter().map(|row| (row.device_id.as_str(), row.kind.as_str())).collect();
    let expected = [
        ("by node", "devicetelemetry"),
        ("by node", "forwardtelemetry"),
        ("by node", "forwardstatus"),
        ("synced by node", "devicetelemetry"),
    ];
    assert_eq!(told, expected);

    let card = self_signed(site.folder(), "request");
    let script = path(&crate::tunnel::foreign::node().join("request.js"));
    let (cert, key) = (path(&card.cert), path(&card.key));
    let said =
        run_tool("node", &[&script, &port, &ca, "a-key-of-the-test", &cert, &key, &card.id]).succeeded();
    assert_eq!(said.trim(), "all as expected");
    assert_eq!(site.telemetry().len(), 6);
}

fn the_story_of_the_examples_is_true(engine: Engine) {
    let site = Site::new(engine);
    let out = site.folder().join("identity");
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/identity.sh"));
    command.arg(&out).env("M0V", env!("CARGO_BIN_EXE_m0v")).current_dir(site.folder());
    if let Some(database) = site.database() {
        command.env("M0V_DATABASE__URL", database.url());
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let said = finish(child.expect("starts the script"), "identity.sh").succeeded();
    assert!(said.contains(": key retire backoffice\n"), "to the end: {said}");
    let log = fs::read_to_string(out.join("m0v.log")).expect("the server's log");
    assert!(log.contains("INFO  server: stopped"), "nothing is left running: {log}");
}
