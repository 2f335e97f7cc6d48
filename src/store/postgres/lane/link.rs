//! A lane's connection and the statements on it.

use super::{
    super::{
        super::{Outcome, PacketRow, RejectedRow, StoreError},
        connect::{Dialer, Wire, drive},
        fault::Fault,
        sqlstate::{Remedy, describe, remedy_of},
    },
    columns::{Columns, Parameter, extras},
    reserved::json,
};
use tokio_postgres::{Client, Statement, error::SqlState};

/// The isolation level is a mark: `PUT` and `TURN` do nothing under any other. The messages
/// are sent without waiting for one another, so if BEGIN alone failed (cancelled by someone),
/// what follows would else commit by itself. PostgreSQL treats it as READ COMMITTED.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ UNCOMMITTED";

/// Takes the batch's number, or nothing if the last one is not the one before it.
const TURN: &str = "
    UPDATE ingest SET batch = $4::bigint, writer = $3::bigint
     WHERE node = $1::bigint AND lane = $2::int AND batch = $4::bigint - 1
       AND current_setting('transaction_isolation') = 'read uncommitted'";

/// Number and rows in one statement; answers how many rows went in. Rows of unknown devices
/// drop out, rows that are there already stay as they are. Each device is looked up in the
/// order of the rows (OFFSET 0 forbids the planner another way), so of two rows with one seq
/// the first is the one that is stored.
const PUT: &str = "
    WITH turn AS ({TURN} RETURNING 1)
    INSERT INTO packet (pub_id, created_at, voltage, frequency, protected, seq, extra)
    SELECT r.pub_id, r.created_at, r.voltage, r.frequency, r.protected, r.seq, r.extra::jsonb
      FROM unnest($5::bigint[], $6::timestamptz[], $7::float8[], $8::float8[], $9::bool[], $10::bigint[], $11::text[])
           AS r (pub_id, created_at, voltage, frequency, protected, seq, extra)
     CROSS JOIN LATERAL (SELECT FROM pub WHERE pub.pub_id = r.pub_id OFFSET 0) AS known
     WHERE EXISTS (SELECT FROM turn)
        ON CONFLICT (pub_id, created_at, seq) DO NOTHING";

/// `PUT` for part of a batch whose number is taken.
const PUT_PART: &str = "
    INSERT INTO packet (pub_id, created_at, voltage, frequency, protected, seq, extra)
    SELECT r.pub_id, r.created_at, r.voltage, r.frequency, r.protected, r.seq, r.extra::jsonb
      FROM unnest($1::bigint[], $2::timestamptz[], $3::float8[], $4::float8[], $5::bool[], $6::bigint[], $7::text[])
           AS r (pub_id, created_at, voltage, frequency, protected, seq, extra)
     CROSS JOIN LATERAL (SELECT FROM pub WHERE pub.pub_id = r.pub_id OFFSET 0) AS known
        ON CONFLICT (pub_id, created_at, seq) DO NOTHING";

/// What became of each row, asked in the transaction that wrote them: 0 stored, 1 not there
/// (so its device is unknown), 2 there with other values. A row without seq cannot be told
/// from its like; it is there if one of this transaction is (`saved_at` is its start).
const LOOK: &str = "
    SELECT array(
        SELECT CASE WHEN there.same IS NULL THEN 1 WHEN there.same THEN 0 ELSE 2 END
          FROM unnest($1::bigint[], $2::timestamptz[], $3::float8[], $4::float8[], $5::bool[], $6::bigint[], $7::text[])
               WITH ORDINALITY AS r (pub_id, created_at, voltage, frequency, protected, seq, extra, place)
          LEFT JOIN LATERAL (
               SELECT r.seq IS NULL OR (p.voltage IS NOT DISTINCT FROM r.voltage
                      AND p.frequency IS NOT DISTINCT FROM r.frequency
                      AND p.protected = r.protected
                      AND p.extra IS NOT DISTINCT FROM r.extra::jsonb) AS same
                 FROM packet p
                WHERE p.pub_id = r.pub_id AND p.created_at = r.created_at
                  AND (p.seq = r.seq OR (r.seq IS NULL AND p.seq IS NULL AND p.saved_at = now()))
                LIMIT 1) AS there ON true
         ORDER BY r.place)";

