//! Bytes to messages and back: framing, packets, confirmations, replies.
//! Pure: no I/O, no clock, no log, no store. The caller passes *now*.

pub mod confo;
pub mod line;
pub mod packet;
pub mod reply;
