//! Who a device is.
//!
//! [`judge`] says what a presented certificate is worth; [`name`] what a device may be called.
//! Rows and transactions are the store's ([`crate::store::devices`]).

pub mod judge;
pub mod name;
