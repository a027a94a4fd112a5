package store

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const operatorTokenColumns = `id, name, role, scopes, digest, pepper, created_at, created_by, expires_at, revoked_at, used_at, used_from`

func scanOperatorToken(o *auth.OperatorToken, scopes *string) out {
	return out{
		(*string)(&o.ID), &o.Name, (*string)(&o.Role), scopes, &o.Digest, (*string)(&o.Pepper), (*stamp)(&o.CreatedAt), &o.CreatedBy,
		(*stamp)(&o.ExpiresAt), (*stamp)(&o.RevokedAt), (*stamp)(&o.UsedAt), (*addr)(&o.UsedFrom),
	}
}

var errNoOperatorToken = auth.ErrNotFound.Saying("There is no such token")

// CreateOperatorToken writes down a token of the admin API.
func (db *DB) CreateOperatorToken(ctx context.Context, o auth.OperatorToken, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`INSERT INTO operator_tokens (id, name, role, scopes, digest, pepper, created_at, created_by, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
			string(o.ID), o.Name, string(o.Role), strings.Join(o.Scopes, " "), o.Digest, string(o.Pepper), o.CreatedAt.UnixMilli(), o.CreatedBy, ms(o.ExpiresAt))
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, auth.ErrConflict.Saying("There is a token with this id already")
		}
		return none, t.audit(act, auth.Subject{}, db.Now())
	})
	return wrap(err, "create an operator token")
}

// OperatorTokens returns the tokens of the admin API that which asks for, the oldest first, dead ones too.
func (db *DB) OperatorTokens(ctx context.Context, which auth.OperatorTokenQuery) ([]auth.OperatorToken, error) {
	p := picking{}
	if after := which.After; after != (auth.OperatorTokenPlace{}) {
		p.add(`(created_at, id) > ($%d, $%d)`, after.CreatedAt.UnixMilli(), string(after.ID))
	}
	text := `SELECT ` + operatorTokenColumns + ` FROM operator_tokens` + p.String() + ` ORDER BY created_at, id`
	if which.Most > 0 {
		text += fmt.Sprintf(` LIMIT $%d`, p.parameter(which.Most))
	}
	var found []auth.OperatorToken
	err := db.read(ctx, func(q querier) error {
		found = nil
		return q.all(text, p.args, func(scan func(...any) error) error {
			var o auth.OperatorToken
			var scopes string
			err := scan(scanOperatorToken(&o, &scopes)...)
			o.Scopes = strings.Fields(scopes)
			found = append(found, o)
			return err
		})
	})
	return found, wrap(err, "list the operator tokens")
}

// OperatorToken returns a token of the admin API, alive or not. Without one it is [auth.ErrNotFound].
func (db *DB) OperatorToken(ctx context.Context, id auth.OperatorTokenID) (o auth.OperatorToken, err error) {
	err = db.read(ctx, func(q querier) error {
		o, err = operatorToken(q, id)
		return err
	})
	return o, wrap(err, "read an operator token")
}

func operatorToken(q querier, id auth.OperatorTokenID) (o auth.OperatorToken, err error) {
	var scopes string
	err = q.one(`SELECT `+operatorTokenColumns+` FROM operator_tokens WHERE id = $1`, in{string(id)}, scanOperatorToken(&o, &scopes))
	o.Scopes = strings.Fields(scopes)
	return o, notFound(err, errNoOperatorToken.Msg)
}

// RevokeOperatorToken ends a token for good. One that is revoked already stays as it is, without an act. If it is not as the act's
// terms have it, it is [auth.ErrChanged].
func (db *DB) RevokeOperatorToken(ctx context.Context, id auth.OperatorTokenID, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.expectToken(act.Terms, id); err != nil {
			return none, err
		}
		now := db.Now()
		n, err := t.exec(`UPDATE operator_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, now.UnixMilli(), string(id))
		if err != nil {
			return none, err
		}
		if n > 0 {
			return none, t.audit(act, auth.Subject{}, now)
		}
		var there int64
		if err := t.one(`SELECT count(*) FROM operator_tokens WHERE id = $1`, in{string(id)}, out{&there}); err != nil || there > 0 {
			return none, err
		}
		return none, errNoOperatorToken
	})
	return wrap(err, "revoke an operator token")
}

// UseOperatorToken notes a use.
func (db *DB) UseOperatorToken(ctx context.Context, id auth.OperatorTokenID, at time.Time, from netip.Addr) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		return none, t.later(`UPDATE operator_tokens SET used_at = $1, used_from = $2 WHERE id = $3 AND (used_at IS NULL OR used_at < $1)`,
			at.UnixMilli(), address(from), string(id))
	})
	return wrap(err, "note the use of an operator token")
}
