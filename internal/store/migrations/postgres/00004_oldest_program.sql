-- +goose Up

-- The oldest program that can work with this schema, by the version that it wants itself. A migration that takes away or changes what a
-- program uses raises it to the first version whose program did not.
CREATE TABLE oldest_program (
    id      BIGINT  NOT NULL PRIMARY KEY CHECK (id = 1),
    version BIGINT  NOT NULL
);
INSERT INTO oldest_program (id, version) VALUES (1, 4);
