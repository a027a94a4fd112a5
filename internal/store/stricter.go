package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/verify"
)

// Taken is what was taken away since a backup, and is so again in what is restored.
type Taken struct {
	Deleted    int64 // accounts
	Suspended  int64
	Limited    int64
	Allowlists int64 // of accounts
	Revoked    int64 // credentials
	Narrowed   int64 // in scope or expiry
	Rotated    int64 // whose secrets or keys are others now,
	// SecretsLost of them with a secret that nobody has: they need a new one.
	SecretsLost int64
	// People are the persons who were removed, or have less to sign in with, or a lesser role, than the backup says; Tokens are
	// those of the admin API that were revoked.
	People, Tokens int64

	// What was made since is not in the backup, and gone.
	AccountsGone    int64
	CredentialsGone int64
}

// ErrOther says that a database is not the one whose backup it is held against, or was before it.
var ErrOther = errors.New("this is not what became of the database of the backup")

// Stricter holds what was loaded, and migrated, against the database that it will replace, row by row, and has the stricter win:
// what was deleted, suspended, limited, revoked or narrowed in either is so. Secrets, keys, what persons sign in with and the
// entries of allowlists are those of the database, unless an allowlist is empty there, which opens the account to every address.
// The audit trail goes on with what the database has.
func (s *Staging) Stricter(ctx context.Context, replaced *DB) (Taken, error) {
	other, err := newStaging(ctx, filepath.Dir(s.path), s.wanted, s.clock)
	if err != nil {
		return Taken{}, err
	}
	taken, err := s.stricter(ctx, replaced, other)
	return taken, wrap(errors.Join(err, other.Discard()), "hold the backup against "+replaced.Path())
}

func (s *Staging) stricter(ctx context.Context, replaced *DB, other *Staging) (taken Taken, err error) {
	if err := other.copyOf(ctx, replaced); err != nil {
		return taken, err
	}
	if err := s.commit(); err != nil {
		return taken, err
	}
	if _, err := s.conn.exec("ATTACH $1 AS replaced", other.path); err != nil {
		return taken, err
	}
	if err := s.begin(); err != nil {
		return taken, err
	}
	t := &tx{on: s.conn}
	if err := t.sameDatabase(); err != nil {
		return taken, err
	}
	if err := t.stricter(&taken); err != nil {
		return taken, err
	}
	if err := s.commit(); err != nil {
		return taken, err
	}
	if _, err := s.conn.exec("DETACH replaced"); err != nil {
		return taken, err
	}
	return taken, s.begin()
}

// copyOf loads what a backup of db would hold.
func (s *Staging) copyOf(ctx context.Context, db *DB) error {
	var h backup.Header
	table, done := 0, int64(0)
	err := db.Export(ctx, func(of backup.Header) error {
		h = of
		return nil
	}, func(row []any) error {
		for done == h.Tables[table].Rows {
			table, done = table+1, 0
		}
		done++
		return s.Load(&h.Tables[table], row)
	})
	if err != nil {
		return err
	}
	return s.shut()
}

// sameDatabase makes sure that replaced is what became of the database that was backed up: they have a pepper in common, of which
// each database draws its own, and the audit trail of replaced goes on from the backup's.
func (t *tx) sameDatabase() error {
	var shared, behind int64
	err := t.one(`SELECT (SELECT count(*) FROM keys k JOIN replaced.keys o ON o.id = k.id),
		(SELECT COALESCE(MAX(number), 0) FROM audit) > (SELECT COALESCE(MAX(number), 0) FROM replaced.audit)`, nil, out{&shared, &behind})
	switch {
	case err != nil:
		return err
	case shared == 0:
		return fmt.Errorf("%w: it has other keys", ErrOther)
	case behind != 0:
		return fmt.Errorf("%w: it is older than the backup", ErrOther)
	}
	return nil
}

