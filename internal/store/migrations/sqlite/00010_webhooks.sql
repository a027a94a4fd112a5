-- +goose Up

-- Who sends webhooks now, and up to which place in the audit trail's chain acts were looked at; NULL: none yet.
CREATE TABLE webhook_state (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    claimed_at INTEGER NOT NULL,
    claimed_by TEXT    NOT NULL,
    seq        INTEGER
) STRICT;

-- What is to be sent, to each endpoint in the order of number.
CREATE TABLE webhook_queue (
    number   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    tries    INTEGER NOT NULL,
    next_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_queue_endpoint ON webhook_queue (endpoint, number);
CREATE INDEX webhook_queue_at ON webhook_queue (at);

-- What was told once and is not told again.
CREATE TABLE webhook_told (
    what  TEXT    NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_told_until ON webhook_told (until);
CREATE INDEX credentials_old_ends ON credentials (old_expires_at) WHERE old_expires_at IS NOT NULL;
