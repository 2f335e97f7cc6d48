//! PostgreSQL.

use super::{Confirmed, Lane, Micros, Pub, Store, StoreError};
use crate::protocol::{confo, packet::PubRef};
use async_trait::async_trait;
use std::path::PathBuf;

/// How to reach a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/name?sslmode=…`; never logged.
    pub url: String,
    /// Certificate authorities (PEM) the database's certificate must chain to.
    pub ca_file: Option<PathBuf>,
    /// Most connections held, writer lanes included.
    pub max_connections: usize,
    /// Shout instead of refusing when `fsync` or `full_page_writes` is off.
    pub allow_unsafe: bool,
}

/// The store on PostgreSQL.
pub struct Postgres {
    _options: PostgresOptions,
}

impl Postgres {
    /// Reads the options; connects to nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL or the CA file cannot be used.
    pub fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self { _options: options })
    }
}

fn later<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not built yet".into()))
}

#[async_trait]
impl Store for Postgres {
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
