//! What cannot work with a CA: each a sentence that tells what to do, and devices are served meanwhile.

use crate::{
    acme::{check, config, readyz, served, site, trust},
    harness::{Site, eventually},
    pebble::{Mischief, Pebble},
};
use std::{fs, net::TcpListener, path::PathBuf};

/// Starts a server whose order cannot succeed, and waits for the words.
fn says(site: &Site, words: &str) {
    let server = site.start();
    eventually(words, || server.stderr().contains(words).then_some(()));
    assert!(readyz(&server).starts_with("HTTP/1.1 503"), "{}", readyz(&server));
    server.meter();
}

#[test]
fn says_what_the_ca_minds_and_goes_on_with_the_local_certificate() {
    const KID: &str = "kid-1";
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::start();
    let site = site(&pebble.site, "http-01");
    site.configure(&config(&pebble.site, "http-01").replace("[\"localhost\"]", "[\"blocked.example\"]"));
    says(&site, "take the name out of [acme] domains");

    let strict = Pebble::with(&Mischief { binding: Some((KID, KEY)), ..Mischief::default() });
    site.configure(&config(&strict.site, "http-01"));
    says(&site, "set [acme] eab_kid and eab_key");
    let wrong = KEY.replace("zWND", "AAAA");
    let bound =
        |key: &str| format!("{}eab_kid = {KID:?}\neab_key = {key:?}\n", config(&strict.site, "http-01"));
    site.configure(&bound(&wrong));
    says(&site, "check [acme] eab_kid and eab_key");
    site.configure(&bound(KEY));
    let root = trust(&site, &strict);
    let server = site.start();
    served(&server, &root);
    for log in [server.stderr(), check(&site).said()] {
        assert!(!log.contains(KEY) && !log.contains(&wrong), "{log}");
    }
}

#[test]
fn says_what_to_do_about_settings_that_cannot_work() {
    let pebble = Pebble::start();
    let site = site(&pebble.site, "http-01");
    let sound = config(&pebble.site, "http-01");
    let refused = |config: &str, words: &str| {
        site.configure(config);
        for arguments in [&["serve"][..], &["check"]] {
            let run = site.run(arguments);
            assert!(run.failed().said().contains(words), "no word of {words:?}:\n{}", run.said());
        }
    };
    refused(&sound.replace("[\"localhost\"]", "[\"*.example.org\"]"), "needs the dns-01 challenge");
    refused(&sound.replace("[\"localhost\"]", "[\"127.0.0.1\"]"), "give the host a DNS name");
    let ca_file = pebble.site.ca_file();
    let ca_file = ca_file.to_str().expect("a path in text");
    refused(&sound.replace(ca_file, "nowhere.pem"), "nowhere.pem: cannot be read");
    refused(&sound.replace(ca_file, "m0v.toml"), "m0v.toml: holds no PEM certificate");
    let holder = TcpListener::bind(("127.0.0.1", pebble.site.http_port)).expect("takes the port");
    let address = holder.local_addr().expect("an address");
    refused(&sound, &format!("[acme] listen_http: cannot bind {address}"));
    drop(holder);

    // The server goes on with these: they may be mended elsewhere.
    fs::write(site.folder().join("other.pem"), fs::read(site_ca(&site)).expect("a CA")).expect("writes a CA");
    site.configure(&sound.replace(ca_file, "other.pem"));
    says(&site, "must hold the root of the server's own HTTPS certificate");
    site.configure(&sound.replace(&pebble.site.directory(), "https://localhost:1/dir"));
    says(&site, "check [acme] directory, DNS, and that outgoing HTTPS is open");
    let said = check(&site).succeeded();
    assert!(said.contains("warning: acme: cannot reach the ACME server"), "{said}");
}

/// A CA that is not the ACME server's: the local one, made on the first start.
fn site_ca(site: &Site) -> PathBuf {
    let file = site.data_dir().join("tls/ca.pem");
    if !file.exists() {
        site.configure("");
        drop(site.start());
    }
    file
}
