//! Port 38981: packets in, `Thank you` out once they are durable.
//!
//! `session` parses and resolves the device, `batch` queues, `writer` commits what is waiting,
//! `spool` keeps it while PostgreSQL is away and `drain` brings it there, `known` remembers which
//! devices exist, `admit` bounds how many strangers may create.

mod admit;
mod batch;
mod drain;
mod known;
mod session;
mod speaker;
mod spool;
mod writer;

pub use admit::Creation;
pub use batch::{Batcher, Lanes, Verdict};
pub use drain::Drain;
pub use known::Known;
pub use session::{MeterRoom, MeterService};
pub use spool::Spool;
