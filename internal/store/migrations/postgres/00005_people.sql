-- +goose Up

-- As in SQLite. Persons: operators (account 0) and members of accounts. One who was removed keeps the row, for the audit trail, and nothing
-- to sign in with. No REFERENCES to accounts, for operators have none.
CREATE TABLE people (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account         BIGINT           NOT NULL,
    email           TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    role            TEXT COLLATE "C" NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('invited', 'active', 'removed')),
    created_at      BIGINT           NOT NULL,
    removed_at      BIGINT,
    signed_in_at    BIGINT,
    password        TEXT COLLATE "C",
    totp_sealed     BYTEA,
    totp_master_key TEXT COLLATE "C",
    totp_step       BIGINT,
    totp_at         BIGINT,
    CHECK ((state = 'removed') = (removed_at IS NOT NULL)),
    CHECK (state = 'active' OR password IS NULL AND totp_sealed IS NULL),
    CHECK ((totp_sealed IS NULL) = (totp_master_key IS NULL) AND (totp_sealed IS NULL) = (totp_step IS NULL))
);
CREATE UNIQUE INDEX people_operators ON people (email) WHERE account = 0 AND state <> 'removed';
CREATE UNIQUE INDEX people_members ON people (email) WHERE account <> 0 AND state <> 'removed';
CREATE INDEX people_account ON people (account, email);
CREATE INDEX people_removed ON people (removed_at) WHERE removed_at IS NOT NULL;

-- A person has one link at most. That of the first operator has the person ''.
CREATE TABLE invitations (
    person     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    digest     BYTEA            NOT NULL UNIQUE,
    created_at BIGINT           NOT NULL,
    expires_at BIGINT           NOT NULL
);
CREATE INDEX invitations_expires ON invitations (expires_at);

CREATE TABLE recovery_codes (
    person  TEXT COLLATE "C" NOT NULL REFERENCES people (id),
    digest  BYTEA            NOT NULL,
    pepper  TEXT COLLATE "C" NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (person, digest)
);

CREATE TABLE passkeys (
    id         BYTEA            NOT NULL PRIMARY KEY,
    person     TEXT COLLATE "C" NOT NULL REFERENCES people (id),
    name       TEXT COLLATE "C" NOT NULL,
    public_key BYTEA            NOT NULL,
    counter    BIGINT           NOT NULL,
    transports TEXT COLLATE "C" NOT NULL,
    model      BYTEA,
    synced     BIGINT           NOT NULL,
    backed_up  BIGINT           NOT NULL,
    created_at BIGINT           NOT NULL,
    used_at    BIGINT
);
CREATE INDEX passkeys_person ON passkeys (person);

-- The same human may be an operator and a member.
CREATE TABLE openids (
    kind       TEXT COLLATE "C" NOT NULL,
    issuer     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    person     TEXT COLLATE "C" NOT NULL REFERENCES people (id),
    email      TEXT COLLATE "C" NOT NULL,
    provider   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    used_at    BIGINT,
    PRIMARY KEY (kind, issuer, subject)
);
CREATE INDEX openids_person ON openids (person);

CREATE TABLE dashboard_sessions (
    digest       BYTEA            NOT NULL PRIMARY KEY,
    id           TEXT COLLATE "C" NOT NULL UNIQUE,
    person       TEXT COLLATE "C" NOT NULL REFERENCES people (id),
    stage        TEXT COLLATE "C" NOT NULL,
    method       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT           NOT NULL,
    seen_at      BIGINT           NOT NULL,
    idle_ends_at BIGINT           NOT NULL,
    ends_at      BIGINT           NOT NULL,
    proved_at    BIGINT,
    address      TEXT COLLATE "C" NOT NULL,
    user_agent   TEXT COLLATE "C" NOT NULL
);
CREATE INDEX dashboard_sessions_person ON dashboard_sessions (person);
CREATE INDEX dashboard_sessions_idle ON dashboard_sessions (idle_ends_at);

-- Tokens of the admin API.
CREATE TABLE operator_tokens (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    scopes     TEXT COLLATE "C" NOT NULL,
    digest     BYTEA            NOT NULL,
    pepper     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    used_at    BIGINT,
    used_from  TEXT COLLATE "C" NOT NULL DEFAULT ''
);
