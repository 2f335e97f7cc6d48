//! A lane's connection: batches out, verdicts back.

use super::{
    super::{
        super::{Outcome, PacketRow, RejectedRow, StoreError},
        connect::{Dialer, Wire, drive},
        fault::Fault,
        sqlstate::{Remedy, describe, remedy_of},
    },
    columns::{Columns, Parameter, extras},
    reserved::json,
    statements::{
        BEGIN, LAST, PLANNING, PUT, PUT_CAREFULLY, PUT_PART, REJECT, TURN, look_after, look_within,
    },
};
use std::{
    task::{Context, Waker},
    time::Duration,
};
use tokio::{task::yield_now, time::Instant};
use tokio_postgres::{Client, Statement, error::SqlState};

/// After this long without a batch the connection may have ended with nobody listening.
const UNHEARD: Duration = Duration::from_millis(10);

/// Whose batches these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) node: i64,
    pub(super) lane: i32,
    /// Drawn once per lane object: see `ingest` in schema.sql.
    pub(super) writer: i64,
}

/// The id of a transaction, which its rows bear as `xmin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Xid(String);

/// A connection between two batches.
pub(super) struct Link {
    wire: Wire,
    desk: Desk,
    /// The number last committed, and by whom.
    pub(super) last: i64,
    pub(super) last_writer: i64,
    /// By which transaction, when this connection was made.
    pub(super) found: Xid,
    used: Instant,
}

impl Link {
    /// Connects and learns the last number.
    pub(super) async fn open(dialer: &Dialer, name: Name) -> Result<Self, StoreError> {
        let (client, mut wire) = dialer.dial().await?;
        let (desk, last) = drive(&mut wire, Desk::open(client, name))
            .await
            .map_err(|fault| fault.explain(dialer.target()))?;
        let Last { number, writer, xid } = last;
        Ok(Self { wire, desk, last: number, last_writer: writer, found: xid, used: Instant::now() })
    }

    /// Whether the connection is still there, as far as this side has been told.
    pub(super) async fn is_alive(&mut self) -> bool {
        if self.used.elapsed() > UNHEARD {
            yield_now().await; // lets the runtime hear of an end that came meanwhile
        }
        self.wire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Writes a batch and makes it durable, in one round trip.
    pub(super) async fn write(
        &mut self,
        rows: &[PacketRow],
        columns: &mut Columns,
        care: Care,
    ) -> Result<Written, Fault> {
        let written = drive(&mut self.wire, self.desk.write(self.last + 1, rows, columns, care)).await?;
        if matches!(written, Written::All | Written::Some(_)) {
            self.count();
        }
        Ok(written)
    }

    /// Writes a batch row by row if need be, in a transaction that stays open: everything but
    /// COMMIT. `None` if another writer has taken the number.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(super) async fn write_in_parts(
        &mut self,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        drive(&mut self.wire, self.desk.write_in_parts(self.last + 1, rows, columns)).await
    }

    /// Puts rows into `rejected`, between `write_in_parts` and `commit`.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(super) async fn reject(&mut self, rows: &[RejectedRow]) -> Result<(), Fault> {
        drive(&mut self.wire, self.desk.reject(rows)).await
    }

    /// Makes it durable and visible.
    ///
    /// # Errors
    /// It may be stored all the same.
    pub(super) async fn commit(&mut self) -> Result<(), Fault> {
        drive(&mut self.wire, async { Ok(self.desk.client.batch_execute("COMMIT").await?) }).await?;
        self.count();
        Ok(())
    }

    /// What became of the rows of a batch that is committed.
    pub(super) async fn look(
        &mut self,
        rows: &[PacketRow],
        columns: &mut Columns,
        xid: &Xid,
    ) -> Result<Vec<Outcome>, Fault> {
        drive(&mut self.wire, self.desk.look_after(rows, columns, xid)).await
    }

    fn count(&mut self) {
        self.last += 1;
        self.last_writer = self.desk.name.writer;
        self.used = Instant::now();
    }
}

/// How a batch is sent in one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// In the hope that every row is new and of a known device.
    None,
    /// So that rows which are not drop out.
    OneStatement,
}

/// What came of a batch sent in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Committed, every row of it.
    All,
    /// Committed by this transaction; some rows dropped out or were there.
    Some(Xid),
    /// Nothing is stored: the database refuses a row of it.
    NotWithARow,
    /// Nothing is stored: another writer has taken the number.
    Overtaken,
}

/// The side of the connection where statements are made.
struct Desk {
    client: Client,
    name: Name,
    put: Statement,
    put_carefully: Statement,
    put_part: Statement,
    look_within: Statement,
    look_after: Statement,
}

/// What a lane's row of `ingest` says.
struct Last {
    number: i64,
    writer: i64,
    xid: Xid,
}

impl Desk {
    async fn open(client: Client, name: Name) -> Result<(Self, Last), Fault> {
        let (put, put_carefully) = (PUT.replace("{TURN}", TURN), PUT_CAREFULLY.replace("{TURN}", TURN));
        let (within, after) = (look_within(), look_after());
        let ((), put, put_carefully, put_part, look_within, look_after) = tokio::try_join!(
            biased;
            client.batch_execute(PLANNING),
            client.prepare(&put),
            client.prepare(&put_carefully),
            client.prepare(PUT_PART),
            client.prepare(&within),
            client.prepare(&after),
        )?;
        client
            .execute(
                "INSERT INTO ingest (node, lane, batch, writer) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
                &[&name.node, &name.lane, &name.writer],
            )
            .await?;
        let desk = Self { client, name, put, put_carefully, put_part, look_within, look_after };
        let last = desk.last().await?;
        Ok((desk, last))
    }

