//! A ClientHello in words, for the engineer of the device that sent it. Pure.

use std::fmt;

use super::hello::ClientHello;
use super::names::{Extension, Group, Scheme, Suite, Version};
use super::verdict::{Compat, Verdict, likely_suite, verdict};

/// Everything a hello says and what becomes of it, as lines of text.
#[derive(Debug)]
pub struct Explanation<'a>(pub &'a ClientHello);

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = self.0;
        let version = Version(hello.version);
        match &hello.versions {
            Some(versions) => {
                lines(f, "versions", versions.iter().map(|v| Version(*v)))?;
                writeln!(f, "  (the old version field says {version})")?;
            }
            None => writeln!(f, "version: {version} at most")?,
        }
        lines(f, "cipher suites, in its order", hello.suites.iter().map(|v| Suite(*v)))?;
        match &hello.groups {
            Some(groups) => lines(f, "groups", groups.iter().map(|v| Group(*v)))?,
            None => writeln!(f, "groups: none named (no {}); P-256 is taken for granted", Extension(10))?,
        }
        match &hello.signatures {
            Some(schemes) => lines(f, "signature schemes", schemes.iter().map(|v| Scheme(*v)))?,
            None => writeln!(f, "signature schemes: none named (no {}); SHA-1 in TLS 1.2", Extension(13))?,
        }
        lines(f, "extensions", hello.extensions.iter().map(|v| Extension(*v)))?;
        self.particulars(f)?;
        writeln!(f)?;
        Compat::ALL.into_iter().try_for_each(|level| self.at(f, level))
    }
}

impl Explanation<'_> {
    fn particulars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = self.0;
        let name = hello.server_name.as_deref().unwrap_or("none (no name asked for)");
        writeln!(f, "server name: {name}")?;
        if let Some(limit) = hello.max_fragment_length {
            writeln!(f, "max_fragment_length: records of {limit} bytes at most")?;
        }
        if let Some(limit) = hello.record_size_limit {
            writeln!(f, "record_size_limit: {limit} bytes")?;
        }
        let resumption = match (hello.pre_shared_key, hello.ticket, hello.session_id_len) {
            (true, ..) => "offers a TLS 1.3 ticket of an earlier session",
            (_, Some(len), _) if len > 0 => "offers a ticket of an earlier session",
            (_, Some(_), _) => "asks for a ticket",
            // In TLS 1.3 the session id is filled for the sake of middleboxes.
            (.., 1..) if !hello.speaks(0x0304) => "offers the id of an earlier session",
            _ => "does not ask for a ticket",
        };
        writeln!(f, "resumption: {resumption}")
    }

    fn at(&self, f: &mut fmt::Formatter<'_>, level: Compat) -> fmt::Result {
        let served = |f: &mut fmt::Formatter<'_>, stack: &str, compat| match likely_suite(self.0, compat) {
            Some((version, suite)) => {
                let (version, suite) = (Version(version), Suite(suite));
                writeln!(f, "compat = \"{level}\": served by {stack}, likely {version} with {suite}")
            }
            None => writeln!(f, "compat = \"{level}\": served by {stack}"),
        };
        match verdict(self.0, level) {
            Verdict::Modern => served(f, "rustls", None),
            Verdict::Compat(at) => served(f, "s2n-tls", Some(at)),
            Verdict::Refused(reason) => {
                writeln!(f, "compat = \"{level}\": refused (alert {}): {}", reason.alert(), reason.lacking())
            }
        }
    }
}

fn lines<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    values: impl ExactSizeIterator<Item = T>,
) -> fmt::Result {
    writeln!(f, "{what}: {}", values.len())?;
    values.into_iter().try_for_each(|value| writeln!(f, "  {value}"))
}
