//! Port 38979: a device confirms, the app asks. [`Lookup`] answers the app on the HTTPS port too.

mod lookup;
pub mod rules;
mod session;

pub use lookup::Lookup;
pub use session::{ConfirmRoom, ConfirmService, NOT_FOUND, TURNS, answer};
