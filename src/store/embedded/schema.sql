-- m0v's tables on SQLite 3.38 or later, version 1: the tables and columns of the
-- PostgreSQL schema (schema.sql says what each is for).
--
-- Times are INTEGER Unix microseconds, truth values 0 or 1, JSON is TEXT as it was sent.
-- STRICT, so that another process cannot leave text where a number belongs.

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    applied_by TEXT NOT NULL DEFAULT 'm0v'
) STRICT;

-- People. ---------------------------------------------------------------------------

-- Ids shared by several tables (sub with csub, confo with cconfo), and those of pub.
-- last is the last one given out.
CREATE TABLE sequence (
    name TEXT NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;
INSERT INTO sequence (name, last) VALUES ('sub', 0), ('pub', 0), ('confo', 0);

-- Registered users.
CREATE TABLE sub (
    sub_id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE, -- as given, compared without regard to case
    phone TEXT,
    name TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
) STRICT;

-- E-mails seen in a confirmation, but not registered.
CREATE TABLE csub (
    sub_id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
) STRICT;

-- Devices. --------------------------------------------------------------------------

CREATE TABLE pub (
    pub_id INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    hash INTEGER UNIQUE, -- the provisioning token, if it came by a confirmation
    creator INTEGER -- the owner's sub_id; no foreign key: the row moves between sub and csub
) STRICT;

-- Readings.
CREATE TABLE packet (
    pub_id INTEGER NOT NULL REFERENCES pub,
    id INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    saved_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    voltage REAL, -- V
    frequency REAL, -- Hz
    protected INTEGER NOT NULL CHECK (protected IN (0, 1)), -- "status" on the wire
    seq INTEGER, -- the device's own number; makes a resend harmless
    extra TEXT CHECK (extra IS NULL OR json_valid(extra)), -- keys m0v does not know
    UNIQUE (pub_id, created_at, seq)
) STRICT;

-- What a database refused row by row, whole, with the reason: nothing is lost.
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    saved_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    node INTEGER,
    pub_id INTEGER,
    packet TEXT NOT NULL, -- the whole row as JSON text, times in Unix microseconds
    reason TEXT NOT NULL
) STRICT;

-- The last batch each writer lane committed, written in the batch's own transaction:
-- when a COMMIT's answer is lost, this says what became of it. writer tells two
-- processes apart that share a node number by mistake (a copied data directory).
CREATE TABLE ingest (
    node INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    PRIMARY KEY (node, lane)
) WITHOUT ROWID, STRICT;

-- Confirmations. --------------------------------------------------------------------

CREATE TABLE confo (
    id INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    saved_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    devicename TEXT NOT NULL,
    ssid TEXT NOT NULL,
    hash INTEGER NOT NULL,
    sub_id INTEGER, -- in sub or csub; none if no e-mail was sent
    pub_id INTEGER NOT NULL REFERENCES pub,
    extra TEXT CHECK (extra IS NULL OR json_valid(extra))
) STRICT;
CREATE INDEX confo_asked ON confo (devicename, ssid, saved_at DESC, id DESC);

-- Conflicts: another registered user had configured the same hash before.
CREATE TABLE cconfo (
    id INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    saved_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    devicename TEXT NOT NULL,
    ssid TEXT NOT NULL,
    hash INTEGER NOT NULL,
    sub_id INTEGER,
    pub_id INTEGER NOT NULL REFERENCES pub,
    extra TEXT CHECK (extra IS NULL OR json_valid(extra))
) STRICT;
CREATE INDEX cconfo_asked ON cconfo (devicename, ssid, saved_at DESC, id DESC);
CREATE INDEX cconfo_hash ON cconfo (hash); -- what `m0v confo resolve` looks for

-- Who a device is. ------------------------------------------------------------------

CREATE TABLE ca (
    ca_id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    pem TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    auto_register INTEGER NOT NULL DEFAULT 1 CHECK (auto_register IN (0, 1)), -- false: its new devices wait for approval
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
) STRICT;

CREATE TABLE device (
    device_id TEXT NOT NULL PRIMARY KEY,
    model_number TEXT,
    pub_id INTEGER REFERENCES pub,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'pending', 'revoked')),
    ca_id TEXT REFERENCES ca, -- whose certificates may speak for it; none: by fingerprint only
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
) STRICT;
CREATE INDEX device_pub ON device (pub_id);
CREATE INDEX device_ca ON device (ca_id, created_at);

