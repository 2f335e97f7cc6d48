//! Every kind of fault, word for word.

use super::{SAMPLE, faults, parse, parse_with};
use proptest::prelude::*;

/// A file with one mistake, and what is said of it after `m0v.toml:`.
const MISTAKES: &[(&str, &str)] = &[
    ("[limits]\nmax_line = 12", "2:12: [limits] max_line: must be between 256 and 1048576, got 12"),
    ("[limits]\nmax_line = 1048577", "2:12: [limits] max_line: must be between 256 and 1048576, got 1048577"),
    ("[limits]\nmax_line = 8e3", "2:12: [limits] max_line: must be a whole number, got a float"),
    ("[limits]\nidle_timeout = 0", "2:16: [limits] idle_timeout: must be between 1 and 2678400, got 0"),
    ("[limits]\nidle_timeout = \"9\"", "2:16: [limits] idle_timeout: must be a whole number, got a string"),
    ("[limits]\nmax_lines = 1", "2:1: [limits] max_lines: unknown key, did you mean max_line?"),
    ("[meter]\nmax_line = 999", "2:1: [meter] max_line: unknown key here, there is [limits] max_line"),
    ("reply = \"x\"", "1:1: reply: unknown key here, there is [meter] reply, [confirm] reply"),
    ("[metre]\nlisten = []", "1:2: [metre]: unknown section, did you mean [meter]?"),
    ("[xyzzy]\n[xyzzy.a]", "1:2: [xyzzy]: unknown section"),
    ("meter = 3", "1:1: [meter]: must be a section: write [meter] on a line of its own"),
    ("[[meter]]", "1:3: [meter]: is one section, not a list: write [meter] once"),
    ("\"a\\nb\" = 3", "1:1: a\\nb: unknown key"),
    ("[meter]\nlisten = \"0.0.0.0:1\"", "2:10: [meter] listen: must be a list in [ ], got a string"),
    (
        "[meter]\nlisten = [\"0.0.0.0:1\",\n  \"localhost:1\"]",
        "3:3: [meter] listen: must be an IP address and port such as \"[::]:38981\", got \"localhost:1\"",
    ),
    ("[meter]\nreply = \"\"", "2:9: [meter] reply: must not be empty; leave the key out"),
    ("[meter]\nreply = \"!OK\"", "2:9: [meter] reply: must not start with !OK, which begins a refusal"),
    ("[meter]\nreply = \"a\\n\"", "2:9: [meter] reply: must be printable ASCII without line ends"),
    ("[meter]\nreply = \"é\"", "2:9: [meter] reply: must be printable ASCII without line ends"),
    (
        "é = 1 # columns count characters",
        "1:1: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`",
    ),
    (
        "[meter]\nunknown_id = \"accept\"",
        "2:14: [meter] unknown_id: must be one of \"reject\", \"create\", got \"accept\"",
    ),
    (
        "[meter]\nproxy_protocol = \"v1\"",
        "2:18: [meter] proxy_protocol: needs trusted_proxies: anyone else could claim any address",
    ),
    (
        "[confirm]\ntrusted_proxies = [\"10.0.0.1/8\"]",
        "2:20: [confirm] trusted_proxies: has address bits set after its prefix, got \"10.0.0.1/8\"",
    ),
    (
        "[confirm]\ntls = false",
        "2:7: [confirm] tls: false needs trusted_proxies or loopback addresses, and listen has 0.0.0.0:38979",
    ),
    (
        "[confirm]\ntls = false\nlisten = [\"127.0.0.1:1\"]\nclient_cert = \"required\"",
        "4:15: [confirm] client_cert: needs tls = true, or proxy_protocol = \"v2\" from a balancer that hands the certificate on",
    ),
    ("[tls]\nchain = \"a\"", "2:9: [tls] chain: needs [tls] key as well"),
    ("[tls]\nkey = \"a\"", "2:7: [tls] key: needs [tls] chain as well"),
    ("[tls]\nmax_fragment = 600", "2:16: [tls] max_fragment: must be one of 512, 1024, 2048, 4096, got 600"),
    ("[tls]\nmax_fragment = -1", "2:16: [tls] max_fragment: must be between 0 and 65535, got -1"),
    (
        "[acme]\ndomains = [\"a.example\"]\nlisten_http = [\"[::]:80\"]\n[tls]\nchain = \"a\"\nkey = \"b\"",
        "5:9: [tls] chain: excludes [acme] domains: a certificate comes from files or from a CA",
    ),
    (
        "[acme]\ndomains = [\"*.example.org\"]",
        "2:11: [acme] domains: `*.example.org` is a wildcard, which needs the dns-01 challenge and m0v does not do \
         that: list each name by itself",
    ),
    (
        "[acme]\ndomains = [\"192.0.2.7\"]",
        "2:11: [acme] domains: `192.0.2.7` is an IP address, which is not possible here: give the host a DNS name \
         and use that",
    ),
    (
        "[acme]\ndomains = [\"a.example\"]",
        "2:11: [acme] domains: needs listen_http (port 80) or listen_tls_alpn (port 443): the CA asks there whether \
         the names are ours",
    ),
    ("[acme]\nkey_bits = 1024", "2:12: [acme] key_bits: must be 2048, 3072 or 4096, got 1024"),
    (
        "[acme]\neab_kid = \"k\"\neab_key = \"!\"",
        "3:11: [acme] eab_key: must be base64url: copy the key exactly as the CA shows it",
    ),
    (
        "[database]\nsecret = \"too short\"",
        "2:10: [database] secret: must be at least 32 bytes, such as `openssl rand -base64 32` prints",
    ),
    ("[acme]\neab_kid = \"k\"", "2:11: [acme] eab_kid: needs [acme] eab_key as well"),
    (
        "[acme]\ncontact = [\"a@b.c\"]",
        "2:11: [acme] contact: must be \"mailto:somebody@example.org\", got \"a@b.c\"",
    ),
    (
        "[acme]\ndirectory = \"http://ca\"",
        "2:13: [acme] directory: must begin with https://, or be \"letsencrypt\" or \"letsencrypt-staging\", got \
         \"http://ca\"",
    ),
    (
        "[acme]\nlisten_http = [\"0.0.0.0:80\"]",
        "2:15: [acme] listen_http: needs domains: without them there is nothing to prove",
    ),
    (
        "[tunnel]\nlisten = [\"[::]:38983\"]\nallow = [\"127.0.0.1:38982\"]",
        "3:9: [tunnel] allow: 127.0.0.1:38982 is the admin port, which has no password: no tunnel leads there",
    ),
    (
        "[tunnel]\nlisten = [\"0.0.0.0:38983\"]\nallow = [\"127.0.0.1:38981\", \"127.0.0.1:38983\"]",
        "3:9: [tunnel] allow: 127.0.0.1:38983 is the tunnel itself: no tunnel leads there",
    ),
    ("[tunnel]\nallow = [\"a:0\"]", "2:9: [tunnel] allow: must be host:port, got \"a:0\""),
    ("[api]\nkey_name = \"a b\"", "2:12: [api] key_name: must be the name of an HTTP header, got \"a b\""),
    (
        "[api]\nclient_cert_header = \"X\"",
        "2:22: [api] client_cert_header: needs trusted_proxies: anyone else could claim any certificate",
    ),
    (
        "[admin]\nlisten = [\"[::]:38981\"]",
        "2:10: [admin] listen: [::]:38981 is listened on twice, by [meter] listen and [admin] listen",
    ),
    (
        "[log]\nlevel = \"INFO\"",
        "2:9: [log] level: must be one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", got \"INFO\"",
    ),
    ("[meter]\ntls = true\ntls = true", "3:1: \"tls\" is there twice"),
    ("[meter", "1:7: not TOML: unclosed table, expected `]`"),
    ("[meter]\nreply = OK", "2:9: not TOML: string values must be quoted, expected literal string"),
];

