//! The built binary at its sockets: one test binary, one module per chapter of the contract.
//!
//! `harness` starts the server, `client` speaks TLS to it, `database` owns the PostgreSQL cluster,
//! `rows` reads back what was stored. Everything else is tests. `M0V_TEST_LONG=1` makes the loops long.

#[macro_use]
mod harness;
mod client;
mod database;
mod load;
mod rows;

mod admin;
mod certificates;
mod commands;
mod configuration;
mod confirm;
mod crashes;
mod faults;
mod foreign;
mod framing;
mod limits;
mod outage;
mod packets;
mod refusals;
mod spool;
mod story;
mod wire;

#[path = "../support/postgres.rs"]
mod postgres;
