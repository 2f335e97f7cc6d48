//! What goes back on the wire: the words of an answer, never the decision.
//!
//! The words are for a firmware engineer at a serial console, who sees this one line
//! and nothing else. Only integers and the fixed words below go into it, so no reply
//! can be too long, echo what a stranger sent, or contain anything but printable ASCII.

use std::fmt;

/// Longest reply, `!OK ` included (DESIGN §2.2).
pub const MAX_REPLY_BYTES: usize = 200;

/// Longest reason: what [`MAX_REPLY_BYTES`] leaves after `!OK `.
pub const MAX_REASON_BYTES: usize = MAX_REPLY_BYTES - REFUSED.len();

const REFUSED: &str = "!OK ";

/// The line that tells a device why nothing was stored (without its line end).
#[must_use]
pub fn render(refusal: &Refusal) -> String {
    refuse(refusal)
}

/// The line that tells a device why it is not served at all: the reason keeps to the rules of
/// [`Refusal`].
#[must_use]
pub fn refuse(reason: &impl fmt::Display) -> String {
    format!("{REFUSED}{reason}")
}

/// Appends `line` and its line end to the replies of a burst.
pub fn push_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// Why a line was refused, rendered (`Display`) as the reason after `!OK `:
/// printable ASCII, at most [`MAX_REASON_BYTES`], naming field and column (1-based
/// byte in the line), never echoing a value other than a device's own id, hash or seq.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No row with this `pub_id`.
    #[error("unknown id {0}")]
    UnknownId(i64),
    /// No row with this `hash`.
    #[error("unknown hash {0}")]
    UnknownHash(i64),
    /// Both were given and name different devices.
    #[error("id {id} and hash {hash} are not the same device")]
    IdAndHashDisagree {
        /// The id as sent.
        id: i64,
        /// The hash as sent.
        hash: i64,
    },
    /// The line names no device, and neither does a certificate.
    #[error("id or hash is missing")]
    MissingDevice,
    /// The certificate of the connection belongs to another device.
    #[error("id {0} is not this device's")]
    NotThisDevice(i64),
    /// The same, for a line that names its device by hash.
    #[error("hash {0} is not this device's")]
    NotThisDevicesHash(i64),
    /// The id is a device's that has a certificate, and this connection showed none.
    #[error("id {0} needs its device's certificate")]
    NeedsCertificate(i64),
    /// The same, for a line that names its device by hash.
    #[error("hash {0} needs its device's certificate")]
    HashNeedsCertificate(i64),
    /// A resend of (id, timestamp, seq) that differs from the stored row.
    #[error("seq {0} was stored with other values")]
    SeqConflict(i64),
    /// The database says no to this one row, for its values.
    #[error("the database refused these values")]
    Rejected,
    /// `unknown_id = "create"`, and this address has made its share.
    #[error("unknown id, and this address made too many new ones: try again in an hour")]
    TooManyNew,
    /// The store cannot be reached and nothing was kept.
    #[error("database unavailable, try again")]
    Unavailable,
    /// The store is reachable, but has no room or no time.
    #[error("busy, try again")]
    Busy,
    /// This address asked more queries than it may.
    #[error("too many queries, try again in {seconds} s")]
    TooManyQueries {
        /// Until one is answered again.
        seconds: u64,
    },
    /// No more queries may be held, of this address or in all.
    #[error("too many queries are held already, ask without wait")]
    TooManyHeld,
    /// More bytes than `limits.max_line` without a line end; the connection is closed.
    #[error("line too long")]
    LineTooLong,
    /// A request line of HTTP; nothing on this connection will ever be for us.
    #[error("this port takes lines of JSON, not HTTP")]
    Http,
    /// The line begins with U+FEFF, as some editors write it.
    #[error("a byte order mark is not JSON (column 1)")]
    ByteOrderMark,
    /// The line is not UTF-8.
    #[error("not UTF-8 (column {column})")]
    NotUtf8 {
        /// Of the first byte that is not.
        column: usize,
    },
    /// The line is an array, a string, a number, or no JSON at all.
    #[error("expected a JSON object in braces (column {column})")]
    NotAnObject {
        /// Of the first byte that is not a space.
        column: usize,
    },
    /// The line breaks the grammar of JSON.
    #[error("{fault} (column {column}{})", Near(*.near))]
    Json {
        /// What is wrong.
        fault: Syntax,
        /// The key last read, if it is one we know.
        near: Option<Field>,
        /// Of the byte that is wrong, or where the line ends too early.
        column: usize,
    },
    /// A required field is absent.
    #[error("{0} is missing")]
    Missing(Field),
    /// JSON, but not what this field may be.
    #[error("{field} {fault} (column {column})")]
    Field {
        /// The field, in the spelling of the documentation.
        field: Field,
        /// What is wrong with it.
        fault: Fault,
        /// Of its value's first byte; of the key's for a fault of the key.
        column: usize,
    },
}

