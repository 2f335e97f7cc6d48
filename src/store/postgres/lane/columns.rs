//! Rows turned into one array per column, in vectors that are kept between batches.

use super::super::{super::PacketRow, time::Timestamp};
use tokio_postgres::types::ToSql;

/// The arrays of one batch.
#[derive(Default)]
pub(super) struct Columns {
    pub_id: Vec<i64>,
    created_at: Vec<Timestamp>,
    voltage: Vec<Option<f64>>,
    frequency: Vec<Option<f64>>,
    protected: Vec<bool>,
    seq: Vec<Option<i64>>,
}

/// A statement's parameter.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Columns {
    /// Takes the place of what was there.
    pub(super) fn fill(&mut self, rows: &[PacketRow]) {
        self.pub_id.clear();
        self.pub_id.extend(rows.iter().map(|row| row.pub_id));
        self.created_at.clear();
        self.created_at.extend(rows.iter().map(|row| Timestamp(row.created_at)));
        self.voltage.clear();
        self.voltage.extend(rows.iter().map(|row| row.voltage));
        self.frequency.clear();
        self.frequency.extend(rows.iter().map(|row| row.frequency));
        self.protected.clear();
        self.protected.extend(rows.iter().map(|row| row.protected));
        self.seq.clear();
        self.seq.extend(rows.iter().map(|row| row.seq));
    }

    /// In the order of the statements' `unnest`; `extra` is [`extras`].
    pub(super) fn parameters<'a>(&'a self, extra: &'a Option<Vec<Option<&'a str>>>) -> [Parameter<'a>; 7] {
        [&self.pub_id, &self.created_at, &self.voltage, &self.frequency, &self.protected, &self.seq, extra]
    }
}

/// The rows' `extra`; `None` (a NULL array, which `unnest` pads) when no row has any.
pub(super) fn extras(rows: &[PacketRow]) -> Option<Vec<Option<&str>>> {
    let any = rows.iter().any(|row| row.extra.is_some());
    any.then(|| rows.iter().map(|row| row.extra.as_deref()).collect())
}