    async fn last(&self) -> Result<Last, Fault> {
        let row = self.client.query_one(LAST, &[&self.name.node, &self.name.lane]).await?;
        Ok(Last { number: row.try_get(0)?, writer: row.try_get(1)?, xid: Xid(row.try_get(2)?) })
    }

    async fn write(
        &self,
        number: i64,
        rows: &[PacketRow],
        columns: &mut Columns,
        care: Care,
    ) -> Result<Written, Fault> {
        columns.fill(rows);
        let extra = extras(rows);
        let [a, b, c, d, e, f, g] = columns.parameters(&extra);
        let Name { node, lane, writer } = self.name;
        let parameters: [Parameter<'_>; 11] = [&node, &lane, &writer, &number, a, b, c, d, e, f, g];
        let written = match care {
            Care::None => self.put(number, rows.len(), &parameters).await,
            Care::OneStatement => self.put_carefully(rows.len(), &parameters).await,
        };
        match written {
            Err(Fault::Sql(error)) if remedy_of(&error) == Remedy::RejectRow => Ok(Written::NotWithARow),
            written => written,
        }
    }

    /// All or nothing, unless a trigger that is not ours keeps rows out.
    async fn put(
        &self,
        number: i64,
        rows: usize,
        parameters: &[Parameter<'_>; 11],
    ) -> Result<Written, Fault> {
        let count = self.client.execute(&self.put, parameters).await?;
        if usize::try_from(count) == Ok(rows) {
            return Ok(Written::All);
        }
        let last = self.last().await?;
        let is_ours = (last.number, last.writer) == (number, self.name.writer);
        Ok(if is_ours || count > 0 { Written::Some(last.xid) } else { Written::Overtaken })
    }

    async fn put_carefully(&self, rows: usize, parameters: &[Parameter<'_>; 11]) -> Result<Written, Fault> {
        let row = self.client.query_one(&self.put_carefully, parameters).await?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(Written::Overtaken);
        }
        let is_all = usize::try_from(row.try_get::<_, i64>(1)?) == Ok(rows);
        Ok(if is_all { Written::All } else { Written::Some(Xid(row.try_get(2)?)) })
    }

    /// Some row is at fault: halves the batch, each part under a savepoint, until it stands alone.
    async fn write_in_parts(
        &self,
        number: i64,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        let Name { node, lane, writer } = self.name;
        self.client.batch_execute(BEGIN).await?;
        if self.client.execute(TURN, &[&node, &lane, &writer, &number]).await? == 0 {
            return Ok(None);
        }
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut parts = vec![rows];
        while let Some(part) = parts.pop() {
            self.client.batch_execute("SAVEPOINT part").await?;
            match self.write_part(part, columns).await {
                Ok(part) => {
                    self.client.batch_execute("RELEASE part").await?;
                    outcomes.extend(part);
                }
                Err(Fault::Sql(error)) if remedy_of(&error) == Remedy::RejectRow => {
                    self.client.batch_execute("ROLLBACK TO part; RELEASE part").await?;
                    match part {
                        [_] => outcomes.push(blame(&error)),
                        _ => {
                            let (first, second) = part.split_at(part.len() / 2);
                            parts.extend([second, first]);
                        }
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(Some(outcomes))
    }

    async fn reject(&self, rows: &[RejectedRow]) -> Result<(), Fault> {
        let pub_ids: Vec<i64> = rows.iter().map(|rejected| rejected.row.pub_id).collect();
        let packets: Vec<String> = rows.iter().map(|rejected| json(&rejected.row)).collect();
        let reasons: Vec<&str> = rows.iter().map(|rejected| rejected.reason.as_str()).collect();
        self.client.execute(REJECT, &[&self.name.node, &pub_ids, &packets, &reasons]).await?;
        Ok(())
    }

    async fn write_part(&self, part: &[PacketRow], columns: &mut Columns) -> Result<Vec<Outcome>, Fault> {
        columns.fill(part);
        let extra = extras(part);
        let count = self.client.execute(&self.put_part, &columns.parameters(&extra)).await?;
        if usize::try_from(count) == Ok(part.len()) {
            return Ok(vec![Outcome::Stored; part.len()]);
        }
        let row = self.client.query_one(&self.look_within, &columns.parameters(&extra)).await?;
        Ok(outcomes(row.try_get(0)?))
    }

    async fn look_after(
        &self,
        rows: &[PacketRow],
        columns: &mut Columns,
        Xid(xid): &Xid,
    ) -> Result<Vec<Outcome>, Fault> {
        columns.fill(rows);
        let extra = extras(rows);
        let [a, b, c, d, e, f, g] = columns.parameters(&extra);
        let parameters: [Parameter<'_>; 8] = [a, b, c, d, e, f, g, xid];
        let row = self.client.query_one(&self.look_after, &parameters).await?;
        Ok(outcomes(row.try_get(0)?))
    }
}

fn outcomes(verdicts: Vec<i32>) -> Vec<Outcome> {
    verdicts
        .into_iter()
        .map(|verdict| match verdict {
            0 => Outcome::Stored,
            1 => Outcome::UnknownPub,
            _ => Outcome::SeqConflict,
        })
        .collect()
}

/// What a single row's error says to its sender. A device deleted between look-up and
/// foreign-key check is unknown like any other.
fn blame(error: &tokio_postgres::Error) -> Outcome {
    if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) {
        Outcome::UnknownPub
    } else {
        Outcome::Rejected(describe(error))
    }
}
