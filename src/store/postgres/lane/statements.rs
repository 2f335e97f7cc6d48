//! The SQL of a lane.

/// A transaction of its own, for a batch that must be written in parts.
pub(super) const BEGIN: &str = "BEGIN";

/// Takes the batch's number, or nothing if the last one is not the one before it.
pub(super) const TURN: &str = "
    UPDATE ingest SET batch = $4::bigint, writer = $3::bigint
     WHERE node = $1::bigint AND lane = $2::int AND batch = $4::bigint - 1";

/// Number and rows in one statement, which is a transaction by itself: one message there, one
/// answer back once it is durable. Fails as a whole on a row that is there already, on an unknown
/// device, on a value that is refused: all are rare, and `PUT_CAREFULLY` costs a third more.
pub(super) const PUT: &str = "
    WITH turn AS ({TURN} RETURNING 1)
    INSERT INTO packet (pub_id, created_at, voltage, frequency, protected, seq, extra)
    SELECT r.pub_id, r.created_at, r.voltage, r.frequency, r.protected, r.seq, r.extra::jsonb
      FROM unnest($5::bigint[], $6::timestamptz[], $7::float8[], $8::float8[], $9::bool[], $10::bigint[], $11::text[])
           AS r (pub_id, created_at, voltage, frequency, protected, seq, extra)
     WHERE EXISTS (SELECT FROM turn)";

/// The same for any rows: answers whether the number was taken, how many rows went in, and by which
/// transaction. Rows of unknown devices drop out, rows that are there already stay as they are. Each
/// device is looked up in the order of the rows (OFFSET 0 forbids the planner another way), so of two
/// rows with one seq the first is the one that is stored.
pub(super) const PUT_CAREFULLY: &str = "
    WITH turn AS ({TURN} RETURNING 1),
         put AS (
    INSERT INTO packet (pub_id, created_at, voltage, frequency, protected, seq, extra)
    SELECT r.pub_id, r.created_at, r.voltage, r.frequency, r.protected, r.seq, r.extra::jsonb
      FROM unnest($5::bigint[], $6::timestamptz[], $7::float8[], $8::float8[], $9::bool[], $10::bigint[], $11::text[])
           AS r (pub_id, created_at, voltage, frequency, protected, seq, extra)
     CROSS JOIN LATERAL (SELECT FROM pub WHERE pub.pub_id = r.pub_id OFFSET 0) AS known
     WHERE EXISTS (SELECT FROM turn)
        ON CONFLICT (pub_id, created_at, seq) DO NOTHING
    RETURNING 1)
    SELECT EXISTS (SELECT FROM turn), (SELECT count(*) FROM put), pg_current_xact_id()::xid::text";

/// `PUT_CAREFULLY` for part of a batch whose number is taken.
pub(super) const PUT_PART: &str = "
    INSERT INTO packet (pub_id, created_at, voltage, frequency, protected, seq, extra)
    SELECT r.pub_id, r.created_at, r.voltage, r.frequency, r.protected, r.seq, r.extra::jsonb
      FROM unnest($1::bigint[], $2::timestamptz[], $3::float8[], $4::float8[], $5::bool[], $6::bigint[], $7::text[])
           AS r (pub_id, created_at, voltage, frequency, protected, seq, extra)
     CROSS JOIN LATERAL (SELECT FROM pub WHERE pub.pub_id = r.pub_id OFFSET 0) AS known
        ON CONFLICT (pub_id, created_at, seq) DO NOTHING";

/// What became of each row: 0 stored, 1 not there (so its device is unknown), 2 there with
/// other values. A row without seq cannot be told from its like; it is there if one of the same
/// transaction is: see `{OURS}`.
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
                  AND (p.seq = r.seq OR (r.seq IS NULL AND p.seq IS NULL AND {OURS}))
                LIMIT 1) AS there ON true
         ORDER BY r.place)";

/// `LOOK` in the transaction that wrote the rows: `saved_at` is its start.
pub(super) fn look_within() -> String {
    LOOK.replace("{OURS}", "p.saved_at = now()")
}

/// `LOOK` after the commit, by the transaction that wrote the rows.
pub(super) fn look_after() -> String {
    LOOK.replace("{OURS}", "p.xmin = $8::text::xid")
}

/// What the database refuses is kept whole.
pub(super) const REJECT: &str = "
    INSERT INTO rejected (node, pub_id, packet, reason)
    SELECT $1, r.pub_id, r.packet, r.reason
      FROM unnest($2::bigint[], $3::text[], $4::text[]) AS r (pub_id, packet, reason)";

/// The number last committed, by whom and by which transaction; waits for one that is still at it.
pub(super) const LAST: &str =
    "SELECT batch, writer, xmin::text FROM ingest WHERE node = $1 AND lane = $2 FOR UPDATE";

/// A generic plan always: planning anew costs more than a small batch, and these plans must
/// not change with what the statistics happen to say. Every look-up has its index.
pub(super) const PLANNING: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";
