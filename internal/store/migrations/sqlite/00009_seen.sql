-- +goose Up

-- Where credentials came from, for whoever changes an allowlist: single addresses of IPv4, /64 of IPv6, forgotten 30 days after they were
-- last seen.
CREATE TABLE seen_addresses (
    account    INTEGER NOT NULL,
    prefix     TEXT    NOT NULL,
    credential TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (account, prefix, credential)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_addresses_at ON seen_addresses (at);
