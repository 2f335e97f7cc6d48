//! Who gets in: what is open and how to close it, the CAs, the devices that wait.

use super::Finding;
use crate::{
    cli::{cas::end_of, rfc3339},
    config::{ClientCert, Config},
    device::authority::{self, ISSUER, PRIVATE_KEY},
    server,
    store::{
        Micros, Store, StoreError,
        devices::{Ca, Status},
        now,
    },
};
use std::{path::Path, sync::Arc};

/// A CA that ends within half a year: its successor must reach every device before.
const SOON: Micros = 183 * 24 * 3600 * 1_000_000;

/// Devices fetched at a time.
const PAGE: i64 = 5000;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = open_ports(config);
    findings.extend(api_key(config));
    findings.extend(issuer(config));
    let file = server::embedded_file(config);
    if config.database.url.is_some() || file.exists() {
        // What keeps the store from answering is `database`'s to say.
        if let Ok(store) = server::open_store(config).await {
            findings.extend(registered(&store).await.unwrap_or_default());
            findings.extend(waiting(&store).await.unwrap_or_default());
        }
    }
    findings
}

fn open_ports(config: &Config) -> Vec<Finding> {
    let served = config.ports().into_iter().filter(|port| !port.listen.is_empty());
    served.map(|port| open_port(port.section, port.client_cert)).collect()
}

fn open_port(section: &'static str, client_cert: ClientCert) -> Finding {
    let who = match section {
        "meter" => "takes any device, by the id or hash it sends",
        "confirm" => "takes anybody's confirmations, and tells anybody whether a name and SSID confirmed",
        _ => {
            "answers anybody on /confo, /api/confo, /register and POST /; all else asks for an API key, a \
             certificate or the broker token"
        }
    };
    let closes = "client_cert = \"required\" closes the port to all without a certificate";
    match client_cert {
        ClientCert::Required => {
            Finding::ok("open", format!("[{section}] takes only clients with an accepted certificate"))
        }
        ClientCert::Optional if section == "api" => Finding::ok("open", format!("[api] {who}; {closes}")),
        ClientCert::Off if section == "api" => Finding::ok(
            "open",
            format!("[api] {who}; certificates are not asked for (client_cert = \"optional\" does)"),
        ),
        ClientCert::Optional => Finding::ok(
            "open",
            format!(
                "[{section}] {who}; a device that has a certificate is safe from the others, who need it for \
                 its id; {closes}"
            ),
        ),
        ClientCert::Off => Finding::warning(
            "open",
            format!(
                "[{section}] {who}; client_cert = \"optional\" protects devices that have a certificate, \
                 \"required\" closes the port to all others"
            ),
        ),
    }
}

fn api_key(config: &Config) -> Option<Finding> {
    let text = "[api] no key_value: routes that need a key are closed but to named ones (m0v key add) and \
                certificates of the role service";
    (!config.api.listen.is_empty() && config.api.key_value.is_none()).then(|| Finding::ok("open", text))
}

/// The CA that issues, if there is one yet.
fn issuer(config: &Config) -> Vec<Finding> {
    let folder = config.api.issuer_ca.clone().unwrap_or_else(|| config.data_dir.join("ca").join(ISSUER));
    let is_there = folder.join(authority::CERTIFICATE).exists();
    if config.api.issuer_ca.is_none() && !is_there {
        let text = format!("the CA that issues certificates is made at first use: {}", folder.display());
        return vec![Finding::ok("ca", text)];
    }
    let mut findings = match authority::Authority::open(&folder) {
        Err(error) => vec![Finding::fault("ca", error.to_string())],
        Ok(issuer) => {
            let what = format!("{} issues certificates from {}", issuer.anchor().subject(), folder.display());
            vec![lifetime(&what, issuer.anchor().not_after())]
        }
    };
    findings.extend(open_key(&folder));
    findings.extend(other_keys(&config.data_dir.join("ca"), &folder));
    findings
}

/// Keys of the CAs that were made here and do not issue.
fn other_keys(parent: &Path, issuer: &Path) -> Vec<Finding> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|folder| folder != issuer)
        .filter_map(|it| open_key(&it))
        .collect()
}

fn open_key(folder: &Path) -> Option<Finding> {
    let key = folder.join(PRIVATE_KEY);
    let text = format!("{}: the CA's private key is open to other users; make it 0600", key.display());
    authority::is_open_to_others(&key).is_ok_and(|open| open).then(|| Finding::fault("ca", text))
}

async fn registered(store: &Arc<dyn Store>) -> Result<Vec<Finding>, StoreError> {
    Ok(store.list_cas().await?.iter().map(ca).collect())
}

fn ca(ca: &Ca) -> Finding {
    let name = format!("{} ({:.12}…)", ca.subject.escape_debug(), ca.ca_id);
    if ca.status == Status::Revoked {
        return Finding::ok("ca", format!("{name} is revoked"));
    }
    let how = if ca.auto_register { "at once" } else { "once approved (m0v device approve)" };
    match end_of(ca) {
        Some(end) => lifetime(&format!("{name} vouches for devices, new ones {how}"), end),
        None => {
            Finding::fault("ca", format!("{name}: its certificate cannot be read; revoke it (m0v ca revoke)"))
        }
    }
}

fn lifetime(what: &str, end: Micros) -> Finding {
    let (ends, now) = (rfc3339(end), now());
    if end < now {
        Finding::fault(
            "ca",
            format!("{what}, but expired on {ends}: no certificate of it is accepted unless listed"),
        )
    } else if end < now.saturating_add(SOON) {
        Finding::warning(
            "ca",
            format!("{what}, and ends on {ends}: prepare devices for the one that follows it"),
        )
    } else {
        Finding::ok("ca", format!("{what}, until {ends}"))
    }
}

async fn waiting(store: &Arc<dyn Store>) -> Result<Option<Finding>, StoreError> {
    let (mut after, mut waiting) = (String::new(), 0_u64);
    loop {
        let page = store.list_devices(&after, PAGE).await?;
        waiting += page.iter().map(|device| u64::from(device.status == Status::Pending)).sum::<u64>();
        match page.last() {
            Some(last) => after.clone_from(&last.device_id),
            None => break,
        }
    }
    let text = format!("{waiting} wait for approval (m0v device list, m0v device approve)");
    Ok((waiting > 0).then(|| Finding::warning("devices", text)))
}
