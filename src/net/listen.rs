//! Binding, with an error that says what to do.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Connections the kernel may hold for us while we are at the limit or busy; capped by
/// `net.core.somaxconn` (4096 on Linux since 5.4).
const BACKLOG: i32 = 4096;

/// Why a port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("[{section}] {key}: cannot bind {address}: {source}{hint}")]
pub struct BindError {
    section: &'static str,
    key: &'static str,
    address: SocketAddr,
    hint: &'static str,
    source: io::Error,
}

impl BindError {
    /// This machine has no such address family (IPv6 switched off).
    #[must_use]
    pub fn is_missing_family(&self) -> bool {
        self.address.is_ipv6()
            && (self.source.raw_os_error() == Some(libc::EAFNOSUPPORT)
                || self.source.kind() == io::ErrorKind::AddrNotAvailable)
    }
}

/// Binds and listens; returns the address as bound (port 0 asks the kernel for one). IPv6
/// sockets take IPv6 only, so that `0.0.0.0` and `[::]` go together.
///
/// # Errors
/// [`BindError`], naming section, address and cure.
pub fn bind(section: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    bind_for(section, "listen", address)
}

/// The same for an address from a key that is not called `listen`.
///
/// # Errors
/// As [`bind`].
pub fn bind_for(
    section: &'static str,
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let hint = |source: &io::Error| hint(source, address);
    open(address).map_err(|source| BindError { section, key, address, hint: hint(&source), source })
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn hint(error: &io::Error, address: SocketAddr) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if address.port() >= 32768 => {
            " (another program listens there, or an outgoing connection holds the port: it lies in the \
             kernel's ephemeral range; reserve it with net.ipv4.ip_local_reserved_ports)"
        }
        io::ErrorKind::AddrInUse => " (another program listens there: `ss -ltnp` shows which)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}
