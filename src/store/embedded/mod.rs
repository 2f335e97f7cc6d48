//! SQLite in a file.

use super::{Confirmed, Lane, Micros, Pub, Store, StoreError};
use crate::protocol::{confo, packet::PubRef};
use async_trait::async_trait;
use std::path::{Path, PathBuf};

/// The store on SQLite in a file.
pub struct Embedded {
    _path: PathBuf,
}

impl Embedded {
    /// Opens or creates the file (mode 0600).
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the file or its directory cannot be used, or is no database of SQLite.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self { _path: path.as_ref().to_owned() })
    }
}

fn later<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not built yet".into()))
}

#[async_trait]
impl Store for Embedded {
    async fn prepare(&self) -> Result<(), StoreError> {
        later()
    }
    async fn inspect(&self) -> Result<String, StoreError> {
        later()
    }
    async fn ping(&self) -> Result<(), StoreError> {
        later()
    }
    async fn find_pub(&self, _: PubRef) -> Result<Option<Pub>, StoreError> {
        later()
    }
    async fn add_pub(&self, _: PubRef) -> Result<Result<Pub, Pub>, StoreError> {
        later()
    }
    async fn list_pubs(&self, _: i64, _: i64) -> Result<Vec<Pub>, StoreError> {
        later()
    }
    fn lane(&self, _: i64, _: i32) -> Box<dyn Lane> {
        unimplemented!()
    }
    async fn confirm(&self, _: &confo::Confirmation, _: Micros) -> Result<Confirmed, StoreError> {
        later()
    }
    async fn find_confirmation(&self, _: &confo::Query, _: Micros) -> Result<Option<Confirmed>, StoreError> {
        later()
    }
}
