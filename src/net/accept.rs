//! Accept errors by what they mean (accept(2)): the loop never ends because of one.

use std::io;
use std::time::Duration;

/// Pause after an error that will not go away by trying at once.
pub const PAUSE: Duration = Duration::from_millis(100);

/// What an accept error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The peer was gone before it was accepted: go on.
    PeerGone,
    /// Out of descriptors or memory: pause, and tell the operator which limit.
    Exhausted(&'static str),
    /// Anything else: pause and go on.
    Other,
}

impl AcceptError {
    /// Sorts `error` by its errno. Linux hands pending network errors of the new socket to accept.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE) => {
                Self::Exhausted("open files of this process: raise LimitNOFILE (ulimit -n)")
            }
            Some(libc::ENFILE) => Self::Exhausted("open files of this machine: raise fs.file-max"),
            Some(libc::ENOMEM | libc::ENOBUFS) => Self::Exhausted("memory for sockets: see net.ipv4.tcp_mem"),
            _ => match error.kind() {
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable => Self::PeerGone,
                _ => Self::Other,
            },
        }
    }

    /// The word of the metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::PeerGone => "peer gone",
            Self::Exhausted(_) => "out of descriptors or memory",
            Self::Other => "accept error",
        }
    }
}
