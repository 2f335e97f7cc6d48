//! m0v: the server at the other end of a microcontroller's TLS socket.
//!
//! The way of a packet is the list of rooms, top to bottom; arrows run downwards only
//! (ARCHITECTURE.md):
//!
//! - [`cli`]: one file per subcommand · [`config`]: every key, default and check
//! - [`server`]: bind, accept, limits, drain: joins the rooms below
//! - [`meter`], [`confirm`], [`api`]: what is said on ports 38981, 38979 and 38980
//! - [`tunnel`]: a CONNECT proxy for site gateways
//! - [`device`]: who a device is: certificates, the allow-list, revocation
//! - [`session`]: a connection after TLS: lines in, replies out, in order
//! - [`acme`]: the RSA certificate: ordered, kept, renewed
//! - [`tls`]: the hello, the two stacks, keys and chains · [`net`]: a socket before TLS
//! - [`store`]: one interface, two engines
//! - [`protocol`]: pure: bytes to messages and back
//! - [`ops`]: logs, metrics, health

pub mod acme;
pub mod api;
pub mod cli;
pub mod config;
pub mod confirm;
pub mod device;
pub mod meter;
pub mod net;
pub mod ops;
pub mod protocol;
pub mod server;
pub mod session;
pub mod store;
pub mod tls;
pub mod tunnel;
