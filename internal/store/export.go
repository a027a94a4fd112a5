package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatehouse/gatehouse/internal/backup"
)

// A copied table is one that goes into a backup: what of it is needed to begin anew, and nothing else.
type copied struct {
	backup.Table
	where string // which rows; "": all
	order string // columns, so that the same rows make the same file
}

// copiedTables are the tables of a backup, each behind those that it refers to.
func copiedTables() []copied {
	return []copied{
		// Beginning anew needs the number of the next account, and that no position is used that credentials name.
		table("meta", "", "id", "id int, incarnation text, seal_check bytes, master_key text, created_at int, next_account int"),
		table("log_head", "", "id", "id int, head int"),
		table("accounts", "", "id", `id int, name text, ref text, created_at int, suspended_at int, deleted_at int, requests_count int,
			requests_per int, requests_burst int, liquid_dead_below int, orders_dead_below int, b2b_dead_below int, oauth_dead_below int,
			restricted_at int`),
		table("allowlist", "", "account, prefix", "account int, prefix text, note text, created_at int, expires_at int"),
		table("credentials", "", "id", `id text, account int, kind text, name text, scope text, token_scope text, created_at int,
			expires_at int, revoked_at int, dead_below int, narrowed_at int, restricted_at int, secrets_made int, jwks text,
			secret_number int, secret_digest bytes, secret_pepper text, secret_created_at int, old_number int, old_digest bytes,
			old_pepper text, old_created_at int, old_expires_at int`),
		table("people", "", "id", `id text, account int, email text, name text, role text, state text, created_at int, removed_at int,
			signed_in_at int, password text, totp_sealed bytes, totp_master_key text, totp_step int, totp_at int`),
		table("recovery_codes", "", "person, digest", "person text, digest bytes, pepper text, used_at int"),
		table("passkeys", "", "id", `id bytes, person text, name text, public_key bytes, counter int, transports text, model bytes, synced int,
			backed_up int, created_at int, used_at int`),
		table("openids", "", "kind, issuer, subject", `kind text, issuer text, subject text, person text, email text, provider text,
			created_at int, used_at int`),
		table("operator_tokens", "", "id", `id text, name text, role text, scopes text, digest bytes, pepper text, created_at int,
			created_by text, expires_at int, revoked_at int, used_at int, used_from text`),
		// Whatever signs is drawn anew when a backup is restored: who steals backups and the master key signs nothing with them.
		table("keys", "ring = 'pepper'", "seq", `seq int, id text, ring text, algorithm text, sealed bytes, master_key text,
			created_at int, active_at int, expires_at int, revoked_at int`),
		table("audit", "", "number", `number int, at int, actor text, action text, account int, credential text, secret int, session text,
			request_id text, address text, detail text, person text, about text, seq int, hash bytes`),
		// The trail stays one that can be verified. What signs it is drawn anew, as all that signs.
		table("audit_head", "", "id", "id int, seq int, hash bytes"),
		table("audit_checkpoints", "", "number", `number int, seq int, hash bytes, cut int, cut_hash bytes, at int, key_id text, public bytes,
			signature bytes`),
		table("usage", "", "account, hour, credential, what", "account int, hour int, credential text, what text, count int"),
		table("secret_uses", "", "credential, secret", "credential text, secret int, at int, address text, user_agent text, count int"),
	}
}

// leftTables are the tables that no backup holds, and why.
func leftTables() map[string]string {
	const dead = "no token of before a restore is good after it"
	return map[string]string{
		"account_words":      "they are taken from the accounts anew",
		"audit_keys":         "who steals backups and the master key signs nothing with them",
		"changes":            "who meets another incarnation loads everything anew",
		"sessions":           dead,
		"revoked_sessions":   dead,
		"lifetimes":          dead,
		"replicas":           "they are the servers of the moment",
		"backups":            "another database begins with none",
		"used_once":          "what it remembers is over in minutes",
		"dashboard_sessions": "who was there signs in again",
		"invitations":        "a link that was sent is good for a day, and could have been used since",
		"repeats":            "what it remembers is over in a day, and happened to another database",
		"webhook_state":      "another database begins with what happens in it",
		"webhook_queue":      "who was to be told has been, or will be by the database that it happened to",
		"webhook_told":       "as webhook_queue",
		"seen_addresses":     "they are where people were, and are forgotten in a month",
		"refusals":           "they are kept for days, and hold addresses of strangers",
		"refusal_requests":   "as refusals",
		versionTable:         "the header says it",
		oldestTable:          "the migrations say it",
	}
}

