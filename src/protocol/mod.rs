//! Bytes to messages and back: framing, packets, confirmations, replies.
//! Pure: no I/O, no clock, no log, no store. The caller passes *now*.
//!
//! A line's way through the room: [`mod@line`] cuts it out, `json` walks its members with
//! serde_json, [`packet`] or [`confo`] judges the known ones, `extra` the unknown ones,
//! and [`reply`] has the words when one of them says no. [`body`] reads the HTTPS port's bodies with
//! the same eyes.

pub mod body;
pub mod confo;
mod extra;
mod json;
pub mod line;
pub mod packet;
pub mod reply;

#[cfg(test)]
mod tests;