impl Refusal {
    /// One fixed word for counters.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::UnknownId(_) | Self::UnknownHash(_) => "unknown_device",
            Self::IdAndHashDisagree { .. } => "id_and_hash_disagree",
            Self::MissingDevice => "no_device",
            Self::NotThisDevice(_) | Self::NotThisDevicesHash(_) => "not_this_device",
            Self::NeedsCertificate(_) | Self::HashNeedsCertificate(_) => "needs_certificate",
            Self::SeqConflict(_) => "seq_conflict",
            Self::Rejected => "rejected",
            Self::TooManyNew => "too_many_new",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::TooManyQueries { .. } => "too_many_queries",
            Self::TooManyHeld => "too_many_held",
            Self::LineTooLong => "line_too_long",
            Self::Http => "http",
            Self::ByteOrderMark | Self::NotUtf8 { .. } => "not_utf8",
            Self::NotAnObject { .. } | Self::Json { .. } => "not_json",
            Self::Missing(_) => "missing_field",
            Self::Field { .. } => "bad_field",
        }
    }
}

/// A key of a line, as the documentation spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key on the wire; `name` spells it")]
pub enum Field {
    Id,
    Hash,
    Timestamp,
    Status,
    Voltage,
    Freq,
    Seq,
    DeviceName,
    Ssid,
    Email,
    Token,
    Wait,
    /// A key that goes to `extra`; never echoed.
    ExtraKey,
    /// The value of such a key, or something inside it; never echoed.
    ExtraValue,
}

impl Field {
    /// The key on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Hash => "hash",
            Self::Timestamp => "timestamp",
            Self::Status => "status",
            Self::Voltage => "voltage",
            Self::Freq => "freq",
            Self::Seq => "seq",
            Self::DeviceName => "deviceName",
            Self::Ssid => "ssid",
            Self::Email => "email",
            Self::Token => "token",
            Self::Wait => "wait",
            Self::ExtraKey => "extra key",
            Self::ExtraValue => "extra value",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a field; reads on after the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A string, a fraction, an exponent, …
    #[error("must be an integer")]
    NotInteger,
    /// An integer that no i64 holds.
    #[error("is outside signed 64 bits")]
    NotI64,
    /// Negative, where devices count from 1.
    #[error("must be positive")]
    NotPositive,
    /// Null, a string, …
    #[error("must be a number")]
    NotNumber,
    /// Infinite as a double, or zero as a double though not zero as written.
    #[error("is a number outside double precision")]
    NotDouble,
    /// Anything but `true` and `false`.
    #[error("must be true or false")]
    NotBool,
    /// Null, a number, …
    #[error("must be a string")]
    NotString,
    /// Beyond the year 9999: most likely milliseconds.
    #[error("must be Unix seconds, at most 253402300799")]
    NotSeconds,
    /// Longer than a query may be held.
    #[error("must be an integer from 0 to 60")]
    NotWait,
    /// Empty, or longer than the column.
    #[error("must be 1 to 32 bytes")]
    NotShort,
    /// More than 64 characters.
    #[error("is over 64 characters")]
    LongEmail,
    /// No @ with something on both sides, or blanks.
    #[error("is not an e-mail address")]
    NotEmail,
    /// Control characters in a name.
    #[error("has a control character")]
    Control,
    /// U+0000, which no text in the database can hold.
    #[error("has a NUL character")]
    Nul,
    /// Half a UTF-16 pair as `\u` escape.
    #[error("has half a surrogate pair")]
    Surrogate,
    /// The same key again, whatever its case.
    #[error("is given twice")]
    Twice,
    /// More than `extra` may hold.
    #[error("takes the extra keys over 8192 bytes")]
    TooBig,
    /// More levels than `extra` may have.
    #[error("is nested over 32 levels")]
    TooDeep,
    /// `seq` alone says nothing about which reading it numbers.
    #[error("needs a timestamp")]
    NeedsTimestamp,
    /// `seq` beside a timestamp that means now.
    #[error("needs a timestamp, and this one is before 2006: its clock was never set")]
    NeedsClock,
}

/// How a line breaks the grammar of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Syntax {
    /// The object is not closed.
    #[error("JSON ends too early")]
    EndsEarly,
    /// The object is closed and the line goes on.
    #[error("something follows the JSON object")]
    Trailing,
    /// No string where a key belongs.
    #[error("expected a key in double quotes")]
    ExpectedKey,
    /// No colon after a key.
    #[error("expected a colon")]
    ExpectedColon,
    /// Neither the next member nor the end of an object.
    #[error("expected , or }}")]
    ExpectedCommaOrBrace,
    /// Neither the next element nor the end of an array.
    #[error("expected , or ]")]
    ExpectedCommaOrBracket,
    /// A comma with nothing after it.
    #[error("comma before the closing brace")]
    TrailingComma,
    /// Nothing that begins a value.
    #[error("expected a value")]
    ExpectedValue,
    /// A misspelt literal.
    #[error("expected true, false or null")]
    ExpectedLiteral,
    /// A number as JSON does not write it (`01`, `1.`, `.5`).
    #[error("not a JSON number")]
    Number,
    /// A backslash before something else than JSON knows.
    #[error("not a JSON escape")]
    Escape,
    /// A byte below 32 inside a string.
    #[error("control character in a string")]
    Control,
    /// Anything else.
    #[error("not JSON")]
    Other,
}

/// The end of the parenthesis that holds the column.
struct Near(Option<Field>);

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |field| write!(f, ", near {field}"))
    }
}

#[cfg(test)]
mod tests;
