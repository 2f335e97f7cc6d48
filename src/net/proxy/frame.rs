//! Where a header ends: found before it is read, so that no peer makes us keep more than a bound.

use super::fault::Fault;

/// The longest v1 header, CR LF included; the specification's bound.
pub const MAX_V1: usize = 107;
/// The longest v2 header read. The specification allows 65551 bytes; the largest thing that is told in
/// one is a client's certificate of 2 to 4 KB, and HAProxy's own buffer ends at this size.
pub const MAX_V2: usize = 16 * 1024;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of either version begins with, and no line or request does. Of v2 that much, because
/// what follows would make a line.
pub const BEGINNINGS: [&[u8]; 2] = [V1_BEGIN, b"\r\n\r\n\0"];
/// Signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;
const VERSION_2: u8 = 0x20;

/// Which versions of the header are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The text form alone.
    V1,
    /// The binary form alone.
    V2,
    /// Either.
    Any,
}

/// A header cut out of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Incomplete,
    V1(&'a [u8]),
    V2(&'a [u8]),
}

/// Cuts out the header that `bytes` begin with.
pub(super) fn find(bytes: &[u8], versions: Versions) -> Result<Frame<'_>, Fault> {
    match (begins(bytes, V1_BEGIN), begins(bytes, V2_BEGIN)) {
        (Begins::No, Begins::No) => Err(Fault::no_header(bytes)),
        (Begins::Yes, _) if versions == Versions::V2 => Err(Fault::Version { sent: "v1", wanted: "v2" }),
        (_, Begins::Yes) if versions == Versions::V1 => Err(Fault::Version { sent: "v2", wanted: "v1" }),
        (Begins::Yes, _) => line(bytes),
        (_, Begins::Yes) => block(bytes),
        (Begins::Perhaps, _) | (_, Begins::Perhaps) => Ok(Frame::Incomplete),
    }
}

#[derive(PartialEq, Eq)]
enum Begins {
    Yes,
    No,
    Perhaps,
}

fn begins(bytes: &[u8], with: &[u8]) -> Begins {
    match bytes.get(..with.len()) {
        Some(start) if start == with => Begins::Yes,
        None if with.starts_with(bytes) => Begins::Perhaps,
        _ => Begins::No,
    }
}

fn line(bytes: &[u8]) -> Result<Frame<'_>, Fault> {
    let within = bytes.get(..MAX_V1).unwrap_or(bytes);
    match within.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Frame::V1(within.get(..=end).unwrap_or_default())),
        None if within.len() == MAX_V1 => Err(Fault::TooLong { max: MAX_V1 }),
        None => Ok(Frame::Incomplete),
    }
}

fn block(bytes: &[u8]) -> Result<Frame<'_>, Fault> {
    let Some(&[version, _, high, low]) = bytes.get(V2_BEGIN.len()..V2_FIXED) else {
        return Ok(Frame::Incomplete);
    };
    // The length's meaning is the version's.
    if version & 0xf0 != VERSION_2 {
        return Err(Fault::V2(ppp::v2::ParseError::Version(version & 0xf0)));
    }
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_V2 {
        return Err(Fault::TooLong { max: MAX_V2 });
    }
    Ok(bytes.get(..length).map_or(Frame::Incomplete, Frame::V2))
}
