//! Logs, metrics, health.

pub mod logs;
