//! Resumed sessions of clients with certificates: the chain is there to be judged again, or there
//! is no resumption.

use m0v::tls::{AcceptorOptions, ClientAuth, Compat, Session, Stack};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::identities::{IDENTITIES, Identity, Liar};
use crate::server::Server;

/// By session id, by TLS 1.2 ticket, by TLS 1.3 ticket.
const WAYS: [&[&str]; 3] = [&["-tls1_2", "-no_ticket"], &["-tls1_2"], &["-tls1_3"]];

fn options(client_auth: ClientAuth) -> AcceptorOptions {
    AcceptorOptions { client_auth, ..Default::default() }
}

/// openssl with one certificate, and the session it keeps.
struct Client<'a> {
    identity: &'a Identity,
    chain: Option<&'a str>,
    kept: String,
    _dir: TempDir,
}

impl<'a> Client<'a> {
    fn new(identity: &'a Identity) -> Self {
        let dir = TempDir::new().unwrap();
        let kept = dir.path().join("session.pem").to_str().unwrap().to_owned();
        Self { identity, chain: None, kept, _dir: dir }
    }

    async fn connect(&self, server: &mut Server, way: &[&str], session: &str) -> Session {
        let arguments = self.identity.arguments("-");
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        words.extend(way);
        words.extend([session, &self.kept]);
        if let Some(chain) = self.chain {
            words.extend(["-cert_chain", chain]);
        }
        let (_, text) = server.openssl(&words, "").await;
        server.outcome().await.unwrap_or_else(|failure| panic!("the peer {failure}: {text}"))
    }

    async fn first(&self, server: &mut Server, way: &[&str]) -> Session {
        self.connect(server, way, "-sess_out").await
    }

    async fn again(&self, server: &mut Server, way: &[&str]) -> Session {
        self.connect(server, way, "-sess_in").await
    }
}

#[tokio::test]
async fn a_resumed_session_brings_the_chain_of_the_first() {
    let mut server = Server::start(options(ClientAuth::Required)).await;
    for way in WAYS {
        let client = Client::new(&IDENTITIES.rsa);
        let first = client.first(&mut server, way).await;
        let again = client.again(&mut server, way).await;
        assert_eq!((first.resumed, again.resumed, again.stack), (false, true, Stack::Modern), "{way:?}");
        assert_eq!(again.peer.as_ref().unwrap().certificate_id, IDENTITIES.rsa.id(), "{way:?}");
        assert_eq!(first.peer, again.peer, "{way:?}");
    }
}

#[tokio::test]
async fn the_chain_is_that_of_the_session_and_not_what_the_client_would_present_now() {
    let mut server = Server::start(options(ClientAuth::Required)).await;
    for way in WAYS {
        let mut client = Client::new(&IDENTITIES.rsa);
        client.first(&mut server, way).await;
        client.identity = &IDENTITIES.other;
        let again = client.again(&mut server, way).await;
        assert!(again.resumed, "{way:?}");
        assert_eq!(again.peer.unwrap().certificate_id, IDENTITIES.rsa.id(), "{way:?}");
    }
}

#[tokio::test]
async fn a_ticket_of_one_section_or_of_before_a_restart_is_worth_nothing_elsewhere() {
    let confirm = options(ClientAuth::Optional);
    for meter in [options(ClientAuth::Optional), options(ClientAuth::Required), options(ClientAuth::Off)] {
        let mut confirm = Server::start(confirm.clone()).await;
        let mut meter = Server::start(meter).await;
        for way in WAYS {
            let client = Client::new(&IDENTITIES.rsa);
            client.first(&mut confirm, way).await;
            assert!(!client.again(&mut meter, way).await.resumed, "{way:?}");
            assert!(client.again(&mut confirm, way).await.resumed, "{way:?}");
        }
    }
}

#[tokio::test]
async fn forgotten_sessions_are_not_resumed_and_open_connections_stay() {
    for auth in [ClientAuth::Off, ClientAuth::Optional, ClientAuth::Required] {
        let mut server = Server::start(options(auth)).await;
        let clients = WAYS.map(|way| (way, Client::new(&IDENTITIES.rsa)));
        for (way, client) in &clients {
            client.first(&mut server, way).await;
            assert!(client.again(&mut server, way).await.resumed, "{way:?}");
        }
        let liar = Liar {
            chain: vec![IDENTITIES.rsa.der()],
            key: IDENTITIES.rsa.key.clone(),
            version: &rustls::version::TLS13,
        };
        let mut open = liar.open(&server).await.unwrap();
        server.session().await;
        server.acceptor.forget_sessions().unwrap();
        for (way, client) in &clients {
            let again = client.again(&mut server, way).await;
            assert!(!again.resumed, "{way:?}");
            assert_eq!(again.peer.is_some(), auth != ClientAuth::Off);
            // The new keys are in use.
            client.first(&mut server, way).await;
            assert!(client.again(&mut server, way).await.resumed, "{way:?}");
        }
        open.write_all(b"still\n").await.unwrap();
        open.read_exact(&mut [0; 6]).await.unwrap();
    }
}

#[tokio::test]
async fn s2n_tls_resumes_nothing_where_a_certificate_is_asked_for_nor_what_was_forgotten() {
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        let mut server = Server::start(options(auth)).await;
        let arguments = IDENTITIES.rsa.arguments("--");
        let mut words = vec!["--resume", "--line", "x"];
        words.extend(arguments.iter().map(String::as_str));
        let (done, text) = server.device(&words).await;
        assert!(!done && text.contains("the server gave no ticket"), "{text}");
        assert_eq!(server.session().await.stack, Stack::Compat);
    }
    let mut server = Server::start(AcceptorOptions { compat: Compat::Cbc, ..Default::default() }).await;
    let way: &[&str] = &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"];
    let client = Client::new(&IDENTITIES.rsa);
    client.first(&mut server, way).await;
    let again = client.again(&mut server, way).await;
    assert_eq!((again.stack, again.resumed), (Stack::Compat, true));
    server.acceptor.forget_sessions().unwrap();
    assert!(!client.again(&mut server, way).await.resumed);
}

#[tokio::test]
async fn a_chain_too_long_for_a_ticket_is_served_and_not_resumed() {
    let mut server = Server::start(options(ClientAuth::Required)).await;
    let dir = TempDir::new().unwrap();
    let chain = dir.path().join("chain.pem");
    let pem = std::fs::read(&IDENTITIES.other.cert).unwrap();
    std::fs::write(&chain, [&pem[..], &pem, &pem].concat()).unwrap();
    let mut client = Client::new(&IDENTITIES.rsa);
    client.chain = chain.to_str();
    let first = client.first(&mut server, &["-tls1_2"]).await;
    assert_eq!(first.peer.unwrap().chain.len(), 4);
    for way in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"]] {
        assert!(!client.again(&mut server, way).await.resumed, "{way:?}");
    }
}
