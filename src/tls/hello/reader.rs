//! From a connection's first bytes to one ClientHello: records put together, within bounds.

use super::ClientHello;
use super::unreadable::{Malformed, NotTls, Unreadable};

/// The longest ClientHello message read; longer ones are refused. Post-quantum hellos are below 2 KiB.
pub const MAX_HELLO: usize = 16 * 1024;
/// The most bytes of records read for one hello: room for a hello cut into small records.
pub const MAX_RECORDS: usize = 32 * 1024;

pub(super) const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
pub(super) const MAX_RECORD: usize = 16 * 1024;
pub(super) const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Feeds on a connection's first bytes until they are a ClientHello, or cannot be one.
/// The result does not depend on how the bytes were cut.
#[derive(Debug, Default)]
pub struct Reader {
    header: [u8; RECORD_HEADER],
    header_len: usize,
    record_left: usize,
    message: Vec<u8>,
    seen: usize,
}

impl Reader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. `Ok(None)`: incomplete. After any other answer the reader is done.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, Unreadable> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.record_left == 0 {
                self.count(1)?;
                self.push_header(byte)?;
                bytes = rest;
            } else {
                let wanted = self.record_left.min(self.message_left());
                let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.count(taken.len())?;
                self.message.extend_from_slice(taken);
                self.record_left -= taken.len();
                bytes = rest;
                self.check_message_header()?;
                if self.message_left() == 0 {
                    let body = self.message.get(MESSAGE_HEADER..).unwrap_or_default();
                    return ClientHello::parse(body).map(Some).map_err(Unreadable::Malformed);
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.seen += bytes;
        if self.seen > MAX_RECORDS {
            return Err(Unreadable::Malformed(Malformed::TooManyBytes));
        }
        Ok(())
    }

    /// How many bytes the message still lacks, as far as is known.
    fn message_left(&self) -> usize {
        let total = match self.message.get(..MESSAGE_HEADER) {
            Some(&[_, a, b, c]) => {
                MESSAGE_HEADER + usize::from(a) * 65536 + usize::from(b) * 256 + usize::from(c)
            }
            _ => MESSAGE_HEADER,
        };
        total.saturating_sub(self.message.len())
    }

    fn push_header(&mut self, byte: u8) -> Result<(), Unreadable> {
        if let Some(slot) = self.header.get_mut(self.header_len) {
            *slot = byte;
        }
        self.header_len += 1;
        if self.header_len < RECORD_HEADER {
            return Ok(());
        }
        self.header_len = 0;
        let [kind, major, _minor, high, low] = self.header;
        let first = self.message.is_empty() && self.seen == RECORD_HEADER;
        if kind != HANDSHAKE || major != 3 {
            return Err(if first {
                Unreadable::NotTls(NotTls::classify(self.header))
            } else {
                Unreadable::Malformed(Malformed::OtherRecord(kind))
            });
        }
        self.record_left = usize::from(u16::from_be_bytes([high, low]));
        match self.record_left {
            0 => Err(Unreadable::Malformed(Malformed::EmptyRecord)),
            len if len > MAX_RECORD => Err(Unreadable::Malformed(Malformed::LongRecord(len))),
            _ => Ok(()),
        }
    }

    fn check_message_header(&self) -> Result<(), Unreadable> {
        match self.message.first() {
            Some(&kind) if kind != CLIENT_HELLO => {
                return Err(Unreadable::Malformed(Malformed::OtherMessage(kind)));
            }
            _ => {}
        }
        let total = self.message.len() + self.message_left();
        if total > MESSAGE_HEADER + MAX_HELLO {
            return Err(Unreadable::Malformed(Malformed::LongHello(total - MESSAGE_HEADER)));
        }
        Ok(())
    }
}
