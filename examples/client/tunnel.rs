//! The way through m0v's tunnel, as a site gateway goes it: TLS with a client certificate, CONNECT, and
//! then whatever the device says, which is TLS again.

use super::{Fault, PATIENCE, dial, shake_hands};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

/// Longest answer to CONNECT that is read.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// What a connection to m0v goes over.
pub(super) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// A proxy in front of m0v.
pub(super) struct Tunnel {
    place: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl Tunnel {
    /// `place` is the proxy's `host:port`; its certificate must be for that host.
    pub(super) fn new(place: &str, tls: ClientConfig) -> Result<Self, Fault> {
        let no_place = || Fault::Setup(format!("--tunnel must be HOST:PORT, got {place}"));
        let (host, port) = place.rsplit_once(':').ok_or_else(no_place)?;
        let port = port.parse().map_err(|_| no_place())?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| no_place())?;
        Ok(Self { place: place.to_owned(), host, port, name, tls: Arc::new(tls) })
    }

    /// A connection to `target` (`host:port`) through the proxy.
    pub(super) fn connect(&self, target: &str) -> Result<Box<dyn Wire>, Fault> {
        let broken = |cause| Fault::Connection { place: self.place.clone(), cause };
        let mut socket = dial(&self.host, self.port, &self.place)?;
        let connection = shake_hands(&self.tls, &self.name, &mut socket, &self.place)?;
        let mut stream = Through(StreamOwned::new(connection, socket));
        let asked = write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        asked.and_then(|()| stream.flush()).map_err(broken)?;
        let head = read_head(&mut stream).map_err(broken)?;
        let status = head.lines().next().unwrap_or_default();
        println!("{} > CONNECT {target}", self.port);
        println!("{} < {status}", self.port);
        if status.split(' ').nth(1) == Some("200") {
            return Ok(Box::new(stream));
        }
        // The reason is in the body; its length is bounded as that of the head is.
        let mut reason = String::new();
        let limit = u64::try_from(MAX_HEAD_BYTES).unwrap_or(u64::MAX);
        (&mut stream).take(limit).read_to_string(&mut reason).ok();
        Err(Fault::Answer(format!("no tunnel to {target}: {status} {reason}")))
    }
}

/// A tunnel; says goodbye when dropped, so that the server need not take it for one that broke.
struct Through(StreamOwned<ClientConnection, TcpStream>);

impl Read for Through {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Through {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().ok();
    }
}

/// Byte by byte, because what follows the head is the device's.
fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if head.len() == MAX_HEAD_BYTES || stream.read(&mut byte)? == 0 {
            let what = format!("no whole answer to CONNECT within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
