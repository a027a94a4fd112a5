-- +goose Up

-- As in SQLite.
CREATE TABLE backups (
    made_by    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    taken_at   BIGINT,
    claimed_at BIGINT,
    claimed_by TEXT COLLATE "C" NOT NULL DEFAULT ''
);
