-- The spool: packets that wait for PostgreSQL, and what must be known without it. Version 1.

CREATE TABLE meta (
    node INTEGER NOT NULL, -- this spool's name in PostgreSQL's table ingest: random, made with the file
    listed_at INTEGER -- the whole allow-list was here then, and its changes since; none: parts of it at most
) STRICT;

-- place orders them, not a time: clocks jump.
CREATE TABLE packet (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    saved_at INTEGER NOT NULL, -- thanked then (Unix microseconds)
    id INTEGER NOT NULL, -- the device as the packet names it if it is still to be made, else its pub_id; 0: none
    hash INTEGER NOT NULL, -- 0: none
    pub_id INTEGER, -- none: the device is still to be made
    created_at INTEGER NOT NULL,
    voltage REAL,
    frequency REAL,
    protected INTEGER NOT NULL,
    seq INTEGER,
    extra TEXT,
    checksum INTEGER NOT NULL, -- of the values: a damaged one is never stored as if it had been sent
    refused TEXT, -- why it can only go to PostgreSQL's table rejected
    -- The batch it may be stored with already: looked up in ingest before it is sent again.
    lane INTEGER,
    batch INTEGER,
    writer INTEGER
) STRICT;
CREATE UNIQUE INDEX packet_seq ON packet (id, hash, created_at, seq) WHERE seq IS NOT NULL;
CREATE INDEX packet_batch ON packet (lane, batch) WHERE lane IS NOT NULL;
CREATE INDEX packet_stranger ON packet (id, hash) WHERE pub_id IS NULL AND refused IS NULL;

-- What came over HTTPS.
CREATE TABLE telemetry (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    saved_at INTEGER NOT NULL, -- acknowledged then (Unix microseconds)
    device_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    -- As for packets; telemetry has one lane.
    batch INTEGER,
    writer INTEGER
) STRICT;
CREATE INDEX telemetry_batch ON telemetry (batch) WHERE batch IS NOT NULL;

-- Devices that exist, as far as this server has heard.
CREATE TABLE known (
    pub_id INTEGER PRIMARY KEY,
    hash INTEGER
) STRICT;

-- The allow-list: whose certificates counted when the database was last heard. No secrets. An entry is what
-- certificate, device and CA are together; times in Unix microseconds.
CREATE TABLE listed (
    certificate_id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL,
    pub_id INTEGER,
    ca_id TEXT,
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ca (
    ca_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    pem TEXT NOT NULL,
    status TEXT NOT NULL,
    auto_register INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (node) VALUES (random());
PRAGMA user_version = 1;
