//! A confirmation or a query on the confirm port, and a query's answer (DESIGN §2.3).

use super::extra::Extra;
use super::json::{Member, Value, read_line};
use super::packet::{clock_is_set, timestamp};
use super::reply::{Fault, Field, Refusal};
use serde::Serialize;
use std::fmt;

/// Longest `deviceName` and `ssid` in bytes: 802.11's bound of an SSID ([`Fault::NotShort`] says it too).
pub const MAX_NAME_BYTES: usize = 32;

/// Longest e-mail address in characters ([`Fault::LongEmail`] says it too).
pub const MAX_EMAIL_CHARS: usize = 64;

/// Longest a query is held, in seconds ([`Fault::NotWait`] says it too).
pub const MAX_WAIT_SECONDS: u8 = 60;

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

/// What a query is told of a confirmation; displays as its one line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    /// As confirmed.
    pub device_name: &'a str,
    /// Unix seconds, by the device's own clock.
    pub timestamp: i64,
    /// As confirmed.
    pub ssid: &'a str,
    /// The token.
    pub hash: i64,
    /// `pub.pub_id`; `None` in a conflict.
    pub id: Option<i64>,
    /// Two users configured one hash.
    pub conflict: bool,
}

/// A query that does not come as a line of JSON; every part is text.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `deviceName`.
    pub device_name: &'a str,
    /// `ssid`.
    pub ssid: &'a str,
    /// `token`; empty or `0` means absent.
    pub token: Option<&'a str>,
    /// `wait`.
    pub wait: Option<&'a str>,
}

/// A part of a query that is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct BadPart {
    /// Which.
    pub field: Field,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Asked<'_> {
    /// Judges the parts by the rules of a line.
    ///
    /// # Errors
    /// The first part that breaks one.
    pub fn judge(self) -> Result<Query, BadPart> {
        let of = |field| move |fault| BadPart { field, fault };
        check_name(self.device_name).map_err(of(Field::DeviceName))?;
        check_name(self.ssid).map_err(of(Field::Ssid))?;
        let token = self.token.filter(|token| !token.is_empty()).map(decimal).transpose();
        let token = token.map_err(of(Field::Token))?.filter(|token| *token != 0);
        let wait = match self.wait.map(decimal) {
            None => 0,
            Some(Ok(seconds)) => seconds_of_wait(seconds).ok_or(Fault::NotWait).map_err(of(Field::Wait))?,
            Some(Err(_)) => return Err(of(Field::Wait)(Fault::NotWait)),
        };
        Ok(Query { device_name: self.device_name.to_owned(), ssid: self.ssid.to_owned(), token, wait })
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Reads one line (without its line end).
///
/// # Errors
/// The [`Refusal`] to send back; nothing is stored.
pub fn parse(line: &[u8]) -> Result<Message, Refusal> {
    let mut draft = Draft::default();
    read_line(line, &KNOWN, |member| draft.take(&member))?;
    draft.finish()
}

const KNOWN: [Field; 7] =
    [Field::DeviceName, Field::Timestamp, Field::Ssid, Field::Hash, Field::Email, Field::Token, Field::Wait];

#[derive(Default)]
struct Draft<'a> {
    device_name: Option<String>,
    ssid: Option<String>,
    hash: Option<i64>,
    email: Option<String>,
    timestamp: Option<i64>,
    /// Judged at the end: in a confirmation this is just an unknown key.
    token: Option<Value<'a>>,
    /// As `token`.
    wait: Option<Value<'a>>,
    /// `token` and `wait` included.
    extra: Extra,
}

impl<'a> Draft<'a> {
    fn take(&mut self, member: &Member<'a>) -> Result<(), Refusal> {
        let value = member.value;
        match member.known {
            None => return self.extra.add(member),
            Some(Field::Token) => self.token = Some(value),
            Some(Field::Wait) => self.wait = Some(value),
            Some(field) => return self.set(field, value).map_err(|fault| value.refuse(field, fault)),
        }
        self.extra.add(member)
    }

    fn set(&mut self, field: Field, value: Value<'a>) -> Result<(), Fault> {
        match field {
            Field::DeviceName => self.device_name = Some(name(value)?),
            Field::Ssid => self.ssid = Some(name(value)?),
            Field::Hash => self.hash = value.optional_integer()?,
            Field::Email => self.email = email(value)?,
            Field::Timestamp => self.timestamp = timestamp(value)?,
            // `token` and `wait`, and none else of `KNOWN`.
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, Refusal> {
        let device_name = self.device_name.ok_or(Refusal::Missing(Field::DeviceName))?;
        let ssid = self.ssid.ok_or(Refusal::Missing(Field::Ssid))?;
        if let Some(hash) = self.hash {
            let timestamp = self.timestamp.filter(clock_is_set);
            let (email, extra) = (self.email, self.extra.into_text());
            return Ok(Message::Confirmation(Confirmation {
                device_name,
                ssid,
                hash,
                email,
                timestamp,
                extra,
            }));
        }
        let token = judge(self.token, Field::Token, Value::optional_integer)?.flatten();
        let wait = judge(self.wait, Field::Wait, wait)?.unwrap_or(0);
        Ok(Message::Query(Query { device_name, ssid, token, wait }))
    }
}

fn judge<'a, T>(
    value: Option<Value<'a>>,
    field: Field,
    read: impl Fn(Value<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Refusal> {
    value.map(|value| read(value).map_err(|fault| value.refuse(field, fault))).transpose()
}

fn name(value: Value<'_>) -> Result<String, Fault> {
    let name = value.string()?;
    check_name(&name)?;
    Ok(name.into_owned())
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Fault::NotShort);
    }
    if name.contains(char::is_control) {
        return Err(Fault::Control);
    }
    Ok(())
}

fn email(value: Value<'_>) -> Result<Option<String>, Fault> {
    if matches!(value.text, "null" | "0" | "-0" | "\"\"") {
        return Ok(None);
    }
    let email = value.string()?;
    check_email(&email)?;
    Ok(Some(email.into_owned()))
}

/// Whether this is an e-mail address a confirmation may name.
///
/// # Errors
/// What is wrong with it.
pub fn check_email(email: &str) -> Result<(), Fault> {
    if email.chars().count() > MAX_EMAIL_CHARS {
        return Err(Fault::LongEmail);
    }
    if email.contains(char::is_control) {
        return Err(Fault::Control);
    }
    let is_address = email.rsplit_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
    if !is_address || email.contains(char::is_whitespace) {
        return Err(Fault::NotEmail);
    }
    Ok(())
}

fn wait(value: Value<'_>) -> Result<u8, Fault> {
    value.integer().ok().and_then(seconds_of_wait).ok_or(Fault::NotWait)
}

fn seconds_of_wait(seconds: i64) -> Option<u8> {
    u8::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS)
}

fn decimal(text: &str) -> Result<i64, Fault> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NotInteger);
    }
    text.parse().map_err(|_| Fault::NotI64)
}

#[cfg(test)]
mod tests;
