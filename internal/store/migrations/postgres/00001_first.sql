-- +goose Up

-- The tables of migrations/sqlite, of the same number. Times are Unix milliseconds, NULL stands for never.

-- What the database knows of itself.
CREATE TABLE meta (
    id           BIGINT           NOT NULL PRIMARY KEY CHECK (id = 1),
    incarnation  TEXT COLLATE "C" NOT NULL,
    seal_check   BYTEA            NOT NULL,
    master_key   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT           NOT NULL,
    next_account BIGINT           NOT NULL
);

-- The last number of the change log. Each transaction that appends takes this row last. timeline is that of the server that gave
-- this number, '' if it is not known: on another one numbers may have been lost.
CREATE TABLE log_head (
    id       BIGINT           NOT NULL PRIMARY KEY CHECK (id = 1),
    head     BIGINT           NOT NULL,
    timeline TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE TABLE changes (
    number     BIGINT           NOT NULL PRIMARY KEY,
    of         TEXT COLLATE "C" NOT NULL,
    account    BIGINT           NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    session    TEXT COLLATE "C" NOT NULL,
    until      BIGINT,
    at         BIGINT           NOT NULL
);

-- A deleted account keeps its row, without name and ref and suspended for ever, so that its number is never used again.
CREATE TABLE accounts (
    id                BIGINT           NOT NULL PRIMARY KEY,
    name              TEXT COLLATE "C" NOT NULL,
    ref               TEXT COLLATE "C" UNIQUE,
    created_at        BIGINT           NOT NULL,
    suspended_at      BIGINT,
    deleted_at        BIGINT,
    requests_count    BIGINT           NOT NULL DEFAULT 0,
    requests_per      BIGINT           NOT NULL DEFAULT 0, -- in milliseconds
    requests_burst    BIGINT           NOT NULL DEFAULT 0,
    liquid_dead_below BIGINT           NOT NULL DEFAULT 0,
    orders_dead_below BIGINT           NOT NULL DEFAULT 0,
    b2b_dead_below    BIGINT           NOT NULL DEFAULT 0,
    oauth_dead_below  BIGINT           NOT NULL DEFAULT 0,
    restricted_at     BIGINT,
    CHECK (deleted_at IS NULL OR suspended_at IS NOT NULL)
);
CREATE INDEX accounts_suspended ON accounts (suspended_at) WHERE suspended_at IS NOT NULL;
CREATE INDEX accounts_restricted ON accounts (restricted_at) WHERE restricted_at IS NOT NULL;
CREATE INDEX accounts_limited ON accounts (requests_count) WHERE requests_count > 0;

CREATE TABLE allowlist (
    account    BIGINT           NOT NULL REFERENCES accounts (id),
    prefix     TEXT COLLATE "C" NOT NULL,
    note       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (account, prefix)
);

-- The newest secret and the one before it lie in the credential's row: an exchange reads one row. The newest has no end of
-- its own. jwks are the public keys of a client that signs; one that has keys may have no secret. token_scope is scope without
-- what begins with "gatehouse:".
CREATE TABLE credentials (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account           BIGINT           NOT NULL REFERENCES accounts (id),
    kind              TEXT COLLATE "C" NOT NULL,
    name              TEXT COLLATE "C" NOT NULL,
    scope             TEXT COLLATE "C" NOT NULL,
    token_scope       TEXT COLLATE "C" NOT NULL,
    created_at        BIGINT           NOT NULL,
    expires_at        BIGINT,
    revoked_at        BIGINT,
    dead_below        BIGINT           NOT NULL DEFAULT 0,
    narrowed_at       BIGINT,
    restricted_at     BIGINT,
    secrets_made      BIGINT           NOT NULL,
    jwks              TEXT COLLATE "C",
    secret_number     BIGINT,
    secret_digest     BYTEA,
    secret_pepper     TEXT COLLATE "C",
    secret_created_at BIGINT,
    old_number        BIGINT,
    old_digest        BYTEA,
    old_pepper        TEXT COLLATE "C",
    old_created_at    BIGINT,
    old_expires_at    BIGINT,
    CHECK (jwks IS NOT NULL OR secret_number IS NOT NULL),
    CHECK ((secret_number IS NULL) = (secret_digest IS NULL) AND (secret_number IS NULL) = (secret_pepper IS NULL)
       AND (secret_number IS NULL) = (secret_created_at IS NULL)),
    CHECK (old_number IS NULL OR secret_number IS NOT NULL),
    CHECK ((old_number IS NULL) = (old_digest IS NULL) AND (old_number IS NULL) = (old_pepper IS NULL)
       AND (old_number IS NULL) = (old_created_at IS NULL) AND (old_number IS NULL) = (old_expires_at IS NULL))
);
CREATE INDEX credentials_account ON credentials (account);
CREATE INDEX credentials_expires ON credentials (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX credentials_restricted ON credentials (restricted_at) WHERE restricted_at IS NOT NULL;
CREATE INDEX credentials_expiring ON credentials (expires_at) WHERE expires_at IS NOT NULL;

-- No REFERENCES here: a session is inserted out of its credential's and its account's rows, and neither is ever deleted.
-- No index on a time either, for each refresh would have to move its entry.
CREATE TABLE sessions (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account           BIGINT           NOT NULL,
    credential        TEXT COLLATE "C" NOT NULL,
    secret            BIGINT           NOT NULL,
    pos               BIGINT           NOT NULL,
    generation        BIGINT           NOT NULL,
    started_at        BIGINT           NOT NULL,
    rotated_at        BIGINT           NOT NULL,
    access_expires_at BIGINT           NOT NULL,
    expires_at        BIGINT           NOT NULL,
    access_key        TEXT COLLATE "C" NOT NULL,
    refresh_key       TEXT COLLATE "C" NOT NULL,
    scope             TEXT COLLATE "C" NOT NULL,
    rotated_under     BYTEA,
    ended_at          BIGINT,
    ended_because     TEXT COLLATE "C",
    address           TEXT COLLATE "C" NOT NULL,
    user_agent        TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 75); -- a refresh finds room for the row beside the old one, and touches no index
CREATE INDEX sessions_account ON sessions (account);

-- By sid, of any contract: most have no row in sessions.
CREATE TABLE revoked_sessions (
    sid   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    until BIGINT           NOT NULL,
    at    BIGINT           NOT NULL
);
CREATE INDEX revoked_sessions_until ON revoked_sessions (until);

-- seq is the order in which they were added.
CREATE TABLE keys (
    seq        BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    ring       TEXT COLLATE "C" NOT NULL,
    algorithm  TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA            NOT NULL,
    master_key TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    active_at  BIGINT           NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE lifetimes (
    type       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    longest    BIGINT           NOT NULL, -- in milliseconds
    lowered_at BIGINT,
    lowered_to BIGINT           NOT NULL
);

CREATE TABLE replicas (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    applied    BIGINT           NOT NULL,
    heard_at   BIGINT           NOT NULL,
    started_at BIGINT           NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    listens    TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit (
    number     BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at         BIGINT           NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    account    BIGINT           NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    secret     BIGINT           NOT NULL,
    session    TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    detail     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE refusals (
    id         BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at         BIGINT           NOT NULL,
    count      BIGINT           NOT NULL,
    method     TEXT COLLATE "C" NOT NULL,
    host       TEXT COLLATE "C" NOT NULL,
    path       TEXT COLLATE "C" NOT NULL,
    route      TEXT COLLATE "C" NOT NULL,
    contract   TEXT COLLATE "C" NOT NULL,
    status     BIGINT           NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    account    BIGINT           NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    secret     BIGINT           NOT NULL,
    session    TEXT COLLATE "C" NOT NULL,
    type       TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    peer       TEXT COLLATE "C" NOT NULL,
    forwarded  TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL,
    limit_name TEXT COLLATE "C" NOT NULL,
    issued_at  BIGINT,
    detail     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX refusals_at ON refusals (at);
CREATE INDEX refusals_account ON refusals (account, at);
CREATE INDEX refusals_credential ON refusals (credential, at);
CREATE INDEX refusals_address ON refusals (address, at);

CREATE TABLE refusal_requests (
    request_id TEXT COLLATE "C" NOT NULL,
    refusal    BIGINT           NOT NULL REFERENCES refusals (id) ON DELETE CASCADE,
    PRIMARY KEY (request_id, refusal)
);
CREATE INDEX refusal_requests_refusal ON refusal_requests (refusal);

CREATE TABLE usage (
    account    BIGINT           NOT NULL,
    hour       BIGINT           NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    what       TEXT COLLATE "C" NOT NULL,
    count      BIGINT           NOT NULL,
    PRIMARY KEY (account, hour, credential, what)
);

CREATE TABLE secret_uses (
    credential TEXT COLLATE "C" NOT NULL,
    secret     BIGINT           NOT NULL,
    at         BIGINT           NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL,
    count      BIGINT           NOT NULL,
    PRIMARY KEY (credential, secret)
);
