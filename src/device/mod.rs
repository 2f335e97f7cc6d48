//! Who a device is: certificates judged, devices registered just in time, revoked while connected.
//!
//! A connection that showed a certificate is brought before the [`Registry`] once TLS is up and
//! before a byte is read, whichever stack served it, full or resumed. What comes back is an
//! [`Identity`], which tells the rooms who speaks for as long as the connection lasts, or
//! [`Refused`]. The registry answers for a known certificate from its `snapshot`; a miss asks the
//! store. `follow` keeps the snapshot true to the store's announcements.
//!
//! [`judge`] says what a certificate is worth and which CA vouches for it, [`name`] what a device may
//! be called: both pure. [`issue`] makes certificates with the CAs of [`authority`].

mod admit;
pub mod authority;
pub mod certificate;
mod check;
mod fingerprint;
mod follow;
mod identity;
pub mod issue;
pub mod judge;
pub mod name;
mod refused;
mod registry;
pub mod request;
mod snapshot;
pub mod subject;

pub use admit::NEW_PER_CA_AND_HOUR;
pub use fingerprint::Fingerprint;
pub use follow::follow;
pub use identity::Identity;
pub use refused::Refused;
pub use registry::Registry;
