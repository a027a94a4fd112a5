-- +goose Up

-- Times are Unix milliseconds, NULL stands for never. Rows that are named by an id of ours are stored under it (WITHOUT
-- ROWID): one look finds them.

-- What the database knows of itself.
CREATE TABLE meta (
    id           INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    incarnation  TEXT    NOT NULL,
    seal_check   BLOB    NOT NULL,
    master_key   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    next_account INTEGER NOT NULL
) STRICT;

-- The last number of the change log. Each transaction that appends takes this row last.
CREATE TABLE log_head (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    head INTEGER NOT NULL
) STRICT;

CREATE TABLE changes (
    number     INTEGER NOT NULL PRIMARY KEY,
    of         TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    credential TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    until      INTEGER,
    at         INTEGER NOT NULL
) STRICT;

-- A deleted account keeps its row, without name and ref and suspended for ever, so that its number is never used again.
CREATE TABLE accounts (
    id                INTEGER NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    ref               TEXT    UNIQUE,
    created_at        INTEGER NOT NULL,
    suspended_at      INTEGER,
    deleted_at        INTEGER,
    requests_count    INTEGER NOT NULL DEFAULT 0,
    requests_per      INTEGER NOT NULL DEFAULT 0, -- in milliseconds
    requests_burst    INTEGER NOT NULL DEFAULT 0,
    liquid_dead_below INTEGER NOT NULL DEFAULT 0,
    orders_dead_below INTEGER NOT NULL DEFAULT 0,
    b2b_dead_below    INTEGER NOT NULL DEFAULT 0,
    oauth_dead_below  INTEGER NOT NULL DEFAULT 0,
    restricted_at     INTEGER,
    CHECK (deleted_at IS NULL OR suspended_at IS NOT NULL)
) STRICT;
CREATE INDEX accounts_suspended ON accounts (suspended_at) WHERE suspended_at IS NOT NULL;
CREATE INDEX accounts_restricted ON accounts (restricted_at) WHERE restricted_at IS NOT NULL;
CREATE INDEX accounts_limited ON accounts (requests_count) WHERE requests_count > 0;

CREATE TABLE allowlist (
    account    INTEGER NOT NULL REFERENCES accounts (id),
    prefix     TEXT    NOT NULL,
    note       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (account, prefix)
) STRICT, WITHOUT ROWID;

-- The newest secret and the one before it lie in the credential's row: an exchange reads one row. The newest has no end of
-- its own. jwks are the public keys of a client that signs; one that has keys may have no secret. token_scope is scope without
-- what begins with "gatehouse:".
CREATE TABLE credentials (
    id                TEXT    NOT NULL PRIMARY KEY,
    account           INTEGER NOT NULL REFERENCES accounts (id),
    kind              TEXT    NOT NULL,
    name              TEXT    NOT NULL,
    scope             TEXT    NOT NULL,
    token_scope       TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER,
    revoked_at        INTEGER,
    dead_below        INTEGER NOT NULL DEFAULT 0,
    narrowed_at       INTEGER,
    restricted_at     INTEGER,
    secrets_made      INTEGER NOT NULL,
    jwks              TEXT,
    secret_number     INTEGER,
    secret_digest     BLOB,
    secret_pepper     TEXT,
    secret_created_at INTEGER,
    old_number        INTEGER,
    old_digest        BLOB,
    old_pepper        TEXT,
    old_created_at    INTEGER,
    old_expires_at    INTEGER,
    CHECK (jwks IS NOT NULL OR secret_number IS NOT NULL),
    CHECK ((secret_number IS NULL) = (secret_digest IS NULL) AND (secret_number IS NULL) = (secret_pepper IS NULL)
       AND (secret_number IS NULL) = (secret_created_at IS NULL)),
    CHECK (old_number IS NULL OR secret_number IS NOT NULL),
    CHECK ((old_number IS NULL) = (old_digest IS NULL) AND (old_number IS NULL) = (old_pepper IS NULL)
       AND (old_number IS NULL) = (old_created_at IS NULL) AND (old_number IS NULL) = (old_expires_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_account ON credentials (account);
CREATE INDEX credentials_expires ON credentials (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX credentials_restricted ON credentials (restricted_at) WHERE restricted_at IS NOT NULL;
CREATE INDEX credentials_expiring ON credentials (expires_at) WHERE expires_at IS NOT NULL;

-- No REFERENCES here: a session is inserted out of its credential's and its account's rows, and neither is ever deleted.
-- No index on a time either, for each refresh would have to move its entry.
CREATE TABLE sessions (
    id                TEXT    NOT NULL PRIMARY KEY,
    account           INTEGER NOT NULL,
    credential        TEXT    NOT NULL,
    secret            INTEGER NOT NULL,
    pos               INTEGER NOT NULL,
    generation        INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    rotated_at        INTEGER NOT NULL,
    access_expires_at INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    access_key        TEXT    NOT NULL,
    refresh_key       TEXT    NOT NULL,
    scope             TEXT    NOT NULL,
    rotated_under     BLOB,
    ended_at          INTEGER,
    ended_because     TEXT,
    address           TEXT    NOT NULL,
    user_agent        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_account ON sessions (account);

-- By sid, of any contract: most have no row in sessions.
CREATE TABLE revoked_sessions (
    sid   TEXT    NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_sessions_until ON revoked_sessions (until);

-- seq is the order in which they were added.
CREATE TABLE keys (
    seq        INTEGER NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    ring       TEXT    NOT NULL,
    algorithm  TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    master_key TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    active_at  INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE TABLE lifetimes (
    type       TEXT    NOT NULL PRIMARY KEY,
    longest    INTEGER NOT NULL, -- in milliseconds
    lowered_at INTEGER,
    lowered_to INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE replicas (
    id         TEXT    NOT NULL PRIMARY KEY,
    applied    INTEGER NOT NULL,
    heard_at   INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    version    TEXT    NOT NULL,
    listens    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number     INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    credential TEXT    NOT NULL,
    secret     INTEGER NOT NULL,
    session    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    detail     TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);

CREATE TABLE refusals (
    id         INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    method     TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    path       TEXT    NOT NULL,
    route      TEXT    NOT NULL,
    contract   TEXT    NOT NULL,
    status     INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    account    INTEGER NOT NULL,
    credential TEXT    NOT NULL,
    secret     INTEGER NOT NULL,
    session    TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    peer       TEXT    NOT NULL,
    forwarded  TEXT    NOT NULL,
    user_agent TEXT    NOT NULL,
    limit_name TEXT    NOT NULL,
    issued_at  INTEGER,
    detail     TEXT    NOT NULL
) STRICT;
CREATE INDEX refusals_at ON refusals (at);
CREATE INDEX refusals_account ON refusals (account, at);
CREATE INDEX refusals_credential ON refusals (credential, at);
CREATE INDEX refusals_address ON refusals (address, at);

CREATE TABLE refusal_requests (
    request_id TEXT    NOT NULL,
    refusal    INTEGER NOT NULL REFERENCES refusals (id) ON DELETE CASCADE,
    PRIMARY KEY (request_id, refusal)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusal_requests_refusal ON refusal_requests (refusal);

CREATE TABLE usage (
    account    INTEGER NOT NULL,
    hour       INTEGER NOT NULL,
    credential TEXT    NOT NULL,
    what       TEXT    NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (account, hour, credential, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret_uses (
    credential TEXT    NOT NULL,
    secret     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    user_agent TEXT    NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (credential, secret)
) STRICT, WITHOUT ROWID;
