//! Who a device is: certificates judged, devices registered just in time, revoked while connected;
//! and the accounts devices have on brokers.
//!
//! A connection that showed a certificate is brought before the [`Registry`] once TLS is up and
//! before a byte is read, whichever stack served it, full or resumed. What comes back is an
//! [`Identity`], which tells the rooms who speaks for as long as the connection lasts, or
//! [`Refused`]. The registry answers for a known certificate from its `snapshot`; a miss asks the
//! store. `follow` keeps the snapshot true to the store's announcements.
//!
//! [`judge`] says what a certificate is worth and which CA vouches for it, [`name`] what a device may
//! be called: both pure. [`issue`] makes certificates with the CAs of [`authority`].
//!
//! [`Onboarding`] makes accounts for tokens and notes their handshakes; [`Brokers`] answers what a
//! broker asks about them, by [`Passwords`] and the pure [`acl`].

pub mod acl;
mod admit;
pub mod authority;
mod brokers;
pub mod certificate;
mod check;
mod fingerprint;
mod follow;
mod identity;
pub mod issue;
pub mod judge;
mod kept;
pub mod name;
mod onboarding;
mod passwords;
mod refused;
mod registry;
pub mod request;
mod revoke;
pub mod secrets;
mod snapshot;
pub mod subject;

pub use admit::NEW_PER_CA_AND_HOUR;
pub use brokers::{Brokers, Client};
pub use fingerprint::Fingerprint;
pub use follow::follow;
pub use identity::Identity;
pub use onboarding::{Greeted, Issued, Onboarding, Trouble};
pub use passwords::{Hashed, NoVerdict, Passwords};
pub use refused::Refused;
pub use registry::Registry;
pub use revoke::revoke_ca;
