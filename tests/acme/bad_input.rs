//! What cannot work is said before anything is asked of a CA, all of it at once.

use crate::{
    node::{Node, PACE, Recorder, options},
    pebble::{Pebble, Site, make_server_certificate},
};
use m0v::acme::{AcmeError, Ambient, FileCache, Issuer, LETS_ENCRYPT_STAGING, Options, Secret};
use std::{fs, sync::Arc};

fn faults(options: Options) -> String {
    options.check().unwrap_err().to_string()
}

fn sound() -> Options {
    Options { domains: vec!["a.example.org".to_owned()], http_01: true, ..Options::default() }
}

#[test]
fn explains_names_that_cannot_be_ordered() {
    let long = format!("{}.example", "a".repeat(64));
    for (name, words) in [
        ("*.example.org", "needs the dns-01 challenge"),
        ("192.0.2.7", "is an IP address"),
        ("2001:db8::1", "is an IP address"),
        ("[2001:db8::1]", "is an IP address"),
        ("", "an entry is empty"),
        ("zähler.example.org", "xn--"),
        ("https://a.example.org/", "without scheme"),
        ("a.example.org:443", "without scheme"),
        ("-a.example.org", "no host name"),
        ("a..example.org", "no host name"),
        ("under_score.example.org", "no host name"),
        (long.as_str(), "no host name"),
    ] {
        let text = faults(Options { domains: vec![name.to_owned()], ..sound() });
        assert!(text.starts_with("[acme] domains: ") && text.contains(words), "{name}: {text}");
    }
}

#[test]
fn tells_every_fault_in_one_run() {
    let text = faults(Options {
        domains: Vec::new(),
        contact: vec!["nobody".to_owned()],
        directory: "http://ca.example/dir".to_owned(),
        eab_kid: Some("kid".to_owned()),
        key_bits: 1024,
        renew_before_days: Some(0),
        ..Options::default()
    });
    for key in ["domains", "contact", "directory", "eab_key", "key_bits", "listen_http", "renew_before_days"]
    {
        assert!(text.contains(&format!("[acme] {key}: ")), "{key} in: {text}");
    }
    let secret = "nothing base64 ! at all";
    let eab = (Some("kid".to_owned()), Some(Secret::new(secret.to_owned())));
    let text = faults(Options { eab_kid: eab.0.clone(), eab_key: eab.1.clone(), ..sound() });
    assert!(text.contains("not base64url") && !text.contains(secret), "{text}");
    assert!(faults(Options { eab_key: eab.1, ..sound() }).contains("eab_kid: is missing"));
}

#[test]
fn knows_lets_encrypt_by_name_and_names_in_any_case() {
    let checked = Options {
        domains: vec!["B.Example.org.".to_owned(), "a.example.org".to_owned(), "b.example.org".to_owned()],
        directory: "letsencrypt-staging".to_owned(),
        contact: vec!["mailto:ops@example.org".to_owned()],
        ..sound()
    };
    let checked = checked.check().unwrap();
    assert_eq!(checked.directory(), LETS_ENCRYPT_STAGING);
    assert_eq!(checked.domains(), ["a.example.org", "b.example.org"]);
}

#[tokio::test]
async fn says_what_a_wrong_ca_file_should_hold() {
    let pebble = Pebble::start();
    let dir = tempfile::tempdir().unwrap();
    let with = |ca_file| Options { ca_file, ..options(&pebble.site) };

    make_server_certificate(dir.path());
    let other =
        Node::new(&pebble.site, with(Some(dir.path().join("ca.pem")))).await.issue().await.unwrap_err();
    assert!(matches!(other, AcmeError::Untrusted { .. }), "{other}");
    assert!(
        other.to_string().contains("must hold the root of the server's own HTTPS certificate"),
        "{other}"
    );
    let public =
        Node::in_dir(&Site::new(), with(None), &dir.path().join("public")).await.issue().await.unwrap_err();
    assert!(public.to_string().contains("for a private CA set [acme] ca_file"), "{public}");

    fs::write(dir.path().join("junk.pem"), "no certificate").unwrap();
    for (file, words) in [
        ("missing.pem", "cannot be read"),
        ("junk.pem", "no PEM certificate"),
        ("srv.key", "no PEM certificate"),
    ] {
        let checked = with(Some(dir.path().join(file))).check().unwrap();
        let error = start(checked, dir.path()).err().unwrap().to_string();
        assert!(error.contains(words) && error.contains(file), "{error}");
    }
}

fn start(checked: m0v::acme::Checked, dir: &std::path::Path) -> Result<Issuer, AcmeError> {
    let cache = Arc::new(FileCache::open(&dir.join("acme")).unwrap());
    Issuer::new(checked, cache, Arc::<Recorder>::default(), Ambient::system(), PACE)
}
