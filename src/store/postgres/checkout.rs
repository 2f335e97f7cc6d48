//! A connection lent by the pool.

use deadpool_postgres::{ClientWrapper, Object};
use std::ops::{Deref, DerefMut};

/// A connection out of the pool. It goes back only when it is given back; dropped (an error,
/// a deadline, a caller that went away) it is closed, since its state is not known then.
pub(super) struct Checkout(Option<Object>);

impl Checkout {
    /// Takes charge of it.
    pub(super) fn of(object: Object) -> Self {
        Self(Some(object))
    }

    /// Puts it back, between transactions and without an answer outstanding.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Checkout {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.0.as_ref().expect("held until it is given back or dropped")
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        self.0.as_mut().expect("held until it is given back or dropped")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
