//! A meter's reading: one JSON line to a [`Packet`] (DESIGN §2.2).

use super::reply::Refusal;

/// The device a line speaks of, as the line names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PubRef {
    /// `pub.pub_id`.
    pub id: Option<i64>,
    /// `pub.hash`.
    pub hash: Option<i64>,
}

/// A reading, checked, and exactly as sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Whose reading; empty when the line names neither id nor hash.
    pub device: PubRef,
    /// Unix seconds; `None` means now (absent, or a clock that was never set).
    pub timestamp: Option<i64>,
    /// Volts.
    pub voltage: Option<f64>,
    /// Hertz.
    pub frequency: Option<f64>,
    /// `status` on the wire.
    pub protected: bool,
    /// The device's own number of this reading; makes a resend harmless.
    pub seq: Option<i64>,
    /// Unknown keys as one JSON object text, values byte for byte as sent.
    pub extra: Option<String>,
}

/// Reads one line (without its line end).
///
/// # Errors
/// The [`Refusal`] to send back; nothing is stored.
pub fn parse(_line: &[u8]) -> Result<Packet, Refusal> {
    Err(Refusal::Busy)
}
