package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"

	_ "modernc.org/sqlite" // the driver that the server has

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/server"
)

// seedKeys puts n API keys into the installation's store and returns them. They are written straight into the table, in one
// transaction: through the registry, each with its own line in the audit trail, a million would take minutes.
func seedKeys(ctx context.Context, in *installation, n int) (keys []string, err error) {
	c, err := config.Load(config.Options{Path: in.config()}) // without the environment
	if err != nil {
		return nil, err
	}
	op, err := server.Open(ctx, c, server.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, op.Close()) }()
	var holders []auth.AccountID
	for i := range accounts {
		a, err := op.Registry.CreateAccount(ctx, auth.Actor{Name: "bench", Role: auth.RoleOwner, Machine: true}, fmt.Sprintf("Bench %d", i), "")
		if err != nil {
			return nil, err
		}
		holders = append(holders, a.ID)
	}
	made := make([]minted, n)
	for i := range made {
		made[i] = minted{secret.NewCredentialID(), secret.NewSecret()}
	}
	// In the order of the table, or each insert would land on another page.
	slices.SortFunc(made, func(a, b minted) int { return cmp.Compare(a.id, b.id) })
	path := url.URL{Scheme: "file", Opaque: server.DatabasePath(c.DataDir), RawQuery: "_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"}
	db, err := sql.Open("sqlite", path.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := insert(ctx, db, made, holders, op.Rings.Pepper()); err != nil {
		return nil, err
	}
	for _, m := range made {
		keys = append(keys, auth.FormatKey(c.KeyPrefix, c.Environment, m.id, m.secret))
	}
	return keys, nil
}

// A minted is a key to be: what it is called and what opens it.
type minted struct {
	id     auth.CredentialID
	secret string
}

// insert writes what CreateCredential of the store would, but for the audit trail.
func insert(ctx context.Context, db *sql.DB, made []minted, holders []auth.AccountID, pepper *secret.MAC) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	add, err := tx.PrepareContext(ctx, `INSERT INTO credentials (id, account, kind, name, scope, token_scope, created_at, secrets_made,
		secret_number, secret_digest, secret_pepper, secret_created_at)
		SELECT $1, id, $2, '', '', '', created_at, 1, 1, $3, $4, created_at FROM accounts WHERE id = $5`)
	if err != nil {
		return err
	}
	for i, m := range made {
		digest := pepper.Digest(auth.APIKey, m.id, m.secret)
		if _, err := add.ExecContext(ctx, string(m.id), string(auth.APIKey), digest[:], string(pepper.ID), int64(holders[i%len(holders)])); err != nil {
			return err
		}
	}
	return tx.Commit()
}
