//! The room as a whole: the shipped sample, every key, every kind of fault.

use super::{
    Config, Environment, LogFormat, ProxyProtocol, Secret, UnknownId, env::variable, fault::Key, keys::Keys,
    value::Value,
};
use std::{path::Path, time::Duration};

mod faults;

const SAMPLE: &str = include_str!("../../examples/m0v.toml");

/// The keys of DESIGN §2.7, word for word: the contract, kept apart from the code.
const CONTRACT: [(&str, &str); 12] = [
    ("", "data_dir"),
    ("meter", "listen reply unknown_id client_cert tls proxy_protocol trusted_proxies"),
    ("confirm", "listen reply visible client_cert tls proxy_protocol trusted_proxies"),
    (
        "api",
        "listen key_name key_value onboarding_token broker_token issuer_ca client_cert tls proxy_protocol \
         trusted_proxies client_cert_header",
    ),
    ("admin", "listen"),
    ("tunnel", "listen allow"),
    ("tls", "chain key append_root roots compat max_fragment resumption"),
    (
        "acme",
        "domains contact directory ca_file listen_tls_alpn listen_http renew_before_days eab_kid eab_key \
         key_bits reuse_key preferred_chain profile ready_with_local",
    ),
    ("database", "url ca_file max_connections batch_max_rows secret_file secret allow_unsafe"),
    ("spool", "enabled dir max_bytes"),
    (
        "limits",
        "max_connections max_connections_per_ip handshake_timeout idle_timeout write_timeout max_line",
    ),
    ("log", "level dir rotate_bytes keep format"),
];

