//! A device or an app: a TLS connection that verifies the server with `ca.pem`.

use crate::harness::PATIENCE;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Longest reply to a line, `!OK ` included.
const MAX_REPLY_BYTES: usize = 200;

pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

impl Client {
    /// Connects and completes the handshake, or panics.
    pub(crate) fn connect(addr: SocketAddr, ca_pem: &[u8]) -> Self {
        Self::try_connect(addr, ca_pem).unwrap_or_else(|e| panic!("no TLS connection to {addr}: {e}"))
    }

    /// Connects and completes the handshake.
    pub(crate) fn try_connect(addr: SocketAddr, ca_pem: &[u8]) -> io::Result<Self> {
        Self::over(tcp(addr, PATIENCE)?, ca_pem)
    }

    /// Connects from a given address of this machine.
    pub(crate) fn try_connect_from(source: IpAddr, addr: SocketAddr, ca_pem: &[u8]) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        Self::over(with_deadline(socket.into(), PATIENCE)?, ca_pem)
    }

    /// Completes a handshake over a TCP connection.
    pub(crate) fn over(mut socket: TcpStream, ca_pem: &[u8]) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(connection, socket), received: Vec::new() })
    }

    /// Sends a line and its LF.
    pub(crate) fn send(&mut self, line: impl AsRef<[u8]>) {
        self.send_raw(&[line.as_ref(), b"\n"].concat());
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("the server takes what is sent");
    }

    /// Sends bytes as they are; the server may have closed.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Hands bytes to TLS and to the socket, and never reads.
    pub(crate) fn push_without_reading(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.stream.conn.writer().write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            while self.stream.conn.wants_write() {
                self.stream.conn.write_tls(&mut self.stream.sock)?;
            }
        }
        Ok(())
    }

    /// The next reply without its LF; panics when the connection ends instead.
    pub(crate) fn reply(&mut self) -> String {
        match self.next_reply() {
            Ok(Some(reply)) => reply,
            Ok(None) => panic!("the server closed the connection instead of replying"),
            Err(e) => panic!("no reply: {e}"),
        }
    }

    /// Sends a line and returns its reply.
    pub(crate) fn ask(&mut self, line: impl AsRef<[u8]>) -> String {
        self.send(line);
        self.reply()
    }

    /// Sends a line that must be answered with `Thank you`.
    pub(crate) fn thanked(&mut self, line: impl AsRef<[u8]>) {
        let reply = self.ask(&line);
        assert_eq!(reply, "Thank you", "for {}", String::from_utf8_lossy(line.as_ref()));
    }

    /// Sends a line that must be refused, and returns the reason without `!OK `.
    pub(crate) fn refused(&mut self, line: impl AsRef<[u8]>) -> String {
        let reply = self.ask(&line);
        let reason = reply.strip_prefix("!OK ");
        let reason = reason.unwrap_or_else(|| {
            panic!("{reply:?} is no refusal of {}", String::from_utf8_lossy(line.as_ref()))
        });
        reason.to_owned()
    }

    /// The next reply without its LF; `None` when the server ended the connection with `close_notify`.
    pub(crate) fn next_reply(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.pop();
                return Ok(Some(checked(line)));
            }
            let mut chunk = [0; 4096];
            match self.read(&mut chunk)? {
                0 if self.received.is_empty() => return Ok(None),
                0 => return Err(io::Error::other(format!("half a reply: {:?}", self.received))),
                length => self.received.extend(chunk.iter().take(length)),
            }
        }
    }

    /// Reads and never writes: what the server said must be heard even when it takes nothing any more.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.conn.reader().read(chunk) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            match self.stream.conn.read_tls(&mut self.stream.sock) {
                // A process that was stopped and goes on (SIGCONT) finds its timed reads cut off: signal(7).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            self.stream.conn.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Insists that nothing more comes before the connection ends, in whatever way.
    pub(crate) fn ends(mut self) {
        match self.next_reply() {
            Ok(None) => {}
            Ok(Some(reply)) => panic!("{reply:?} instead of the end of the connection"),
            Err(e) => assert!(!is_timeout(&e), "the connection stays open"),
        }
    }

    /// Insists that nothing more comes before `close_notify`.
    pub(crate) fn ends_properly(mut self) {
        assert_eq!(self.next_reply().expect("close_notify"), None);
    }

    /// Insists that no reply comes for `pause`. A wrong server may pass; a right one never fails.
    pub(crate) fn stays_silent(&mut self, pause: Duration) {
        self.stream.sock.set_read_timeout(Some(pause)).expect("sets a deadline");
        match self.next_reply() {
            Err(e) if is_timeout(&e) => {}
            other => panic!("{other:?} instead of silence"),
        }
        self.stream.sock.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    }

    /// Ends our half: `close_notify` and FIN. Replies can still be read.
    pub(crate) fn end_of_stream(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("the server takes close_notify");
        self.stream.sock.shutdown(Shutdown::Write).expect("shuts down our half");
    }

    /// Drops the connection with a TCP reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream.sock).set_linger(Some(Duration::ZERO)).expect("sets SO_LINGER");
    }

    /// Our end of the connection: the peer in the server's log.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("a connected socket has an address")
    }

    /// The server's own certificate.
    pub(crate) fn server_certificate(&self) -> CertificateDer<'static> {
        self.server_chain().first().expect("the server has a certificate").clone()
    }

    /// What the server sent: leaf first.
    pub(crate) fn server_chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = self.stream.conn.peer_certificates().expect("the handshake is complete");
        chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
    }
}

/// A TCP connection whose reads and writes end after `deadline`.
pub(crate) fn tcp(addr: SocketAddr, deadline: Duration) -> io::Result<TcpStream> {
    with_deadline(TcpStream::connect_timeout(&addr, PATIENCE)?, deadline)
}

/// Insists that the server ends a connection that is not TLS; returns what it sent before.
pub(crate) fn ends(mut socket: TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    if let Err(e) = socket.read_to_end(&mut received) {
        assert!(!is_timeout(&e), "the connection stays open");
    }
    received
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn with_deadline(socket: TcpStream, deadline: Duration) -> io::Result<TcpStream> {
    socket.set_read_timeout(Some(deadline))?;
    socket.set_write_timeout(Some(deadline))?;
    Ok(socket)
}

/// What holds for every reply: text, and a refusal is short printable ASCII.
fn checked(line: Vec<u8>) -> String {
    let line = String::from_utf8(line).expect("replies are text");
    if line.starts_with("!OK") {
        assert!(line.len() <= MAX_REPLY_BYTES, "{} bytes: {line}", line.len());
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII: {line:?}");
        assert!(line.starts_with("!OK ") && line.len() > 4, "a refusal without a reason: {line:?}");
    }
    line
}
