//! A site gateway: a certificate that is listed, TLS to the tunnel's port, CONNECT, and a device behind it.

use crate::{
    client::tcp,
    harness::{Engine, PATIENCE, Server, Site},
    pki::{Card, beside, self_signed},
};
use m0v::store::devices::{Revocation, Role};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, HandshakeKind, RootCertStore, StreamOwned,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    fmt::Display,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// Where a test's server listens for what tunnels lead to: known before it starts, and nobody else's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) meter: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Places {
    /// An address of the loopback net for each process, ports below the ephemeral ones for each test.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(21_000);
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let ip = IpAddr::from(Ipv4Addr::new(127, 64 + a % 64, b, c));
        let port = || SocketAddr::new(ip, NEXT.fetch_add(1, Ordering::Relaxed));
        Self { meter: port(), api: port(), admin: port() }
    }

    /// A site whose tunnel leads to the meter and the API port and to `others`; `extra` is laid over it.
    pub(crate) fn site(self, engine: Engine, others: &[&str], extra: &str) -> Site {
        let Self { meter, api, admin } = self;
        let mut allow = vec![meter.to_string(), api.to_string()];
        allow.extend(others.iter().map(|other| (*other).to_owned()));
        let site = Site::with(
            engine,
            &format!(
                "[meter]\nlisten = [\"{meter}\"]\n[api]\nlisten = [\"{api}\"]\n[admin]\nlisten = [\"{admin}\"]\n\
                 [tunnel]\nlisten = [\"127.0.0.1:0\"]\nallow = {allow:?}\n"
            ),
        );
        site.add_config(extra);
        site
    }
}

/// A gateway by its certificate.
pub(crate) struct Gateway(Card);

impl Gateway {
    /// One that nobody knows.
    pub(crate) fn stranger(site: &Site, name: &str) -> Self {
        Self(self_signed(site.folder(), name))
    }

    /// One that shows this.
    pub(crate) const fn of(card: Card) -> Self {
        Self(card)
    }

    /// One that is listed, as the device `name`. The site's server has run.
    pub(crate) fn listed(site: &Site, name: &str) -> Self {
        let this = Self::stranger(site, name);
        this.0.list(site, name, Role::Device);
        this
    }

    /// As another process revokes it.
    pub(crate) fn revoke(&self, site: &Site) {
        let what = Revocation::Certificate(self.0.id.clone());
        beside(site, async |store| store.revoke(&what, "test").await.expect("a database"));
    }

    /// The certificate and the key, as files.
    pub(crate) fn files(&self) -> [&str; 2] {
        [&self.0.cert, &self.0.key].map(|path| path.to_str().expect("a path of ours is text"))
    }

    /// What it speaks TLS with.
    pub(crate) fn tls(&self, server: &Server<'_>) -> Arc<ClientConfig> {
        let Self(card) = self;
        let cert = CertificateDer::from_pem_slice(card.pem.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&card.key).expect("a key");
        config(server).with_client_auth_cert(vec![cert], key).expect("they belong together").into()
    }

    /// TLS to the tunnel's port.
    pub(crate) fn connect(&self, server: &Server<'_>) -> io::Result<Tunnel> {
        Tunnel::over(tcp(server.tunnel_addr(), PATIENCE)?, server, Some(self))
    }

    /// The same from a given address of this machine.
    pub(crate) fn connect_from(&self, source: &str, server: &Server<'_>) -> io::Result<Tunnel> {
        let addr = server.tunnel_addr();
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        let source: IpAddr = source.parse().expect("an address");
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        let socket: TcpStream = socket.into();
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Tunnel::over(socket, server, Some(self))
    }

    /// A tunnel to `target`, or a panic.
    pub(crate) fn open(&self, server: &Server<'_>, target: &(impl Display + ?Sized)) -> Tunnel {
        let mut tunnel = self.connect(server).expect("connects to the tunnel's port");
        tunnel.opens(target);
        tunnel
    }

    /// A tunnel to `target`, if there is room for one.
    pub(crate) fn try_open(&self, server: &Server<'_>, target: &(impl Display + ?Sized)) -> Option<Tunnel> {
        let mut tunnel = self.connect(server).ok()?;
        tunnel.stream.write_all(connect(&target.to_string()).as_bytes()).ok()?;
        tunnel.head().ok()?.starts_with("HTTP/1.1 200 ").then_some(tunnel)
    }