#[derive(Default)]
struct Names(&'static str, Vec<Key>);

impl Keys for Names {
    fn section(&mut self, name: &'static str) {
        self.0 = name;
    }

    fn checked<T: Value>(&mut self, name: &'static str, _: &mut T, _: impl Fn(&T) -> Result<(), String>) {
        self.1.push(Key(self.0, name));
    }
}

fn all_keys() -> Vec<Key> {
    let mut names = Names::default();
    Config::default().visit(&mut names);
    names.1
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    parse_with(text, &[])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment: Environment = variables.iter().copied().collect();
    Config::parse(Path::new("m0v.toml"), text, environment)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn faults(text: &str) -> Vec<String> {
    parse(text).expect_err("must be refused")
}

/// The sample with its examples made real.
fn sample_with_examples() -> String {
    let example = |line: &'static str| {
        let text = line.strip_prefix("# ")?;
        let (name, _) = text.split_once(" = ")?;
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(text)
    };
    SAMPLE.lines().map(|line| example(line).unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn knows_exactly_the_keys_of_the_contract() {
    let contract: Vec<Key> = CONTRACT
        .iter()
        .flat_map(|(section, keys)| keys.split_whitespace().map(|key| Key(section, key)))
        .collect();
    assert_eq!(all_keys(), contract);
}

#[test]
fn the_sample_is_the_default() {
    assert_eq!(parse(SAMPLE), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_sample_has_every_key() {
    let text = sample_with_examples();
    let table: toml::Table = text.parse().unwrap();
    for key @ Key(section, name) in all_keys() {
        let section = if section.is_empty() { Some(&table) } else { table[section].as_table() };
        assert!(section.unwrap().contains_key(name), "examples/m0v.toml lacks {key}");
    }
}

#[test]
fn the_examples_in_the_sample_are_valid() {
    // Two of them need or exclude another key; that this is all shows that the rest about them is right.
    let found: Vec<String> =
        faults(&sample_with_examples()).iter().map(|fault| fault.splitn(4, ':').skip(3).collect()).collect();
    assert_eq!(
        found,
        [
            " [api] client_cert_header: needs trusted_proxies: anyone else could claim any certificate",
            " [database] secret: excludes secret_file: give the secret in one place",
        ]
    );
}

#[test]
fn a_wrong_key_is_refused_in_every_section() {
    for (section, _) in CONTRACT {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]") };
        let text = format!("{header}\nxyzzy = 1\n");
        let subject = if section.is_empty() { String::new() } else { format!("[{section}] ") };
        assert_eq!(faults(&text), [format!("m0v.toml:2:1: {subject}xyzzy: unknown key")]);
    }
    for line in SAMPLE.lines().filter(|line| line.starts_with('[')) {
        let text = SAMPLE.replace(line, &format!("{line}\nxyzzy = 1"));
        assert!(faults(&text)[0].ends_with("] xyzzy: unknown key"), "{line}");
    }
}

#[test]
fn a_wrong_type_is_refused_for_every_key() {
    for key @ Key(section, name) in all_keys() {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]") };
        let found = faults(&format!("{header}\n{name} = 2026-01-01\n"));
        let column = name.len() + 4;
        assert_eq!(found.len(), 1, "{found:?}");
        let place = format!("m0v.toml:2:{column}: {key}: must be ");
        assert!(found[0].starts_with(&place) && found[0].ends_with(", got a datetime"), "{found:?}");
        let variable = variable(section, name);
        let found = parse_with("", &[(&variable, "\u{7f}")]);
        if let Err(found) = found {
            assert!(found[0].starts_with(&format!("{variable}: {key}: ")), "{found:?}");
        }
    }
}

#[test]
fn variables_override_the_file() {
    let text = "[meter]\nreply = \"from the file\"\nlisten = [\"127.0.0.1:1\"]\ntls = true\n";
    let config = parse_with(
        text,
        &[
            ("M0V_METER__LISTEN", "127.0.0.1:0, [::1]:0"),
            ("M0V_METER__UNKNOWN_ID", "create"),
            ("M0V_METER__TRUSTED_PROXIES", "10.0.0.0/8,::1"),
            ("M0V_METER__PROXY_PROTOCOL", "any"),
            ("M0V_CONFIRM__LISTEN", ""),
            ("M0V_CONFIRM__VISIBLE", "0"),
            ("M0V_DATABASE__URL", "postgres://u:p@h/d"),
            ("M0V_LOG__FORMAT", "json"),
            ("M0V__DATA_DIR", "elsewhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.meter.reply, "from the file");
    assert_eq!(config.meter.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(config.meter.unknown_id, UnknownId::Create);
    assert_eq!(config.meter.proxy_protocol, ProxyProtocol::Any);
    assert_eq!(config.meter.trusted_proxies.len(), 2);
    assert_eq!(config.confirm.listen, []);
    assert_eq!(config.confirm.visible, Duration::ZERO);
    assert_eq!(config.database.url, Some(Secret::from("postgres://u:p@h/d".to_owned())));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.data_dir, Path::new("elsewhere"));
}

#[test]
fn paths_begin_in_the_folder_of_the_file() {
    let text = "[tls]\nchain = \"certs/chain.pem\"\nkey = \"/run/key.pem\"\n";
    let config = Config::parse(Path::new("/etc/m0v/m0v.toml"), text, Environment::default()).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/m0v/m0v-data"));
    assert_eq!(config.tls.chain.as_deref(), Some(Path::new("/etc/m0v/certs/chain.pem")));
    assert_eq!(config.tls.key.as_deref(), Some(Path::new("/run/key.pem")));
    assert_eq!(config.spool_dir(), Path::new("/etc/m0v/m0v-data/spool"));
}

#[test]
fn prints_and_reads_back() {
    let examples = sample_with_examples()
        .replace("trusted_proxies = []", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]")
        .replace("eab_k", "# eab_k")
        .replace("\nsecret = ", "\n# secret = ");
    for text in [SAMPLE, &examples, "[meter]\nreply = \"a \\\"b\\\" \\\\ c\"\n"] {
        let mut config = parse(text).unwrap();
        let printed = config.to_toml();
        // Secrets are not printed; all else comes back.
        config.database.url = None;
        config.api.key_value = None;
        config.api.onboarding_token = None;
        config.api.broker_token = None;
        assert_eq!(parse(&printed), Ok(config), "{printed}");
    }
}

#[test]
fn printing_shows_no_secret() {
    let config =
        parse("[api]\nkey_value = \"hunter2\"\n[database]\nurl = \"postgres://hunter2@h/d\"\n").unwrap();
    let printed = config.to_toml();
    assert!(!printed.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    assert!(printed.contains("\n# key_value is set, and secret\n"));
    assert!(printed.contains("\n# broker_token is not set\n"));
}

#[test]
fn default_addresses_are_known_as_such() {
    let config = parse("[confirm]\nlisten = [\"[::]:38979\"]\n").unwrap();
    assert!(Config::is_default_listen(&config.meter.listen));
    assert!(!Config::is_default_listen(&config.confirm.listen));
    assert!(!Config::is_default_listen(&[]));
}

#[test]
fn says_what_is_rarely_meant() {
    assert_eq!(Config::default().warnings(), [""; 0]);
    let text = "[meter]\nclient_cert = \"required\"\nproxy_protocol = \"v2\"\ntrusted_proxies = [\"::1\"]\n\
        [api]\nkey_value = \"k\"\nbroker_token = \"t\"\n[tunnel]\nlisten = [\"[::]:1\"]\nallow = []\n\
        [acme]\ndomains = [\"a.example\"]\nlisten_http = [\"[::]:80\"]\n\
        [admin]\nlisten = [\"0.0.0.0:1\"]\n[database]\nurl = \"postgres://h/d\"\nallow_unsafe = true\n[confirm]\ntls = false\nlisten = []\n";
    let config = parse(text).unwrap();
    assert_eq!(config.warnings().len(), 7, "{:?}", config.warnings());
}
