//! What pebble 2.4 has not: rate limits, profiles, renewal information. A scripted HTTPS
//! server says the lines; the client's payloads are what is judged.

use crate::{
    node::{PACE, Recorder, options},
    pebble::Site,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use m0v::acme::{
    AcmeError, Ambient, Cache, Certificate, Class, FileCache, Issuer, Keeper, Options, Secret, Why,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// (method and path, decoded payload) → (status, extra headers, body).
type Script = dyn Fn(&str, &Value) -> (u16, String, Value) + Send + Sync;

struct Scripted {
    base: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    async fn start(
        site: &Site,
        script: impl Fn(&str, &Value) -> (u16, String, Value) + Send + Sync + 'static,
    ) -> Self {
        let file = |name: &str| site.dir.path().join(name);
        let chain =
            CertificateDer::pem_file_iter(file("srv.pem")).unwrap().collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(file("srv.key")).unwrap();
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (script, ears, own) =
            (Arc::<Script>::from(Box::new(script) as Box<Script>), heard.clone(), base.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let (line, payload) = read(&mut stream).await;
                let (status, headers, body) = common(&own, &line).unwrap_or_else(|| script(&line, &payload));
                ears.lock().unwrap().push((line, payload));
                let body = body.to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nReplay-Nonce: n0nce\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { base, heard, task }
    }

    fn heard(&self, line: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(said, _)| said == line).map(|(_, payload)| payload.clone()).collect()
    }

    fn options(&self, site: &Site) -> Options {
        Options { directory: format!("{}/dir", self.base), ..options(site) }
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> (String, Value) {
    let mut text = String::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&part[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length == 0 || body.len() >= wanted.unwrap_or(0) {
            let line = head.split(" HTTP/").next().unwrap().to_owned();
            let jws: Value = serde_json::from_str(body).unwrap_or_default();
            let payload = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str().unwrap_or("")).unwrap();
            return (line, serde_json::from_slice(&payload).unwrap_or_default());
        }
    }
}

/// The directory, nonces and the account: the same in every play.
fn common(base: &str, line: &str) -> Option<(u16, String, Value)> {
    let at = |path: &str| format!("{base}{path}");
    match line {
        "GET /dir" => {
            let directory = json!({
                "newNonce": at("/nonce"), "newAccount": at("/account"), "newOrder": at("/order"),
                "renewalInfo": at("/ari/"), "meta": { "profiles": { "shortlived": "six days" } },
            });
            Some((200, String::new(), directory))
        }
        "HEAD /nonce" => Some((200, String::new(), Value::Null)),
        "POST /account" => {
            Some((201, format!("Location: {base}/account/1\r\n"), json!({ "status": "valid" })))
        }
        _ => None,
    }
}

fn problem(name: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{name}"), "detail": "as scripted" })
}

/// A certificate of 90 days from this directory that a CA would take a `replaces` for.
fn current(directory: &str, age_days: u64) -> Certificate {
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(["meter.example.org".to_owned()]).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    leaf.not_before = (std::time::SystemTime::now() - Duration::from_secs(age_days * 86_400)).into();
    leaf.not_after = leaf.not_before + Duration::from_secs(90 * 86_400);
    let obtained_at = leaf.not_before.unix_timestamp();
    let chain = leaf.signed_by(&key, &ca).unwrap().pem();
    Certificate::new(directory.to_owned(), Secret::new(key.serialize_pem()), chain, obtained_at).unwrap()
}

async fn cache_with(site: &Site, certificate: &Certificate) -> Arc<FileCache> {
    let cache = Arc::new(FileCache::open(&site.dir.path().join("acme")).unwrap());
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    cache.keep_certificate(&lease, certificate).await.unwrap();
    cache
}

fn issuer(options: Options, cache: &Arc<FileCache>) -> Issuer {
    let recorder = Arc::<Recorder>::default();
    Issuer::new(options.check().unwrap(), cache.clone(), recorder, Ambient::system(), PACE).unwrap()
}

#[tokio::test]
async fn orders_at_once_without_replaces_when_the_ca_minds_it_and_hears_a_rate_limit() {
    let site = Site::new();
    let server = Scripted::start(&site, |line, payload| match line {
        "POST /order" if payload.get("replaces").is_some() => {
            (409, String::new(), problem("alreadyReplaced"))
        }
        "POST /order" => (429, "Retry-After: 777\r\n".to_owned(), problem("rateLimited")),
        _ => (404, String::new(), problem("malformed")),
    })
    .await;
    let options = Options { profile: Some("shortlived".to_owned()), ..server.options(&site) };
    let cache = cache_with(&site, &current(&options.directory, 1)).await;
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    let error = Box::pin(issuer(options, &cache).issue(&lease)).await.unwrap_err();

    assert_eq!(error.class(), Class::RateLimited);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(777)));
    assert!(error.to_string().contains("as scripted"), "{error}");
    let orders = server.heard("POST /order");
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(orders[0]["replaces"].as_str().unwrap().contains('.'));
    assert!(orders[1].get("replaces").is_none());
    for order in &orders {
        assert_eq!(order["profile"], "shortlived");
        assert_eq!(order["identifiers"], json!([{ "type": "dns", "value": "meter.example.org" }]));
    }
}

#[tokio::test]
async fn orders_without_a_profile_the_ca_does_not_offer() {
    let site = Site::new();
    let server = Scripted::start(&site, |_, _| (500, String::new(), Value::Null)).await;
    let options = Options { profile: Some("gone".to_owned()), ..server.options(&site) };
    let cache = Arc::new(FileCache::open(&site.dir.path().join("acme")).unwrap());
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    let error = Box::pin(issuer(options, &cache).issue(&lease)).await.unwrap_err();
    assert!(matches!(&error, AcmeError::Problem(problem) if problem.status == 500), "{error}");
    assert_eq!(error.class(), Class::Network);
    assert!(server.heard("POST /order")[0].get("profile").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_early_when_the_ca_asks_for_it_and_is_not_stopped_by_its_silence() {
    for (ari, why) in [
        (
            json!({ "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } }),
            Why::RenewalInformation,
        ),
        (
            json!({ "suggestedWindow": { "start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z" } }),
            Why::Lifetime,
        ),
        (Value::Null, Why::Lifetime),
    ] {
        let site = Site::new();
        let server = Scripted::start(&site, move |line, _| match line {
            line if line.starts_with("GET /ari/") => (200, "Retry-After: 21600\r\n".to_owned(), ari.clone()),
            _ => (429, "Retry-After: 777\r\n".to_owned(), problem("rateLimited")),
        })
        .await;
        let options = server.options(&site);
        let age = if why == Why::Lifetime { 89 } else { 10 };
        let cache = cache_with(&site, &current(&options.directory, age)).await;
        let (keeper, handle) = Keeper::new(issuer(options, &cache), "test".to_owned());
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.run(stop.clone()));
        let mut state = handle.state();
        let failed = state.wait_for(|state| state.failure.is_some());
        let failed = tokio::time::timeout(Duration::from_secs(30), failed).await.unwrap().unwrap().clone();
        assert_eq!(failed.next.unwrap().why, why);
        assert!(failed.serving.is_some(), "the old certificate stays");
        let waits = failed.failure.unwrap();
        assert!((777..=777 + 61).contains(&(waits.not_before - waits.failed_at)), "{waits:?}");
        assert_eq!(
            server.heard.lock().unwrap().iter().filter(|(line, _)| line.starts_with("GET /ari/")).count(),
            1
        );
        stop.cancel();
        task.await.unwrap();
    }
}
