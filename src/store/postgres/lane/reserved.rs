//! Batches of rows that were thanked already: their number is known, and marked on the rows,
//! before they are written, so that even another process can tell what became of them.

use super::{
    super::super::{Outcome, PacketRow, RejectedRow, StoreError, Ticket},
    PostgresLane, WRITE_DEADLINE,
    link::Link,
};
use tokio::time::timeout;

impl PostgresLane {
    /// A new connection reads the lane's number; while it does, a transaction that still holds
    /// that row is waited for, and none can come after.
    pub(super) async fn settle_ticket(&mut self, ticket: Ticket) -> Result<bool, StoreError> {
        self.link = None;
        if let Some(pending) = &self.pending
            && pending.committed.is_some()
            && ticket == self.ticket(pending.number)
        {
            self.pending = None; // only its outcomes are missing
            return Ok(true);
        }
        let link = self.open().await?;
        let is_stored = (link.last, link.last_writer) == (ticket.number, ticket.writer);
        self.link = Some(link);
        self.pending = None;
        Ok(is_stored)
    }

    /// The next number, read by a connection that stays.
    pub(super) async fn reserve_next(&mut self) -> Result<Ticket, StoreError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.open().await?,
        };
        let ticket = self.ticket(link.last + 1);
        self.link = Some(link);
        Ok(ticket)
    }

    /// One attempt: whoever marked the rows asks what became of it, and marks them anew.
    pub(super) async fn write_reserved(
        &mut self,
        ticket: Ticket,
        rows: &[PacketRow],
        rejected: &[RejectedRow],
    ) -> Result<Vec<Outcome>, StoreError> {
        let Some(link) = self.link.take() else {
            return Err(self.busy("the connection was lost before the batch was written"));
        };
        if (link.last + 1, self.name.writer) != (ticket.number, ticket.writer) {
            return Err(self.busy("another batch has this number"));
        }
        let attempt = timeout(WRITE_DEADLINE, self.write_once(link, rows, rejected)).await;
        let (outcomes, link) = attempt.unwrap_or_else(|_| Err(self.silent()))?;
        self.link = Some(link);
        Ok(outcomes)
    }

    async fn write_once(
        &mut self,
        mut link: Link,
        rows: &[PacketRow],
        rejected: &[RejectedRow],
    ) -> Result<(Vec<Outcome>, Link), StoreError> {
        let explain = |fault: super::super::fault::Fault| fault.explain(self.dialer.target());
        let Some(outcomes) = link.write_in_parts(rows, &mut self.columns).await.map_err(explain)? else {
            self.warn_overtaken();
            return Err(self.busy("another writer took its number"));
        };
        let refused = rows.iter().zip(&outcomes).filter_map(|(row, outcome)| {
            Some(RejectedRow { row: row.clone(), reason: reason(row, outcome)? })
        });
        let refused: Vec<RejectedRow> = refused.chain(rejected.iter().cloned()).collect();
        if !refused.is_empty() {
            link.reject(&refused).await.map_err(explain)?;
        }
        link.commit().await.map_err(explain)?;
        Ok((outcomes, link))
    }

    async fn open(&mut self) -> Result<Link, StoreError> {
        match timeout(WRITE_DEADLINE, Link::open(&self.dialer, self.name)).await {
            Ok(opened) => opened,
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> StoreError {
        self.busy(&format!("no answer within {} s", WRITE_DEADLINE.as_secs()))
    }
}

/// What the operator reads in `rejected`; `None` for a row that is stored.
fn reason(row: &PacketRow, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Stored => None,
        Outcome::UnknownPub => Some(format!("unknown id {}: the device was deleted", row.pub_id)),
        Outcome::SeqConflict => {
            Some(format!("seq {} was stored with other values", row.seq.unwrap_or_default()))
        }
        Outcome::Rejected(reason) => Some(reason.clone()),
    }
}

/// The whole row; `extra` as text, because it may be what the database could not read.
pub(super) fn json(row: &PacketRow) -> String {
    let PacketRow { pub_id, created_at, voltage, frequency, protected, seq, extra } = row;
    serde_json::json!({
        "pub_id": pub_id, "created_at": created_at, "voltage": voltage, "frequency": frequency,
        "protected": protected, "seq": seq, "extra": extra,
    })
    .to_string()
}
