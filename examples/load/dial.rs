//! How a connection is made: address, TLS, the name to verify.

use crate::{
    Fault,
    options::{Common, TlsVersion},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Connect and handshake together: above any storm that is still being served.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, with or without TLS.
pub(crate) type Wire = Pin<Box<dyn Stream>>;

/// What both kinds of connection can do.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// Makes connections to one server.
pub(crate) struct Dial {
    to: SocketAddr,
    from: Vec<IpAddr>,
    turn: AtomicUsize,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dial {
    pub(crate) fn new(options: &Common, resume: bool) -> Result<Self, Fault> {
        let (host, port) = (options.host.as_str(), options.port);
        let to = (host, port)
            .to_socket_addrs()
            .map_err(|error| format!("--host {host}: {error}"))?
            .next()
            .ok_or_else(|| format!("--host {host} has no address"))?;
        let name = options.server_name.as_deref().unwrap_or(host).to_owned();
        let tls = if options.plain {
            None
        } else {
            let name = ServerName::try_from(name).map_err(|error| format!("--server-name: {error}"))?;
            Some((TlsConnector::from(Arc::new(config(options, resume)?)), name))
        };
        Ok(Self { to, from: options.from.clone(), turn: AtomicUsize::new(0), tls })
    }

    /// Whom.
    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    /// Connects and shakes hands; true if a session was resumed.
    pub(crate) async fn connect(&self) -> io::Result<(Wire, bool)> {
        timeout(PATIENCE, self.establish())
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 60 s")))
    }

    async fn establish(&self) -> io::Result<(Wire, bool)> {
        let tcp = self.tcp().await?;
        tcp.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else { return Ok((Box::pin(tcp), false)) };
        let stream = connector.connect(name.clone(), tcp).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Ok((Box::pin(stream), resumed))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !self.from.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            socket.bind(SocketAddr::new(self.from[turn % self.from.len()], 0))?;
        }
        socket.connect(self.to).await
    }
}

fn config(options: &Common, resume: bool) -> Result<ClientConfig, Fault> {
    let versions: &[&SupportedProtocolVersion] = match options.tls {
        None => rustls::ALL_VERSIONS,
        Some(TlsVersion::V12) => &[&rustls::version::TLS12],
        Some(TlsVersion::V13) => &[&rustls::version::TLS13],
    };
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots(&options.ca)?)
        .with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn roots(path: &Path) -> Result<RootCertStore, Fault> {
    let cannot = |error: &dyn std::fmt::Display| format!("--ca {}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| cannot(&error))? {
        let certificate = certificate.map_err(|error| cannot(&error))?;
        roots.add(certificate).map_err(|error| cannot(&error))?;
    }
    if roots.is_empty() {
        return Err(cannot(&"no certificate in it"));
    }
    Ok(roots)
}
