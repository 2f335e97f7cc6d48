//! The built binary at its sockets: one test binary, one module per chapter of the contract.
//!
//! `harness` starts the server, `client` speaks TLS to it, `database` owns the PostgreSQL cluster,
//! `http` asks the API with curl, `pki` shows certificates, `gateway` goes through tunnels, `rows` reads back what was stored. Everything else is tests. `M0V_TEST_LONG=1` makes the loops long.

#[macro_use]
mod harness;
mod client;
mod database;
mod gateway;
mod http;
mod load;
mod pki;
mod rows;

mod acme;
mod acme_cluster;
mod acme_refusals;
mod admin;
mod api;
mod api_certificates;
mod api_telemetry;
mod authority;
mod authority_owners;
mod authority_refusals;
mod balancers;
mod brokers;
mod certificates;
mod commands;
mod configuration;
mod confirm;
mod crashes;
mod devices;
mod ended_tls;
mod faults;
mod foreign;
mod forwarded;
mod framing;
mod handshakes;
mod identity;
mod identity_commands;
mod identity_kept;
mod identity_paths;
mod identity_revoked;
mod identity_tickets;
mod limits;
mod onboarding;
mod onboarding_bounds;
mod openapi;
mod outage;
mod owners;
mod packets;
mod proxied;
mod refusals;
mod spool;
mod story;
mod swap;
mod tools;
mod tunnel;
mod waiting;
mod wire;

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../acme/pebble.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::let_underscore_must_use,
    reason = "shared with the tests of the acme room, which use other parts of it"
)]
mod pebble;
