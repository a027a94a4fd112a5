-- +goose Up

-- What was asked of the admin API under an Idempotency-Key, by a keyed digest of whose it is and of the key. request is a keyed
-- digest of what was asked, answer what was answered, without secrets; NULL while that is not known.
CREATE TABLE repeats (
    digest  BLOB NOT NULL PRIMARY KEY,
    request BLOB NOT NULL,
    answer  TEXT,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX repeats_until ON repeats (until);
