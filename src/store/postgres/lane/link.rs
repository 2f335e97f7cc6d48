//! A lane's connection: batches out, verdicts back.

use super::{
    super::{
        super::{Outcome, PacketRow, StoreError},
        connect::{Dialer, Wire, drive},
        fault::Fault,
        sqlstate::{Remedy, describe, remedy_of},
    },
    columns::{Columns, Parameter, extras},
    statements::{BEGIN, LAST, PLANNING, PUT, PUT_CAREFULLY, PUT_PART, TURN, look_after, look_within},
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

/// A connection between two batches.
pub(super) struct Link {
    wire: Wire,
    desk: Desk,
    /// The number last committed, and by whom.
    pub(super) last: i64,
    pub(super) last_writer: i64,
    used: Instant,
}

impl Link {
    /// Connects and learns the last number.
    pub(super) async fn open(dialer: &Dialer, name: Name) -> Result<Self, StoreError> {
        let (client, mut wire) = dialer.dial().await?;
        let (desk, last, last_writer) = drive(&mut wire, Desk::open(client, name))
            .await
            .map_err(|fault| fault.explain(dialer.target()))?;
        Ok(Self { wire, desk, last, last_writer, used: Instant::now() })
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
        if matches!(written, Written::All | Written::Some) {
            self.count();
        }
        Ok(written)
    }

    /// Writes a batch that has a row the database refuses: everything but COMMIT. `None` if
    /// another writer has taken the number.
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

    /// Makes it durable and visible.
    ///
    /// # Errors
    /// It may be stored all the same.
    pub(super) async fn commit(&mut self) -> Result<(), Fault> {
        drive(&mut self.wire, async { Ok(self.desk.client.batch_execute("COMMIT").await?) }).await?;
        self.count();
        Ok(())
    }

    /// What became of the rows of the last batch, which is committed; `None` if another writer
    /// has taken the next number meanwhile.
    pub(super) async fn look(
        &mut self,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        drive(&mut self.wire, self.desk.look_after(self.last, rows, columns)).await
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Committed, every row of it.
    All,
    /// Committed; some rows dropped out or were there.
    Some,
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

impl Desk {
    async fn open(client: Client, name: Name) -> Result<(Self, i64, i64), Fault> {
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
        let row = client.query_one(LAST, &[&name.node, &name.lane]).await?;
        let (last, last_writer) = (row.try_get(0)?, row.try_get(1)?);
        Ok((Self { client, name, put, put_carefully, put_part, look_within, look_after }, last, last_writer))
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
        let put = match care {
            Care::None => &self.put,
            Care::OneStatement => &self.put_carefully,
        };
        match self.client.execute(put, &parameters).await {
            Ok(count) if usize::try_from(count) == Ok(rows.len()) => Ok(Written::All),
            Ok(1..) => Ok(Written::Some),
            Ok(0) => {
                let last = self.client.query_one(LAST, &[&node, &lane]).await?;
                let is_ours = (last.try_get::<_, i64>(0)?, last.try_get::<_, i64>(1)?) == (number, writer);
                Ok(if is_ours { Written::Some } else { Written::Overtaken })
            }
            Err(error) if remedy_of(&error) == Remedy::RejectRow => Ok(Written::NotWithARow),
            Err(error) => Err(error.into()),
        }
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
        number: i64,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        columns.fill(rows);
        let extra = extras(rows);
        let [a, b, c, d, e, f, g] = columns.parameters(&extra);
        let Name { node, lane, writer } = self.name;
        let parameters: [Parameter<'_>; 11] = [a, b, c, d, e, f, g, &node, &lane, &writer, &number];
        let row = self.client.query_opt(&self.look_after, &parameters).await?;
        row.map(|row| Ok(outcomes(row.try_get(0)?))).transpose()
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
