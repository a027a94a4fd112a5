-- +goose Up

-- How long a replica goes on deciding without being heard; 0: one of the version before, which did not say.
ALTER TABLE replicas ADD COLUMN max_staleness BIGINT NOT NULL DEFAULT 0; -- in milliseconds

-- Digests of what counts once, for as long as it could be presented again.
CREATE TABLE used_once (
    digest BYTEA  NOT NULL PRIMARY KEY,
    until  BIGINT NOT NULL
);
CREATE INDEX used_once_until ON used_once (until);
