//! Port 38979: a device confirms, the app asks.

pub mod rules;
mod session;

pub use session::{ConfirmRoom, ConfirmService};
