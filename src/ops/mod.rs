//! Logs, metrics, health: what the operator sees.
//!
//! One function of [`events`] per event does both the log line and the metric.

pub mod accounts;
pub mod admin;
pub mod connection;
pub mod devices;
pub mod events;
pub mod handshakes;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod party;
pub mod stored;
pub mod tunnels;
