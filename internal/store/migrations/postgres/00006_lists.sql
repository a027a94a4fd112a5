-- +goose Up

-- As in SQLite.
ALTER TABLE accounts ADD COLUMN words_of TEXT COLLATE "C";
CREATE TABLE account_words (
    account BIGINT           NOT NULL,
    word    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, word)
);
CREATE INDEX account_words_word ON account_words (word, account);
CREATE INDEX accounts_stale_words ON accounts (id) WHERE deleted_at IS NULL AND (words_of IS NULL OR words_of <> name || ' ' || COALESCE(ref, ''));

-- What lists are read by, page for page. Two of them stand in for those that are dropped.
CREATE INDEX accounts_suspended_ids ON accounts (id) WHERE deleted_at IS NULL AND suspended_at IS NOT NULL;
CREATE INDEX credentials_of_account ON credentials (account, created_at, id);
CREATE INDEX sessions_of_account ON sessions (account, started_at, id);
CREATE INDEX sessions_of_credential ON sessions (credential, started_at, id);
DROP INDEX credentials_account;
DROP INDEX sessions_account;
