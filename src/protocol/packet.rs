//! A meter's reading: one JSON line to a [`Packet`] (DESIGN §2.2).

use super::extra::Extra;
use super::json::{Member, Value, read_line};
use super::reply::{Fault, Field, Refusal};

/// 2006-01-02 in Unix seconds: a device's clock that says less was never set.
pub const CLOCK_IS_SET: i64 = 1_136_239_445;

/// The last second of the year 9999 ([`Fault::NotSeconds`] says it too).
pub const LATEST_TIMESTAMP: i64 = 253_402_300_799;

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
pub fn parse(line: &[u8]) -> Result<Packet, Refusal> {
    let mut draft = Draft::default();
    read_line(line, &KNOWN, |member| draft.take(&member))?;
    draft.finish()
}

/// Unix seconds as sent, for both messages. What [`clock_is_set`] does not hold for means now.
pub(super) fn timestamp(value: Value<'_>) -> Result<Option<i64>, Fault> {
    match value.optional_integer()? {
        Some(seconds) if seconds > LATEST_TIMESTAMP => Err(Fault::NotSeconds),
        seconds => Ok(seconds),
    }
}

/// Whether a time is later than what a clock shows that was never set.
pub fn clock_is_set(seconds: &i64) -> bool {
    *seconds >= CLOCK_IS_SET
}

const KNOWN: [Field; 7] =
    [Field::Id, Field::Hash, Field::Timestamp, Field::Status, Field::Voltage, Field::Freq, Field::Seq];

#[derive(Default)]
struct Draft<'a> {
    device: PubRef,
    timestamp: Option<i64>,
    status: Option<bool>,
    voltage: Option<f64>,
    frequency: Option<f64>,
    /// Where it stands as well: it is judged once the timestamp is known.
    seq: Option<(i64, Value<'a>)>,
    extra: Extra,
}

impl<'a> Draft<'a> {
    fn take(&mut self, member: &Member<'a>) -> Result<(), Refusal> {
        match member.known {
            Some(field) => self.set(field, member.value).map_err(|fault| member.value.refuse(field, fault)),
            None => self.extra.add(member),
        }
    }

    fn set(&mut self, field: Field, value: Value<'a>) -> Result<(), Fault> {
        match field {
            Field::Id => self.device.id = id(value)?,
            Field::Hash => self.device.hash = value.optional_integer()?,
            Field::Timestamp => self.timestamp = timestamp(value)?,
            Field::Status => self.status = Some(value.boolean()?),
            Field::Voltage => self.voltage = Some(value.number()?),
            Field::Freq => self.frequency = Some(value.number()?),
            Field::Seq => self.seq = Some((value.integer()?, value)),
            // None of `KNOWN`.
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Packet, Refusal> {
        let protected = self.status.ok_or(Refusal::Missing(Field::Status))?;
        let timestamp = self.timestamp.filter(clock_is_set);
        if let (Some((_, value)), None) = (self.seq, timestamp) {
            let fault = if self.timestamp.is_some() { Fault::NeedsClock } else { Fault::NeedsTimestamp };
            return Err(value.refuse(Field::Seq, fault));
        }
        Ok(Packet {
            device: self.device,
            timestamp,
            voltage: self.voltage,
            frequency: self.frequency,
            protected,
            seq: self.seq.map(|(seq, _)| seq),
            extra: self.extra.into_text(),
        })
    }
}

fn id(value: Value<'_>) -> Result<Option<i64>, Fault> {
    match value.optional_integer()? {
        Some(id) if id < 0 => Err(Fault::NotPositive),
        id => Ok(id),
    }
}

#[cfg(test)]
mod tests;
