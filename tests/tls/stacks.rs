//! The lists in `verdict` against what the stacks really do, and the bounds on records.

use std::sync::Arc;
use std::time::Duration;

use m0v::tls::hello::Reader;
use m0v::tls::verdict::{Verdict, verdict};
use m0v::tls::{Acceptor, AcceptorOptions, Compat, Keys};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::server::{Peers, Server, chain};

const SUITES: &[u16] = &[
    0x1301, 0x1302, 0x1303, 0x1304, 0xc02f, 0xc030, 0xcca8, 0xc013, 0xc014, 0xc027, 0xc028, 0x009c, 0x002f,
    0x0035, 0x0005, 0x000a, 0x009e, 0xc02b, 0xcca9, 0x00ff,
];
const GROUPS: &[u16] = &[23, 24, 25, 29, 30, 256, 4587, 4588, 0x1a1a];
const SCHEMES: &[u16] =
    &[0x0401, 0x0501, 0x0601, 0x0301, 0x0201, 0x0804, 0x0805, 0x0806, 0x0403, 0x0809, 0x0807];

fn vector8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

pub(crate) fn extension(id: u16, content: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &vector16(content)].concat()
}

pub(crate) fn hello(version: u16, suites: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([&[0][..], &vector16(&u16s(suites)), &[1, 0]].concat());
    if !extensions.is_empty() {
        body.extend(vector16(&extensions.concat()));
    }
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1, 0, len[0], len[1]][..], &body].concat();
    [&[22, 3, 1][..], &vector16(&message)].concat()
}

fn some_of(values: &'static [u16]) -> impl Strategy<Value = Vec<u16>> {
    subsequence(values, 1..=values.len().min(6)).prop_shuffle()
}

/// A well-formed hello: any mixture of what the lists speak of. Clients that offer TLS 1.3 bring
/// an empty key_share, which asks for a HelloRetryRequest.
fn any_hello() -> impl Strategy<Value = Vec<u8>> {
    let versions =
        select(vec![vec![], vec![0x0304, 0x0303], vec![0x0304], vec![0x0303], vec![0x0302, 0x0301]]);
    let legacy = select(vec![0x0303_u16, 0x0303, 0x0302, 0x0301]);
    let points = proptest::option::of(select(vec![vec![0_u8], vec![1, 0], vec![1]]));
    let groups = proptest::option::of(some_of(GROUPS));
    let schemes = proptest::option::of(some_of(SCHEMES));
    (versions, legacy, some_of(SUITES), groups, schemes, points).prop_map(
        |(versions, legacy, suites, groups, schemes, points)| {
            let mut extensions = Vec::new();
            if let Some(groups) = groups {
                extensions.push(extension(10, &vector16(&u16s(&groups))));
            }
            if let Some(points) = points {
                extensions.push(extension(11, &vector8(&points)));
            }
            if let Some(schemes) = schemes {
                extensions.push(extension(13, &vector16(&u16s(&schemes))));
            }
            if !versions.is_empty() {
                extensions.push(extension(43, &vector8(&u16s(&versions))));
            }
            if versions.contains(&0x0304) {
                extensions.push(extension(51, &vector16(&[])));
                extensions.push(extension(45, &vector8(&[1])));
            }
            hello(legacy, &suites, &extensions)
        },
    )
}

/// The type of the first record answered.
pub(crate) fn answer(runtime: &Runtime, acceptor: &Acceptor, bytes: &[u8]) -> u8 {
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(bytes).await.unwrap();
        let talk = async {
            let mut first = [0; 1];
            client.read_exact(&mut first).await.unwrap();
            drop(client);
            first[0]
        };
        let both = async { tokio::join!(talk, acceptor.accept(server)).0 };
        timeout(Duration::from_secs(10), both).await.unwrap()
    })
}

pub(crate) fn acceptor(compat: Compat) -> Acceptor {
    Acceptor::new(Keys::new(chain()), AcceptorOptions { compat, ..Default::default() }).unwrap()
}

/// Whether rustls, asked alone, answers with a ServerHello or HelloRetryRequest.
fn rustls_takes(config: &Arc<rustls::ServerConfig>, mut bytes: &[u8]) -> bool {
    let mut connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    connection.read_tls(&mut bytes).unwrap();
    connection.process_new_packets().is_ok()
}

fn rustls_alone() -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    let files = &crate::server::LOCAL.1;
    let certs = rustls::pki_types::CertificateDer::pem_file_iter(&files.chain).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(
        builder.with_no_client_auth().with_single_cert(certs.map(Result::unwrap).collect(), key).unwrap(),
    )
}