    /// How a request for a tunnel is refused.
    pub(crate) fn refused(&self, server: &Server<'_>, target: &(impl Display + ?Sized)) -> Refusal {
        let mut tunnel = self.connect(server).expect("connects to the tunnel's port");
        tunnel.ask(&connect(&target.to_string())).expect("an answer")
    }
}

/// `CONNECT target`, as most clients write it.
pub(crate) fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A connection to the tunnel's port, and through it once it is open. Dropping it cuts it off.
pub(crate) struct Tunnel {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What the tunnel's port said instead of 200.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) message: String,
}

impl Tunnel {
    /// Completes a handshake with the tunnel's port, as whoever is given.
    pub(crate) fn over(tcp: TcpStream, server: &Server<'_>, who: Option<&Gateway>) -> io::Result<Self> {
        let nobody = || config(server).with_no_client_auth().into();
        Self::with(tcp, &who.map_or_else(nobody, |gateway| gateway.tls(server)))
    }

    /// The same, and resumes what was begun with the same configuration.
    pub(crate) fn with(mut tcp: TcpStream, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let connection = ClientConnection::new(Arc::clone(tls), localhost());
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: StreamOwned::new(connection, tcp) })
    }

    /// Whether the handshake resumed a session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Asks for a tunnel, which must be opened.
    pub(crate) fn opens(&mut self, target: &(impl Display + ?Sized)) {
        self.stream.write_all(connect(&target.to_string()).as_bytes()).expect("sends CONNECT");
        self.is_open();
    }

    /// Reads the answer to a request for a tunnel, which must be opened.
    pub(crate) fn is_open(&mut self) {
        let head = self.head().expect("an answer to CONNECT");
        assert_eq!(head, "HTTP/1.1 200 Connection established\r\n\r\n");
    }

    /// Sends anything that must be refused.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Refusal> {
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let head = self.head()?;
        let mut body = String::new();
        self.stream.read_to_string(&mut body)?;
        let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {head}{body}"));
        assert_eq!(body["code"], status, "{head}{body}");
        let message = body["message"].as_str().expect("a message").to_owned();
        Ok(Refusal { status, head, message })
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        Ok(String::from_utf8(head).expect("a head is text"))
    }

    /// Everything until the other end closes properly.
    pub(crate) fn rest(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).map(|_| text)
    }

    /// Ends our half of the tunnel within TLS, and leaves the socket open.
    pub(crate) fn end_of_stream(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("the server takes close_notify");
    }

    /// Ends our half of the socket, and says nothing of it in TLS.
    pub(crate) fn cut(&mut self) {
        self.stream.sock.shutdown(Shutdown::Write).expect("shuts down our half");
    }

    /// Drops the connection with a TCP reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream.sock).set_linger(Some(Duration::ZERO)).expect("sets SO_LINGER");
    }

    /// The gateway's own address.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("a connected socket has an address")
    }
}

impl Read for Tunnel {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl Write for Tunnel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A device behind the gateway: its own TLS to m0v, through the tunnel.
pub(crate) struct Device {
    stream: StreamOwned<ClientConnection, Tunnel>,
}

impl Device {
    pub(crate) fn over(mut tunnel: Tunnel, server: &Server<'_>) -> io::Result<Self> {
        let tls = config(server).with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(tls), localhost()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tunnel)?;
        }
        Ok(Self { stream: StreamOwned::new(connection, tunnel) })
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.stream, "{line}").and_then(|()| self.stream.flush()).expect("sends a line");
    }

    /// The next reply without its LF; empty at the end of the connection.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        let mut reply = Vec::new();
        let mut byte = [0];
        while self.stream.read(&mut byte)? == 1 && byte != *b"\n" {
            reply.extend(byte);
        }
        Ok(String::from_utf8(reply).expect("replies are text"))
    }

    pub(crate) fn thanked(&mut self, line: &str) {
        self.send(line);
        assert_eq!(self.reply().expect("a reply"), "Thank you");
    }

    pub(crate) fn tunnel(&mut self) -> &mut Tunnel {
        &mut self.stream.sock
    }
}

fn config(server: &Server<'_>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder().with_root_certificates(roots(server))
}

fn roots(server: &Server<'_>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&server.ca_pem()) {
        roots.add(certificate.expect("ca.pem is PEM")).expect("ca.pem holds a root");
    }
    roots
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}
