-- +goose Up

-- The last good backup: one row for those that the servers make by themselves, one for those of commands. Whoever makes one of
-- the first holds the claim.
CREATE TABLE backups (
    made_by    TEXT    NOT NULL PRIMARY KEY,
    taken_at   INTEGER,
    claimed_at INTEGER,
    claimed_by TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
