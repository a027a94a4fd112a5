-- +goose Up

-- The audit trail is a chain: seq is a row's place in it, hash covers the row and the hash before it. NULL: not sealed yet. person is
-- who acted, about to whom it was done, '' if that is nobody whom we know.
ALTER TABLE audit ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN about  TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN seq    INTEGER;
ALTER TABLE audit ADD COLUMN hash   BLOB;
CREATE UNIQUE INDEX audit_seq ON audit (seq); -- with the NULLs, by which the rows are found that are not sealed
CREATE INDEX audit_account ON audit (account, at) WHERE account <> 0;
CREATE INDEX audit_credential ON audit (credential, at) WHERE credential <> '';
CREATE INDEX audit_action ON audit (action, at);
CREATE INDEX audit_person ON audit (person, at) WHERE person <> '';
CREATE INDEX audit_about ON audit (about, at) WHERE about <> '';

-- Where the chain ends. Who seals moves it on: of several at once one can.
CREATE TABLE audit_head (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;

-- Signatures under the chain as it was. Rows up to cut had been removed by then.
CREATE TABLE audit_checkpoints (
    number    INTEGER NOT NULL PRIMARY KEY,
    seq       INTEGER NOT NULL,
    hash      BLOB    NOT NULL,
    cut       INTEGER NOT NULL,
    cut_hash  BLOB    NOT NULL,
    at        INTEGER NOT NULL,
    key_id    TEXT    NOT NULL,
    public    BLOB    NOT NULL,
    signature BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_checkpoints_seq ON audit_checkpoints (seq);

-- What signs them. Not among the other keys: a program that does not know the ring would refuse to start.
CREATE TABLE audit_keys (
    seq        INTEGER NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    algorithm  TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    master_key TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
