-- +goose Up

-- What was asked of the admin API under an Idempotency-Key, by a keyed digest of whose it is and of the key. request is a keyed
-- digest of what was asked, answer what was answered, without secrets; NULL while that is not known.
CREATE TABLE repeats (
    digest  BYTEA NOT NULL PRIMARY KEY,
    request BYTEA NOT NULL,
    answer  TEXT COLLATE "C",
    until   BIGINT NOT NULL
);
CREATE INDEX repeats_until ON repeats (until);