// leftColumns are the columns of copied tables that no backup holds, and why.
func leftColumns() map[string]string {
	return map[string]string{"accounts.words_of": "it goes with account_words"}
}

// aboutSchema says whether a table is about the schema that it lies in, and goes with that.
func aboutSchema(table string) bool { return table == versionTable || table == oldestTable }

// table makes a copied table of its columns, "name type, name type".
func table(name, where, order, columns string) copied {
	c := copied{Table: backup.Table{Name: name}, where: where, order: order}
	for column := range strings.SplitSeq(columns, ",") {
		words := strings.Fields(column)
		c.Columns = append(c.Columns, backup.Column{Name: words[0], Type: backup.Type(words[1])})
	}
	return c
}

func (c copied) names() string {
	var names []string
	for _, column := range c.Columns {
		names = append(names, column.Name)
	}
	return strings.Join(names, ", ")
}

// from is what follows SELECT.
func (c copied) from() string {
	if c.where == "" {
		return " FROM " + c.Name
	}
	return " FROM " + c.Name + " WHERE " + c.where
}

// A value is any column as it is.
type value struct{ v any }

func (v *value) Scan(column any) error {
	v.v = column
	return nil
}

// exportedBetween is after how many rows it is looked whether anybody still waits for them.
const exportedBetween = 1000

// Export reads everything that belongs into a backup, as it is at one moment: it calls begin with what there is, and then row
// for each row, in the order of the header's tables. The values are not row's to keep. Other readers and writers go on
// meanwhile. An error of either function ends it.
func (db *DB) Export(ctx context.Context, begin func(backup.Header) error, row func([]any) error) error {
	err := db.engine.export(func(q querier) error {
		h := backup.Header{Schema: db.wanted, TakenAt: milli(db.Now()), Engine: db.engine.product()}
		if err := q.one(`SELECT m.incarnation, m.seal_check, m.master_key, h.head FROM meta m CROSS JOIN log_head h`, nil,
			out{&h.Incarnation, &h.SealCheck, &h.MasterKey, &h.Position}); err != nil {
			return notFound(err, "The database has not been set up")
		}
		tables := copiedTables()
		for i := range tables {
			if err := q.one(`SELECT count(*)`+tables[i].from(), nil, out{&tables[i].Rows}); err != nil {
				return err
			}
			h.Tables = append(h.Tables, tables[i].Table)
		}
		if err := begin(h); err != nil {
			return err
		}
		for _, t := range tables {
			if err := exportTable(ctx, q, t, row); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		return nil
	})
	return wrap(err, "read the database for a backup")
}

func exportTable(ctx context.Context, q querier, t copied, row func([]any) error) error {
	values := make([]value, len(t.Columns))
	to, plain := make(out, len(values)), make([]any, len(values))
	for i := range values {
		to[i] = &values[i]
	}
	n := 0
	return q.all(`SELECT `+t.names()+t.from()+` ORDER BY `+t.order, nil, func(scan func(...any) error) error {
		if n++; n%exportedBetween == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := scan(to...); err != nil {
			return err
		}
		for i := range values {
			plain[i] = values[i].v
			if s, ok := plain[i].(string); ok {
				plain[i] = portable(s)
			}
		}
		return row(plain)
	})
}

// portable is a text that each database takes. What strangers sent, the names of their programs, may be none; everything else is.
func portable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
