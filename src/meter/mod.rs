//! Port 38981: packets in, `Thank you` out once they are durable.
//!
//! `session` parses and resolves the device, `batch` commits what is waiting, `known`
//! remembers which devices exist, `admit` bounds how many strangers may create.

mod admit;
mod batch;
mod known;
mod session;

pub use admit::Creation;
pub use batch::{Batcher, Verdict};
pub use known::Known;
pub use session::{MeterRoom, MeterService};
