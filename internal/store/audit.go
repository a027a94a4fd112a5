package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// audit writes down an act, in the transaction of what it changed, and keeps the answer if it is done under a key.
func (t *tx) audit(act auth.Act, about auth.Subject, now time.Time) error {
	if err := t.once(act, about, now); err != nil {
		return err
	}
	return t.later(`INSERT INTO audit (at, actor, action, account, credential, secret, session, request_id, address, detail, person, about)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		now.UnixMilli(), portable(act.Actor), act.Action, int64(about.Account), string(about.Credential), about.Secret, string(about.Session),
		portable(act.RequestID), address(act.Address), portable(act.Detail), string(act.Person), string(about.Person))
}

// Note writes down an act that changed nothing, such as one that was refused.
func (db *DB) Note(ctx context.Context, act auth.Act, about auth.Subject) error {
	_, err := update(ctx, db, func(t *tx) (struct{}, error) { return struct{}{}, t.audit(act, about, db.Now()) })
	return wrap(err, "write down an act")
}

// mostOfAudit is how many acts are read at once unless somebody says.
const mostOfAudit = 100

// Audit returns the acts that fit every field of query that is set, the newest first.
func (db *DB) Audit(ctx context.Context, query auth.AuditQuery) ([]auth.AuditEntry, error) {
	// Out of fixed parts, for the sake of the indexes; what is asked for is always a parameter.
	var where []string
	var args in
	fits := func(condition string, values ...any) {
		var places []any
		for _, v := range values {
			args = append(args, v)
			places = append(places, len(args))
		}
		where = append(where, fmt.Sprintf(condition, places...))
	}
	if query.Account != 0 {
		fits(`account = $%d AND account <> 0`, int64(query.Account))
	}
	if query.Credential != "" {
		fits(`credential = $%d AND credential <> ''`, string(query.Credential))
	}
	if query.Action != "" {
		fits(`action = $%d`, query.Action)
	}
	if !query.Since.IsZero() {
		fits(`at >= $%d`, query.Since.UnixMilli())
	}
	if !query.Until.IsZero() {
		fits(`at < $%d`, query.Until.UnixMilli())
	}
	if query.Before != (auth.AuditPlace{}) {
		fits(`(at, number) < ($%d, $%d)`, query.Before.At.UnixMilli(), query.Before.Number)
	}
	args = append(args, cmp.Or(query.Most, mostOfAudit))
	newest := fmt.Sprintf(` ORDER BY at DESC, number DESC LIMIT $%d`, len(args))
	picked := func(more ...string) string {
		text := `SELECT ` + auditColumns + ` FROM audit`
		if all := append(more, where...); len(all) > 0 {
			text += ` WHERE ` + strings.Join(all, ` AND `)
		}
		return text + newest
	}
	text := picked()
	if query.Person != "" { // two columns, and so two indexes: an OR would read all that either finds
		args = append(args, string(query.Person))
		of := func(column string) string {
			return picked(fmt.Sprintf(`%[1]s = $%[2]d AND %[1]s <> ''`, column, len(args)))
		}
		text = `SELECT * FROM (` + of("person") + `) AS acted UNION SELECT * FROM (` + of("about") + `) AS suffered` + newest
	}

	var found []auth.AuditEntry
	err := db.read(ctx, func(q querier) error {
		found = nil
		return q.all(text, args, func(scan func(...any) error) error {
			var e auth.AuditEntry
			err := scan(&e.Number, (*stamp)(&e.At), &e.Act.Actor, &e.Act.Action, (*int64)(&e.About.Account), (*string)(&e.About.Credential),
				&e.About.Secret, (*string)(&e.About.Session), &e.Act.RequestID, (*addr)(&e.Act.Address), &e.Act.Detail,
				(*string)(&e.Act.Person), (*string)(&e.About.Person), (*number)(&e.Seq), &hash{})
			found = append(found, e)
			return err
		})
	})
	if err != nil {
		return nil, wrap(err, "read the audit trail")
	}
	return found, nil
}
