-- +goose Up

-- Persons: operators (account 0) and members of accounts. One who was removed keeps the row, for the audit trail, and nothing
-- to sign in with. No REFERENCES to accounts, for operators have none.
CREATE TABLE people (
    id              TEXT    NOT NULL PRIMARY KEY,
    account         INTEGER NOT NULL,
    email           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    role            TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('invited', 'active', 'removed')),
    created_at      INTEGER NOT NULL,
    removed_at      INTEGER,
    signed_in_at    INTEGER,
    password        TEXT,
    totp_sealed     BLOB,
    totp_master_key TEXT,
    totp_step       INTEGER,
    totp_at         INTEGER,
    CHECK ((state = 'removed') = (removed_at IS NOT NULL)),
    CHECK (state = 'active' OR password IS NULL AND totp_sealed IS NULL),
    CHECK ((totp_sealed IS NULL) = (totp_master_key IS NULL) AND (totp_sealed IS NULL) = (totp_step IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX people_operators ON people (email) WHERE account = 0 AND state <> 'removed';
CREATE UNIQUE INDEX people_members ON people (email) WHERE account <> 0 AND state <> 'removed';
CREATE INDEX people_account ON people (account, email);
CREATE INDEX people_removed ON people (removed_at) WHERE removed_at IS NOT NULL;

-- A person has one link at most. That of the first operator has the person ''.
CREATE TABLE invitations (
    person     TEXT    NOT NULL PRIMARY KEY,
    digest     BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_expires ON invitations (expires_at);

CREATE TABLE recovery_codes (
    person  TEXT NOT NULL REFERENCES people (id),
    digest  BLOB NOT NULL,
    pepper  TEXT NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (person, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE passkeys (
    id         BLOB    NOT NULL PRIMARY KEY,
    person     TEXT    NOT NULL REFERENCES people (id),
    name       TEXT    NOT NULL,
    public_key BLOB    NOT NULL,
    counter    INTEGER NOT NULL,
    transports TEXT    NOT NULL,
    model      BLOB,
    synced     INTEGER NOT NULL,
    backed_up  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkeys_person ON passkeys (person);

-- The same human may be an operator and a member.
CREATE TABLE openids (
    kind       TEXT    NOT NULL,
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    person     TEXT    NOT NULL REFERENCES people (id),
    email      TEXT    NOT NULL,
    provider   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER,
    PRIMARY KEY (kind, issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX openids_person ON openids (person);

CREATE TABLE dashboard_sessions (
    digest       BLOB    NOT NULL PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    person       TEXT    NOT NULL REFERENCES people (id),
    stage        TEXT    NOT NULL,
    method       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    idle_ends_at INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    proved_at    INTEGER,
    address      TEXT    NOT NULL,
    user_agent   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dashboard_sessions_person ON dashboard_sessions (person);
CREATE INDEX dashboard_sessions_idle ON dashboard_sessions (idle_ends_at);

-- Tokens of the admin API.
CREATE TABLE operator_tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    pepper     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    used_at    INTEGER,
    used_from  TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
