//! What goes back on the wire: the words of an answer, never the decision.

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
    /// A resend of (id, timestamp, seq) that differs from the stored row.
    #[error("seq {0} was stored with other values")]
    SeqConflict(i64),
    /// The store cannot be reached and nothing was kept.
    #[error("database unavailable, try again")]
    Unavailable,
    /// The store is reachable, but has no room or no time.
    #[error("busy, try again")]
    Busy,
}

/// Longest reply, `!OK ` included (DESIGN §2.2).
pub const MAX_REPLY_BYTES: usize = 200;
