-- +goose Up

-- As in SQLite.
CREATE TABLE seen_addresses (
    account    BIGINT           NOT NULL,
    prefix     TEXT COLLATE "C" NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    at         BIGINT           NOT NULL,
    count      BIGINT           NOT NULL,
    PRIMARY KEY (account, prefix, credential)
);
CREATE INDEX seen_addresses_at ON seen_addresses (at);