/// What the database refuses is kept whole.
const REJECT: &str = "
    INSERT INTO rejected (node, pub_id, packet, reason)
    SELECT $1, r.pub_id, r.packet, r.reason
      FROM unnest($2::bigint[], $3::text[], $4::text[]) AS r (pub_id, packet, reason)";

/// The number last committed; waits for a transaction that is still at it.
const LAST: &str = "SELECT batch, writer FROM ingest WHERE node = $1 AND lane = $2 FOR UPDATE";

/// A generic plan always: planning anew costs more than a small batch, and these plans must
/// not change with what the statistics happen to say. Every look-up has its index.
const PLANNING: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";

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
}

impl Link {
    /// Connects and learns the last number.
    pub(super) async fn open(dialer: &Dialer, name: Name) -> Result<Self, StoreError> {
        let (client, mut wire) = dialer.dial().await?;
        let (desk, last, last_writer) = drive(&mut wire, Desk::open(client, name))
            .await
            .map_err(|fault| fault.explain(dialer.target()))?;
        Ok(Self { wire, desk, last, last_writer })
    }

    /// Does everything but COMMIT: one round trip when all rows are new. `None` if another
    /// writer has taken the number.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(super) async fn write(
        &mut self,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        drive(&mut self.wire, self.desk.write(self.last + 1, rows, columns)).await
    }

    /// The same, row by row if need be from the start. `None` if another writer has taken the number.
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

    /// Puts rows into `rejected`, between `write` and `commit`.
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
        self.last += 1;
        self.last_writer = self.desk.name.writer;
        Ok(())
    }
}

/// The side of the connection where statements are made.
struct Desk {
    client: Client,
    name: Name,
    put: Statement,
    put_part: Statement,
    look: Statement,
}

impl Desk {
    async fn open(client: Client, name: Name) -> Result<(Self, i64, i64), Fault> {
        let put = PUT.replace("{TURN}", TURN);
        let ((), put, put_part, look) = tokio::try_join!(
            biased;
            client.batch_execute(PLANNING),
            client.prepare(&put),
            client.prepare(PUT_PART),
            client.prepare(LOOK),
        )?;
        client
            .execute(
                "INSERT INTO ingest (node, lane, batch, writer) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
                &[&name.node, &name.lane, &name.writer],
            )
            .await?;
        let row = client.query_one(LAST, &[&name.node, &name.lane]).await?;
        let (last, last_writer) = (row.try_get(0)?, row.try_get(1)?);
        Ok((Self { client, name, put, put_part, look }, last, last_writer))
    }

    async fn write(
        &self,
        number: i64,
        rows: &[PacketRow],
        columns: &mut Columns,
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        columns.fill(rows);
        let extra = extras(rows);
        let [a, b, c, d, e, f, g] = columns.parameters(&extra);
        let Name { node, lane, writer } = self.name;
        let parameters: [Parameter<'_>; 11] = [&node, &lane, &writer, &number, a, b, c, d, e, f, g];
        let (begun, put) = tokio::join!(
            biased;
            self.client.batch_execute(BEGIN),
            self.client.execute(&self.put, &parameters),
        );
        begun?;
        match put {
            Ok(count) if usize::try_from(count) == Ok(rows.len()) => {
                Ok(Some(vec![Outcome::Stored; rows.len()]))
            }
            Ok(_) => {
                let last = self.client.query_one(LAST, &[&node, &lane]).await?;
                if (last.try_get::<_, i64>(0)?, last.try_get::<_, i64>(1)?) != (number, writer) {
                    return Ok(None);
                }
                self.look(columns, &extra).await.map(Some)
            }
            Err(error) if remedy_of(&error) == Remedy::RejectRow => {
                self.client.batch_execute("ROLLBACK").await?;
                self.write_in_parts(number, rows, columns).await
            }
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
        self.look(columns, &extra).await
    }

    async fn look(
        &self,
        columns: &Columns,
        extra: &Option<Vec<Option<&str>>>,
    ) -> Result<Vec<Outcome>, Fault> {
        let row = self.client.query_one(&self.look, &columns.parameters(extra)).await?;
        let verdicts: Vec<i32> = row.try_get(0)?;
        Ok(verdicts
            .into_iter()
            .map(|verdict| match verdict {
                0 => Outcome::Stored,
                1 => Outcome::UnknownPub,
                _ => Outcome::SeqConflict,
            })
            .collect())
    }
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