func (t *tx) stricter(taken *Taken) error {
	secrets := strings.Fields(`secrets_made jwks secret_number secret_digest secret_pepper secret_created_at
		old_number old_digest old_pepper old_created_at old_expires_at`)
	of := func(table string) string { return table + strings.Join(secrets, ", "+table) }
	const limit = `requests_count = o.requests_count, requests_per = o.requests_per, requests_burst = o.requests_burst`
	steps := []struct {
		count *int64
		query string
	}{
		{&taken.Deleted, `UPDATE accounts SET deleted_at = o.deleted_at, suspended_at = COALESCE(accounts.suspended_at, o.suspended_at), name = '',
			ref = NULL, requests_count = 0, requests_per = 0, requests_burst = 0
			FROM replaced.accounts o WHERE o.id = accounts.id AND o.deleted_at IS NOT NULL AND accounts.deleted_at IS NULL`},
		{nil, `DELETE FROM allowlist WHERE account IN (SELECT id FROM accounts WHERE deleted_at IS NOT NULL)`},
		{&taken.Suspended, `UPDATE accounts SET suspended_at = o.suspended_at
			FROM replaced.accounts o WHERE o.id = accounts.id AND o.suspended_at IS NOT NULL AND accounts.suspended_at IS NULL`},
		{&taken.Limited, `UPDATE accounts SET ` + limit + ` FROM replaced.accounts o WHERE o.id = accounts.id AND o.requests_count > 0
			AND (accounts.requests_count = 0 OR o.requests_count * accounts.requests_per < accounts.requests_count * o.requests_per)`},
		{nil, `CREATE TEMP TABLE changed AS SELECT DISTINCT account FROM (
				SELECT * FROM (SELECT account, prefix, expires_at FROM replaced.allowlist EXCEPT SELECT account, prefix, expires_at FROM allowlist)
				UNION ALL SELECT * FROM (SELECT account, prefix, expires_at FROM allowlist EXCEPT SELECT account, prefix, expires_at FROM replaced.allowlist))
			WHERE account IN (SELECT account FROM replaced.allowlist) AND account IN (SELECT id FROM accounts WHERE deleted_at IS NULL)`},
		{nil, `DELETE FROM allowlist WHERE account IN (SELECT account FROM changed)`},
		{nil, `INSERT INTO allowlist (account, prefix, note, created_at, expires_at)
			SELECT account, prefix, note, created_at, expires_at FROM replaced.allowlist WHERE account IN (SELECT account FROM changed)`},
		{&taken.Revoked, `UPDATE credentials SET revoked_at = o.revoked_at
			FROM replaced.credentials o WHERE o.id = credentials.id AND o.revoked_at IS NOT NULL AND credentials.revoked_at IS NULL`},
		{&taken.Narrowed, `UPDATE credentials SET expires_at = o.expires_at FROM replaced.credentials o
			WHERE o.id = credentials.id AND o.expires_at IS NOT NULL AND (credentials.expires_at IS NULL OR o.expires_at < credentials.expires_at)`},
		{&taken.Rotated, `UPDATE credentials SET (` + of("") + `) = (SELECT ` + of("o.") + ` FROM replaced.credentials o WHERE o.id = credentials.id)
			WHERE EXISTS (SELECT 1 FROM replaced.credentials o WHERE o.id = credentials.id AND (` + of("credentials.") + `) IS NOT (` + of("o.") + `))`},
		{nil, `INSERT INTO keys (` + keyColumns + `) SELECT ` + keyColumns + ` FROM replaced.keys WHERE id NOT IN (SELECT id FROM keys) ORDER BY seq`},
		{&taken.People, `UPDATE people SET state = o.state, removed_at = o.removed_at, password = o.password, totp_sealed = o.totp_sealed,
				totp_master_key = o.totp_master_key, totp_step = o.totp_step, totp_at = o.totp_at,
				role = CASE WHEN ` + mightOf("o") + ` < ` + mightOf("people") + ` THEN o.role ELSE people.role END
			FROM replaced.people o WHERE o.id = people.id AND (o.state <> people.state OR o.password IS NOT people.password
				OR o.totp_sealed IS NOT people.totp_sealed OR ` + mightOf("o") + ` < ` + mightOf("people") + `)`},
		{&taken.Tokens, `UPDATE operator_tokens SET revoked_at = o.revoked_at
			FROM replaced.operator_tokens o WHERE o.id = operator_tokens.id AND o.revoked_at IS NOT NULL AND operator_tokens.revoked_at IS NULL`},
		{nil, `INSERT INTO audit SELECT * FROM replaced.audit WHERE number NOT IN (SELECT number FROM audit)`},
		// What the restore skips it skips from the later of the two.
		{nil, `UPDATE meta SET next_account = o.next_account FROM replaced.meta o WHERE o.next_account > meta.next_account`},
		{nil, `UPDATE log_head SET head = o.head FROM replaced.log_head o WHERE o.head > log_head.head`},
	}
	// What persons sign in with is what they have in the database.
	for _, table := range []string{"recovery_codes", "passkeys", "openids"} {
		for _, query := range []string{
			`DELETE FROM ` + table + ` WHERE person IN (SELECT id FROM replaced.people)`,
			`INSERT INTO ` + table + ` SELECT * FROM replaced.` + table + ` WHERE person IN (SELECT id FROM people)`,
		} {
			if _, err := t.exec(query); err != nil {
				return err
			}
		}
	}
	for _, step := range steps {
		n, err := t.exec(step.query)
		if err != nil {
			return err
		}
		if step.count != nil {
			*step.count += n
		}
	}
	if err := t.one(`SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM replaced.accounts o WHERE o.id NOT IN (SELECT id FROM accounts) AND o.deleted_at IS NULL),
		(SELECT count(*) FROM replaced.credentials o WHERE o.id NOT IN (SELECT id FROM credentials) AND o.revoked_at IS NULL)`, nil,
		out{&taken.Allowlists, &taken.AccountsGone, &taken.CredentialsGone}); err != nil {
		return err
	}
	return t.narrower(taken)
}

// mightOf orders the roles in a table of persons: the more, the mightier.
func mightOf(table string) string {
	return `CASE ` + table + `.role WHEN 'owner' THEN 3 WHEN 'admin' THEN 2 WHEN 'developer' THEN 2 ELSE 1 END`
}

// narrower gives each credential the scopes alone that it has in both databases.
func (t *tx) narrower(taken *Taken) error {
	type narrowed struct{ id, scope string }
	var all []narrowed
	err := t.all(`SELECT c.id, c.scope, o.scope FROM credentials c JOIN replaced.credentials o ON o.id = c.id WHERE o.scope <> c.scope`, nil,
		func(scan func(...any) error) error {
			var id, here, there string
			err := scan(&id, &here, &there)
			if both := verify.Intersect(here, there); both != here {
				all = append(all, narrowed{id, both})
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, n := range all {
		if err := t.setScope(n.id, n.scope); err != nil {
			return err
		}
	}
	taken.Narrowed += int64(len(all))
	return nil
}

func (t *tx) setScope(credential, scope string) error {
	_, err := t.exec(`UPDATE credentials SET scope = $1, token_scope = $2 WHERE id = $3`, scope, auth.TokenScope(scope), credential)
	return err
}
