//! A confirmation or a query on the confirm port (DESIGN §2.3).

use super::reply::Refusal;

/// What a line on the confirm port asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A device confirms that it was provisioned.
    Confirmation(Confirmation),
    /// The app asks whether a device confirmed.
    Query(Query),
}

/// A device's confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// `deviceName`, 1 to 32 bytes.
    pub device_name: String,
    /// `ssid`, 1 to 32 bytes.
    pub ssid: String,
    /// The token.
    pub hash: i64,
    /// Who configured it; stored as given, compared without regard to case.
    pub email: Option<String>,
    /// Unix seconds; `None` means now.
    pub timestamp: Option<i64>,
    /// Unknown keys as one JSON object text.
    pub extra: Option<String>,
}

/// The app's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// `deviceName`, 1 to 32 bytes.
    pub device_name: String,
    /// `ssid`, 1 to 32 bytes.
    pub ssid: String,
    /// `token`: only the confirmation of exactly this hash.
    pub token: Option<i64>,
    /// `wait`: seconds to hold the answer until one arrives, 0 to 60.
    pub wait: u8,
}

/// Reads one line (without its line end).
///
/// # Errors
/// The [`Refusal`] to send back; nothing is stored.
pub fn parse(_line: &[u8]) -> Result<Message, Refusal> {
    Err(Refusal::Busy)
}