#[test]
fn says_what_is_wrong_and_where() {
    for (text, fault) in MISTAKES {
        assert_eq!(faults(text), [format!("m0v.toml:{fault}")], "{text}");
    }
}

#[test]
fn says_everything_in_one_run() {
    let text = "[meter]\nlisten = \"a\"\ntls = false\nxyzzy = 1\n[limits]\nmax_line = 1\nmax_line = 2\n[nope]\n[tls]\nkey = \"k\"\n";
    let variables =
        [("M0V_LOG__KEEP", "many"), ("M0V_LOG__KEEPS", "1"), ("M0V_LOG", "no key"), ("OTHER__X", "")];
    let found = parse_with(text, &variables).expect_err("must be refused");
    assert_eq!(
        found,
        [
            "m0v.toml:2:10: [meter] listen: must be a list in [ ], got a string",
            "m0v.toml:4:1: [meter] xyzzy: unknown key",
            "m0v.toml:6:12: [limits] max_line: must be between 256 and 1048576, got 1",
            "m0v.toml:7:1: \"max_line\" is there twice",
            "m0v.toml:8:2: [nope]: unknown section",
            "m0v.toml:10:7: [tls] key: needs [tls] chain as well",
            "M0V_LOG__KEEP: [log] keep: must be a whole number, got other text",
            "M0V_LOG__KEEPS: sets no key, did you mean M0V_LOG__KEEP?",
        ]
    );
}

#[test]
fn faults_never_show_a_secret() {
    for text in [
        "[api]\nkey_value = \"hunter 2\"",
        "[api]\nbroker_token = \"hunter\\u0000\"",
        "[api]\nonboarding_token = [\"hunter\"]",
        "[database]\nurl = \"mysql://hunter@h/d\"",
        "[database]\nurl = postgres://hunter@h/d",
        "[database]\nurl = \"postgres://hunter@h/d",
        "[database]\nsecret = \"hunter\"",
        "[acme]\neab_kid = \"k\"\neab_key = \"hunter !\"",
    ] {
        let found = faults(text);
        assert!(found.iter().all(|fault| !fault.contains("hunter")), "{found:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_line_by_line(text: String) {
        if let Err(found) = parse(&text) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|fault| !fault.contains(char::is_control)), "{:?}", found);
        }
    }

    #[test]
    fn a_damaged_sample_is_read_or_refused(at in 0..SAMPLE.len(), insert in "[\\[\\]{}\"'=.,#\\\\a1\n\u{e9}-]{0,4}", cut in 0..9_usize) {
        let chars: Vec<char> = SAMPLE.chars().collect();
        let at = at.min(chars.len());
        let rest = chars.iter().skip(at + cut);
        let text: String = chars[..at].iter().copied().chain(insert.chars()).chain(rest.copied()).collect();
        if let Err(found) = parse(&text) {
            prop_assert!(found.iter().all(|fault| fault.starts_with("m0v.toml:")), "{:?}", found);
        }
    }
}
