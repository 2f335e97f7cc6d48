//! Who owns a device once it confirms, and where the confirmation is kept.
//! Pure, so that its truth table is its test; the engines of `store` apply what it decides.
//!
//! | e-mail | `pub` with this hash | do | save in |
//! |---|---|---|---|
//! | in `sub` | none | create it, creator = sub | `confo` |
//! | in `sub` | creator = sub | nothing | `confo` |
//! | in `sub` | creator empty | set creator = sub | `confo` |
//! | in `sub` | creator = another | nothing: conflict, two users configured one hash | `cconfo` |
//! | not in `sub`, or none | none | create it, creator empty | `confo` |
//! | not in `sub`, or none | creator empty | leave it empty | `confo` |
//! | not in `sub`, or none | creator = someone else | nothing | `confo` |
//! | not in `sub` | creator = this e-mail's own id, from when it was registered | empty the creator, warn | `confo` |
//!
//! An e-mail not in `sub` enters `csub` once; no e-mail means no row there. Registering moves the
//! row from `csub` to `sub` and keeps the id, deregistering moves it back.

/// The e-mail of a confirmation, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Nobody was named.
    Unnamed,
    /// In `sub`, with this `sub_id`.
    Registered(i64),
    /// Not in `sub`; with the id it has in `csub`, if it was seen before.
    Unregistered(Option<i64>),
}

/// The row of `pub` with the confirmation's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// There is none.
    New,
    /// It exists, with this `creator`.
    Known(Option<i64>),
}

/// What to do about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make the row, with this `creator`.
    Create(Option<i64>),
    /// Leave it as it is.
    Keep,
    /// It had no creator: this one now.
    Claim(i64),
    /// Its creator is not registered any more: empty it, and warn.
    Disown,
}

/// The table a confirmation is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// `confo`: confirmed.
    Confirmed,
    /// `cconfo`: two registered users configured one hash.
    Conflicting,
}

/// Everything a confirmation causes, beside the e-mail's entry in `csub`: that is due
/// whenever the sender is [`Sender::Unregistered`]`(None)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the device.
    pub change: Change,
    /// Where the confirmation goes.
    pub shelf: Shelf,
    /// Whether somebody owns the device who was not named: then it is not the sender's either.
    pub is_anothers: bool,
}

/// Decides on one confirmation.
#[must_use]
pub fn judge(sender: Sender, device: Device) -> Verdict {
    let (change, shelf) = match (sender, device) {
        (Sender::Registered(sub), Device::New) => (Change::Create(Some(sub)), Shelf::Confirmed),
        (Sender::Registered(sub), Device::Known(None)) => (Change::Claim(sub), Shelf::Confirmed),
        (Sender::Registered(sub), Device::Known(Some(creator))) if creator == sub => {
            (Change::Keep, Shelf::Confirmed)
        }
        (Sender::Registered(_), Device::Known(Some(_))) => (Change::Keep, Shelf::Conflicting),
        (_, Device::New) => (Change::Create(None), Shelf::Confirmed),
        (Sender::Unregistered(Some(own)), Device::Known(Some(creator))) if creator == own => {
            (Change::Disown, Shelf::Confirmed)
        }
        (_, Device::Known(_)) => (Change::Keep, Shelf::Confirmed),
    };
    let is_anothers = match (sender, device) {
        (_, Device::New | Device::Known(None)) => false,
        (Sender::Registered(id) | Sender::Unregistered(Some(id)), Device::Known(Some(creator))) => {
            id != creator
        }
        (Sender::Unnamed | Sender::Unregistered(None), Device::Known(Some(_))) => true,
    };
    Verdict { change, shelf, is_anothers }
}

#[cfg(test)]
mod tests {
    use super::{Change, Device, Sender, Shelf, Verdict, judge};

    const ME: i64 = 7;
    const OTHER: i64 = 8;

    #[test]
    fn follows_the_truth_table() {
        use Change::{Claim, Create, Disown, Keep};
        use Device::{Known, New};
        use Sender::{Registered, Unnamed, Unregistered};
        use Shelf::{Confirmed, Conflicting};
        let table = [
            (Registered(ME), New, Create(Some(ME)), Confirmed),
            (Registered(ME), Known(Some(ME)), Keep, Confirmed),
            (Registered(ME), Known(None), Claim(ME), Confirmed),
            (Registered(ME), Known(Some(OTHER)), Keep, Conflicting),
            (Unregistered(None), New, Create(None), Confirmed),
            (Unregistered(None), Known(None), Keep, Confirmed),
            (Unregistered(None), Known(Some(OTHER)), Keep, Confirmed),
            (Unregistered(Some(ME)), New, Create(None), Confirmed),
            (Unregistered(Some(ME)), Known(None), Keep, Confirmed),
            (Unregistered(Some(ME)), Known(Some(OTHER)), Keep, Confirmed),
            (Unregistered(Some(ME)), Known(Some(ME)), Disown, Confirmed),
            (Unnamed, New, Create(None), Confirmed),
            (Unnamed, Known(None), Keep, Confirmed),
            (Unnamed, Known(Some(OTHER)), Keep, Confirmed),
        ];
        for (sender, device, change, shelf) in table {
            let is_anothers = device == Known(Some(OTHER));
            let expected = Verdict { change, shelf, is_anothers };
            assert_eq!(judge(sender, device), expected, "{sender:?} {device:?}");
        }
    }
}