#[test]
fn verdicts_agree_with_what_the_stacks_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (acceptors, alone) = (Compat::ALL.map(acceptor), rustls_alone());
    let config = ProptestConfig { cases: 400, ..ProptestConfig::default() };
    proptest!(config, |(bytes in any_hello())| {
        let hello = Reader::new().push(&bytes).unwrap().unwrap();
        let modern = verdict(&hello, Compat::Strict) == Verdict::Modern;
        let takes = rustls_takes(&alone, &bytes);
        // With a HelloRetryRequest rustls looks at the signature schemes only in the second hello.
        let retry = hello.speaks(0x0304) && takes && !modern;
        let scheme = hello.signatures.iter().flatten().any(|scheme| (0x0804..=0x0806).contains(scheme));
        prop_assert!(modern == takes || retry && !scheme, "{:?}", hello);
        for (level, acceptor) in Compat::ALL.into_iter().zip(&acceptors) {
            let served = !matches!(verdict(&hello, level), Verdict::Refused(_));
            prop_assert_eq!(answer(&runtime, acceptor, &bytes) == 22, served, "{} {:?}", level, hello);
        }
    });
}

/// Passes one connection through and returns the longest record content the server sent.
async fn longest_record(listener: TcpListener, server: std::net::SocketAddr) -> usize {
    let (near, _) = listener.accept().await.unwrap();
    let far = TcpStream::connect(server).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (near.into_split(), far.into_split());
    tokio::spawn(async move {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
        to_server.shutdown().await.ok();
    });
    let mut longest = 0;
    let mut header = [0; 5];
    while from_server.read_exact(&mut header).await.is_ok() {
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let mut content = vec![0; len];
        from_server.read_exact(&mut content).await.unwrap();
        to_client.write_all(&[&header[..], &content].concat()).await.ok();
        longest = longest.max(len);
    }
    to_client.shutdown().await.ok();
    longest
}

/// AES-GCM adds 24 bytes in TLS 1.2, 17 in TLS 1.3.
const OVERHEAD: usize = 24;
/// AES-CBC with SHA-1 adds an IV, a MAC and padding.
const OLD_OVERHEAD: usize = 16 + 20 + 16;

#[tokio::test]
async fn records_stay_within_max_fragment_and_what_the_client_asks() {
    // (our max_fragment, client's flags, bound on the content)
    let table: [(Option<usize>, &[&str], usize); 11] = [
        (Some(512), &["-tls1_2"], 512),
        (Some(1024), &["-tls1_3"], 1024),
        (Some(2048), &["-tls1_2"], 2048),
        (Some(4096), &["-tls1_3"], 4096),
        (Some(512), &["-tls1_3"], 512),
        (None, &["-tls1_2", "-maxfraglen", "512"], 512),
        (None, &["-tls1_2", "-maxfraglen", "1024"], 1024),
        (None, &["-tls1_2", "-maxfraglen", "2048"], 2048),
        (None, &["-tls1_3", "-maxfraglen", "4096"], 4096),
        (Some(2048), &["-tls1_2", "-maxfraglen", "512"], 512),
        (None, &["-tls1_2"], 16384),
    ];
    for (max_fragment, flags, bound) in table {
        let server = Server::start(AcceptorOptions { max_fragment, ..Default::default() }).await;
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = Peers(relay.local_addr().unwrap());
        let long = format!("{}\n", "x".repeat(9000));
        let (longest, (done, text)) =
            tokio::join!(longest_record(relay, server.address), through.openssl(flags, &long));
        assert!(done && text.contains(long.trim()), "{flags:?}: {text}");
        assert!(longest <= bound + OVERHEAD, "{flags:?}: {longest} over {bound}");
        assert!(longest > bound / 4, "{flags:?}: {longest}, the bound is not what was measured");
    }
}

#[tokio::test]
async fn compat_records_stay_within_max_fragment_and_what_the_client_asks() {
    const SHA256: [&str; 2] = ["--extension", "000d:0002 0401"];
    let table: [(Option<usize>, &[&str], usize); 12] = [
        (Some(512), &[], 512),
        (Some(1024), &[], 1024),
        (Some(2048), &[], 2048),
        (Some(4096), &[], 4096),
        (Some(3000), &[], 3000),
        (None, &["--extension", "0001:01"], 512),
        (None, &["--extension", "0001:02"], 1024),
        (None, &["--extension", "0001:03"], 2048),
        (None, &["--extension", "0001:04"], 4096),
        // With CBC, static RSA and TLS 1.0 as with AEAD.
        (Some(512), &["--suites", "c013"], 512),
        (Some(1024), &["--suites", "0035", "--version", "0301"], 1024),
        (None, &[], 16384),
    ];
    for (max_fragment, flags, bound) in table {
        let server =
            Server::start(AcceptorOptions { max_fragment, compat: Compat::RsaKx, ..Default::default() })
                .await;
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = Peers(relay.local_addr().unwrap());
        let long = "x".repeat(9000);
        let arguments = [&SHA256, flags, &["--line", &long]].concat();
        let (longest, (done, text)) =
            tokio::join!(longest_record(relay, server.address), through.device(&arguments));
        assert!(done && text.contains(&long), "{flags:?}: {text}");
        assert!(longest <= bound + OLD_OVERHEAD, "{flags:?}: {longest} over {bound}");
        assert!(longest > bound / 4, "{flags:?}: {longest}, the bound is not what was measured");
    }
}
