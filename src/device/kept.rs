//! The allow-list outlives the process: it is written down as it changes, beside the packets that wait,
//! and read again by a start that finds no database. Fresh always overrides what was written.

use super::Registry;
use crate::ops::events;
use crate::store::spool::SpoolFile;
use crate::store::{Micros, StoreError, now};

/// Entries read at a time.
const PAGE: usize = 1000;

impl Registry {
    /// Takes in what an earlier process wrote down, if that was all of it: until the database is
    /// there, certificates are judged by it. How old it is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn recall(&self) -> Result<Option<Micros>, StoreError> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(at) = file.listed_at().await? else { return Ok(None) };
        let cas = file.cas().await?;
        self.snapshot.recall(&cas, &[]);
        let mut after = String::new();
        loop {
            let page = file.listed(&after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.certificate_id);
            self.snapshot.recall(&cas, &page);
        }
        self.set_loaded();
        Ok(Some(at))
    }

    /// Whether there is something to write down.
    pub(super) fn has_news(&self) -> bool {
        self.snapshot.has_news()
    }

    /// Writes down some of what changed; if nothing did, that all is written down. Whether it could.
    pub(super) async fn keep(&self) -> bool {
        let Some(file) = &self.file else { return true };
        let kept = if self.has_news() { self.keep_some(file).await } else { self.complete(file).await };
        kept.inspect_err(|error| events::allow_list_not_kept(&self.metrics, error)).is_ok()
    }

    /// Writes down what is left to be, before the end.
    pub(super) async fn keep_rest(&self) {
        while self.has_news() && self.keep().await {}
    }

    async fn keep_some(&self, file: &SpoolFile) -> Result<(), StoreError> {
        let (cas, listed) = self.snapshot.take_news();
        let kept = match &cas {
            Some(cas) => file.keep_cas(cas.clone()).await,
            None => Ok(()),
        };
        let kept = match kept {
            Ok(()) => file.keep_listed(listed.clone()).await,
            failed => failed,
        };
        if kept.is_err() {
            self.snapshot.put_back(cas, &listed);
        }
        kept
    }

    /// Strikes out what an earlier process wrote down and is listed no more. For when everything was
    /// read from the store.
    async fn complete(&self, file: &SpoolFile) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = file.listed(&after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.certificate_id);
            let gone = page.into_iter().map(|listed| listed.certificate_id);
            let gone: Vec<_> =
                gone.filter(|id| self.snapshot.find(id).is_none()).map(|id| (id, None)).collect();
            if !gone.is_empty() {
                file.keep_listed(gone).await?;
            }
        }
        file.listed_whole(now()).await
    }
}