CREATE TABLE device_cert (
    certificate_id TEXT NOT NULL PRIMARY KEY, -- lower-case hex SHA-256 of the DER
    device_id TEXT NOT NULL REFERENCES device,
    ca_id TEXT REFERENCES ca,
    role TEXT NOT NULL DEFAULT 'device' CHECK (role IN ('device', 'service')),
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    not_after INTEGER NOT NULL,
    pem TEXT NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    revoked_at INTEGER
) STRICT;
CREATE INDEX device_cert_device ON device_cert (device_id);
CREATE INDEX device_cert_ca ON device_cert (ca_id);

-- Accounts of brokers' clients. Identities and tokens are hashed (SHA-256), passwords Argon2id.
CREATE TABLE account (
    account_id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity_hash TEXT NOT NULL UNIQUE,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    mosquitto_hash TEXT NOT NULL,
    device_id TEXT REFERENCES device,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    last_handshake_at INTEGER
) STRICT;
CREATE INDEX account_device ON account (device_id);

CREATE TABLE acl (
    account_id INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('pub', 'sub')),
    topic_pattern TEXT NOT NULL,
    PRIMARY KEY (account_id, kind, topic_pattern)
) STRICT;

CREATE TABLE handshake (
    account_id INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    peer TEXT -- address and port
) STRICT;
CREATE INDEX handshake_account ON handshake (account_id, at);

CREATE TABLE onboarding_token (
    name TEXT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    uses_left INTEGER, -- none: no limit
    expires_at INTEGER,
    allow_publish TEXT NOT NULL DEFAULT '[]', -- topic patterns given to accounts made with it
    allow_subscribe TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    revoked_at INTEGER
) STRICT;

-- Keys of the HTTPS API beside the configured one.
CREATE TABLE api_key (
    name TEXT NOT NULL PRIMARY KEY,
    key_hash TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    retired_at INTEGER
) STRICT;

CREATE TABLE telemetry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL, -- no foreign key: brokers forward for devices not known here
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    saved_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    body TEXT NOT NULL CHECK (json_valid(body))
) STRICT;
CREATE INDEX telemetry_device ON telemetry (device_id, created_at);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT
) STRICT;
CREATE INDEX audit_at ON audit (at);

-- ACME, shared by all nodes. Keys are encrypted with [database] secret. ------------
-- A name is a directory and its domains; nodes of one configuration share a name.

CREATE TABLE acme_account (
    directory TEXT NOT NULL PRIMARY KEY, -- its URL
    key_pkcs8 BLOB NOT NULL, -- encrypted base64
    registered INTEGER NOT NULL DEFAULT 0 CHECK (registered IN (0, 1)) -- the CA has confirmed it
) STRICT;

-- A row beats a session lock: it outlives its holder's connection, and the fence stops
-- a holder that comes late. With it, how the tries since the last success went.
CREATE TABLE acme_lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    until INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0, -- no try before this
    failed_at INTEGER NOT NULL DEFAULT 0,
    sentence TEXT NOT NULL DEFAULT '', -- why, for the operator
    fingerprint TEXT NOT NULL DEFAULT '' -- of the settings it failed with
) STRICT;

-- The order that was begun and not ended.
CREATE TABLE acme_order (
    name TEXT NOT NULL PRIMARY KEY,
    directory TEXT NOT NULL,
    domains TEXT NOT NULL, -- with commas between
    key_pem BLOB NOT NULL, -- encrypted PEM
    order_url TEXT, -- none from just before the CA is asked until its answer
    begun_at INTEGER NOT NULL
) STRICT;

CREATE TABLE acme_challenge (
    kind TEXT NOT NULL, -- http-01 or tls-alpn-01
    ident TEXT NOT NULL, -- the http token or the SNI name
    key_auth TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (kind, ident)
) STRICT;

CREATE TABLE acme_cert (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL, -- counts up over all names; nodes poll it
    directory TEXT NOT NULL,
    chain_pem TEXT NOT NULL,
    key_pem BLOB NOT NULL, -- encrypted PEM
    not_after INTEGER NOT NULL,
    obtained_at INTEGER NOT NULL
) STRICT;

INSERT INTO schema_version (version) VALUES (1);
