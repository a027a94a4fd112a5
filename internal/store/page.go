package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A picking is the conditions of a query: out of fixed parts, for the sake of the indexes; what is asked for is always a parameter.
type picking struct {
	where []string
	args  in
}

// add adds a condition in which each %d is the number of the next value.
func (p *picking) add(condition string, values ...any) {
	numbers := make([]any, len(values))
	for i, v := range values {
		p.args = append(p.args, v)
		numbers[i] = len(p.args)
	}
	p.where = append(p.where, fmt.Sprintf(condition, numbers...))
}

// parameter adds a value that stands in no condition, and returns its number.
func (p *picking) parameter(v any) int {
	p.args = append(p.args, v)
	return len(p.args)
}

// clone is p to add more to.
func (p *picking) clone() picking {
	return picking{where: slices.Clip(p.where), args: slices.Clip(p.args)}
}

// String is the clause WHERE.
func (p *picking) String() string {
	if len(p.where) == 0 {
		return ""
	}
	return ` WHERE ` + strings.Join(p.where, ` AND `)
}

// beyond comes after everything that begins with a prefix, in the order of bytes.
const beyond = "\U0010FFFF"

// Accounts returns the accounts that q asks for, by number, with their allowlists. Deleted ones are not among them.
func (db *DB) Accounts(ctx context.Context, q auth.AccountQuery) ([]auth.Account, error) {
	p := picking{}
	p.add(`a.deleted_at IS NULL AND a.id > $%d`, int64(q.After))
	switch q.Status {
	case "suspended":
		p.add(`a.suspended_at IS NOT NULL`)
	case "active":
		p.add(`a.suspended_at IS NULL`)
	}
	ref, byRef := strings.CutPrefix(q.Search, "ref:")
	var accounts []auth.Account
	err := db.snapshot(ctx, func(r querier) error {
		p := p.clone()
		search := func() error { return p.addWords(r, wordsOf(q.Search)) }
		if byRef {
			search = func() error { return p.addRef(r, ref) }
		}
		if err := search(); err != nil {
			return err
		}
		limit := p.parameter(auth.Rows(q.Most))
		accounts = nil
		err := r.all(`SELECT `+accountColumns+` FROM accounts a`+p.String()+fmt.Sprintf(` ORDER BY a.id LIMIT $%d`, limit), p.args,
			func(scan func(...any) error) error {
				var a auth.Account
				err := scan(scanAccount(&a)...)
				accounts = append(accounts, a)
				return err
			})
		if err != nil || len(accounts) == 0 {
			return err
		}
		return addLists(r, accounts)
	})
	if err != nil {
		return nil, wrap(err, "list the accounts")
	}
	return accounts, nil
}

// addLists gives accounts, which are in the order of their numbers, their allowlists.
func addLists(r querier, accounts []auth.Account) error {
	p := picking{}
	var numbers []string
	for _, a := range accounts {
		numbers = append(numbers, fmt.Sprintf("$%d", p.parameter(int64(a.ID))))
	}
	rest := accounts
	return r.all(`SELECT account, prefix, note, created_at, expires_at FROM allowlist WHERE account IN (`+strings.Join(numbers, `, `)+`)
		ORDER BY account, created_at, prefix`, p.args, takeEntries(&rest))
}

// takeEntries puts entries of allowlists, which come by account, into accounts in the order of their numbers.
func takeEntries(rest *[]auth.Account) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var id auth.AccountID
		e, err := scanEntry(scan, (*int64)(&id))
		for len(*rest) > 0 && (*rest)[0].ID < id {
			*rest = (*rest)[1:]
		}
		if len(*rest) > 0 && (*rest)[0].ID == id {
			(*rest)[0].Allowlist = append((*rest)[0].Allowlist, e)
		}
		return err
	}
}

// Credentials returns the credentials that q asks for, dead or alive, by account and in the order they were made, with the last
// use of their secrets. With an account, Search finds in names too: letters of ASCII in any case.
func (db *DB) Credentials(ctx context.Context, q auth.CredentialQuery) ([]auth.Credential, error) {
	p := picking{}
	order := ` ORDER BY c.account, c.created_at, c.id`
	if q.Account != 0 {
		p.add(`c.account = $%d`, int64(q.Account))
		order = ` ORDER BY c.created_at, c.id`
	} else {
		p.add(`EXISTS (SELECT 1 FROM accounts a WHERE a.id = c.account AND a.deleted_at IS NULL)`)
	}
	if after := q.After; after != (auth.CredentialPlace{}) {
		if q.Account != 0 {
			p.add(`(c.created_at, c.id) > ($%d, $%d)`, after.CreatedAt.UnixMilli(), string(after.ID))
		} else {
			p.add(`(c.account, c.created_at, c.id) > ($%d, $%d, $%d)`, int64(after.Account), after.CreatedAt.UnixMilli(), string(after.ID))
		}
	}
	if q.Kind != "" {
		p.add(`c.kind = $%d`, string(q.Kind))
	}
	if q.Live {
		p.add(`c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > $%d)`, db.Now().UnixMilli())
	}
	switch s := q.Search; {
	case s != "" && q.Account != 0:
		p.add(`(c.id >= $%d AND c.id < $%d OR lower(c.name) LIKE $%d ESCAPE '!')`, s, s+beyond, "%"+likeable(s)+"%")
	case s != "":
		p.add(`c.id >= $%d AND c.id < $%d`, s, s+beyond)
	}
	limit := p.parameter(auth.Rows(q.Most))
	found, err := db.credentials(ctx, p.String()+order+fmt.Sprintf(` LIMIT $%d`, limit), p.args...)
	return found, wrap(err, "list credentials")
}

// Ending returns the credentials that q asks for, of those that are not revoked, with the last use of their secrets.
func (db *DB) Ending(ctx context.Context, q auth.EndingQuery) ([]auth.Credential, error) {
	p, now := picking{}, db.Now()
	column := `c.expires_at`
	if q.OldSecrets {
		column = `c.old_expires_at`
		p.add(`(c.expires_at IS NULL OR c.expires_at > $%d)`, now.UnixMilli())
	}
	p.add(column+` > $%d AND `+column+` <= $%d AND c.revoked_at IS NULL`, now.UnixMilli(), now.Add(q.Within).UnixMilli())
	if q.Account != 0 {
		p.add(`c.account = $%d`, int64(q.Account))
	}
	limit := p.parameter(auth.Rows(q.Most))
	found, err := db.credentials(ctx, p.String()+` ORDER BY `+column+fmt.Sprintf(`, c.id LIMIT $%d`, limit), p.args...)
	return found, wrap(err, "look for what ends")
}

// likeable is s as LIKE finds it in what lower returned, with ! before what would mean more than itself.
func likeable(s string) string {
	lower := strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' { // lower in both dialects knows no other letters
			c += 'a' - 'A'
		}
		return c
	}, s)
	return strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(lower)
}

// Sessions returns the sessions that q asks for, the youngest login first.
func (db *DB) Sessions(ctx context.Context, q auth.SessionQuery) ([]auth.Session, error) {
	p := picking{}
	from := ` FROM sessions s`
	if q.Account != 0 {
		p.add(`s.account = $%d`, int64(q.Account))
	}
	if q.Credential != "" {
		p.add(`s.credential = $%d`, string(q.Credential))
	}
	if after := q.After; after != (auth.SessionPlace{}) {
		p.add(`(s.started_at, s.id) < ($%d, $%d)`, after.StartedAt.UnixMilli(), string(after.ID))
	}
	if q.LiveOnly {
		from += ` JOIN credentials c ON c.id = s.credential JOIN accounts a ON a.id = s.account`
		now := db.Now().UnixMilli()
		p.add(`s.ended_at IS NULL AND s.expires_at > $%d AND a.suspended_at IS NULL AND c.revoked_at IS NULL
			AND (c.expires_at IS NULL OR c.expires_at > $%d) AND s.pos >= a.b2b_dead_below AND s.pos >= c.dead_below`, now, now)
	}
	limit := p.parameter(auth.Rows(q.Most))
	var found []auth.Session
	err := db.read(ctx, func(r querier) error {
		found = nil
		return r.all(`SELECT `+sessionColumns+from+p.String()+fmt.Sprintf(` ORDER BY s.started_at DESC, s.id DESC LIMIT $%d`, limit), p.args,
			func(scan func(...any) error) error {
				var s auth.Session
				err := scan(scanSession(&s)...)
				found = append(found, s)
				return err
			})
	})
	return found, wrap(err, "list sessions")
}
