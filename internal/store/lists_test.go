package store

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// What the pages of dashboards read: ACCOUNTS=100000 go test ./internal/store -run - -bench Lists. Each account has ten credentials.
func BenchmarkLists(b *testing.B) {
	for name, open := range map[string]func(*testing.B) *DB{
		"SQLite": func(b *testing.B) *DB {
			return listsDB(b, Config{Path: filepath.Join(b.TempDir(), "gatehouse.db"), Create: true})
		},
		"PostgreSQL": func(b *testing.B) *DB {
			return listsDB(b, Config{URL: pgtest.Database(b), Create: true, Pool: Pool{StatementTimeout: 10 * time.Minute}})
		},
	} {
		b.Run(name, func(b *testing.B) { benchLists(b, open(b)) })
	}
}

func benchLists(b *testing.B, db *DB) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("ACCOUNTS"), "2000"))
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	seedLists(b, db, n)
	b.Logf("%d accounts were made in %v", n, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	if err := db.IndexAccounts(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Logf("and their words in %v", time.Since(began).Round(time.Millisecond))
	middle := auth.FirstAccount + auth.AccountID(n/2)
	first, err := db.Credentials(b.Context(), auth.CredentialQuery{Account: middle, Most: 1})
	if err != nil || len(first) != 1 {
		b.Fatal(first, err)
	}
	accounts := func(q auth.AccountQuery) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			q.Most = 51
			got, err := db.Accounts(ctx, q)
			return len(got), err
		}
	}
	credentials := func(q auth.CredentialQuery) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			q.Most = 51
			got, err := db.Credentials(ctx, q)
			return len(got), err
		}
	}
	refusals := func(f auth.RefusalFilter) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			f.Most = 51
			got, err := db.Refusals(ctx, f)
			return len(got), err
		}
	}
	for _, read := range []struct {
		name string
		rows func(context.Context) (int, error)
	}{
		{"accounts, first page", accounts(auth.AccountQuery{})},
		{"accounts, from the middle", accounts(auth.AccountQuery{After: middle})},
		{"accounts, suspended", accounts(auth.AccountQuery{Status: "suspended"})},
		{"accounts, active", accounts(auth.AccountQuery{Status: "active"})},
		{"accounts, a number", accounts(auth.AccountQuery{Search: middle.String()})},
		{"accounts, ref:", accounts(auth.AccountQuery{Search: "ref:C-7"})},
		{"accounts, a word of one", accounts(auth.AccountQuery{Search: fmt.Sprintf("customer%d", n/2)})},
		{"accounts, a word of a few", accounts(auth.AccountQuery{Search: "street77"})},
		{"accounts, a word of all", accounts(auth.AccountQuery{Search: "ltd"})},
		{"accounts, a word of all and one of a few", accounts(auth.AccountQuery{Search: "ltd street77"})},
		{"accounts, a letter", accounts(auth.AccountQuery{Search: "c"})},
		{"accounts, nothing", accounts(auth.AccountQuery{Search: "nobody"})},
		{"credentials, first page of all", credentials(auth.CredentialQuery{})},
		{"credentials, from the middle of all", credentials(auth.CredentialQuery{After: first[0].Place()})},
		{"credentials, of an account", credentials(auth.CredentialQuery{Account: middle})},
		{"credentials, live keys of all", credentials(auth.CredentialQuery{Live: true, Kind: auth.APIKey})},
		{"credentials, by id", credentials(auth.CredentialQuery{Search: string(first[0].ID)})},
		{"credentials, by name", credentials(auth.CredentialQuery{Account: middle, Search: "LOGIN"})},
		{"refusals, all", refusals(auth.RefusalFilter{})},
		{"refusals, of an account", refusals(auth.RefusalFilter{Account: middle})},
		{"refusals, of a request", refusals(auth.RefusalFilter{RequestID: "reqid_77"})},
		{"sessions, of an account", func(ctx context.Context) (int, error) {
			got, err := db.Sessions(ctx, auth.SessionQuery{Account: middle, LiveOnly: true, Most: 51})
			return len(got), err
		}},
		{"usage, 30 days of an account", func(ctx context.Context) (int, error) {
			got, err := db.Usage(ctx, auth.UsageQuery{Account: middle, Since: db.Now().Add(-30 * 24 * time.Hour), Step: auth.Daily})
			return len(got), err
		}},
	} {
		b.Run(read.name, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				var err error
				if rows, err = read.rows(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

func listsDB(b *testing.B, c Config) *DB {
	b.Helper()
	db, err := Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if _, _, err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := db.Create(b.Context(), Birth{Incarnation: "bench", SealCheck: []byte("check"), MasterKey: "key"}); err != nil {
		b.Fatal(err)
	}
	return db
}

// seedLists makes n accounts, of which every 200th is suspended and every 20th has an allowlist, with ten credentials each, and
// refusals. Those of one have sessions and a month's usage too.
func seedLists(b *testing.B, db *DB, n int) {
	b.Helper()
	now := db.Now().UnixMilli()
	run := func(query string, args ...any) {
		b.Helper()
		if _, err := update(b.Context(), db, func(t *tx) (int64, error) { return t.exec(query, args...) }); err != nil {
			b.Fatalf("%s: %v", query, err)
		}
	}
	series := func(from, before int) string {
		return fmt.Sprintf(` WITH RECURSIVE s (i) AS (SELECT CAST(%d AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < %d) `, from, before-1)
	}
	const atOnce = 5000
	for from := 0; from < n; from += atOnce {
		some := series(from, min(from+atOnce, n))
		run(fmt.Sprintf(`INSERT INTO accounts (id, name, ref, created_at, suspended_at) %s
			SELECT 100001 + i, 'Customer' || i || ' Street' || (i %% 1000) || ' Ltd', 'C-' || i, %d, CASE WHEN i %% 200 = 7 THEN %d END FROM s`, some, now, now))
		run(fmt.Sprintf(`INSERT INTO allowlist (account, prefix, note, created_at) %s SELECT 100001 + i, '192.0.2.0/24', 'office', %d FROM s WHERE i %% 20 = 0`,
			some, now))
		for k := range 10 {
			kind := auth.Kinds[k%len(auth.Kinds)]
			run(fmt.Sprintf(`INSERT INTO credentials (id, account, kind, name, scope, token_scope, created_at, secrets_made, secret_number, secret_digest,
					secret_pepper, secret_created_at, revoked_at) %s
				SELECT 'x' || (i * 7919 %% %d) || 'k%d', 100001 + i, '%s', '%s %d', '', '', %d, 1, 1, $1, 'p', %d, CASE WHEN i %% 10 = 3 THEN %d END FROM s`,
				some, n, k, kind, kind, k, now+int64(k), now, now), []byte("digest"))
		}
		run(fmt.Sprintf(`INSERT INTO refusals (id, at, count, method, host, path, route, contract, status, reason, account, credential, secret, session, type,
				address, peer, forwarded, user_agent, limit_name, detail) %s
			SELECT i + 1, %d + i, 1, 'GET', 'api.example.com', '/', '/', '', 401, 'expired', 100001 + i %% 1000, '', 0, '', '', '192.0.2.7', '', '', '', '', '' FROM s`,
			some, now))
		run(fmt.Sprintf(`INSERT INTO refusal_requests (request_id, refusal) %s SELECT 'reqid_' || i, i + 1 FROM s`, some))
	}
	middle := int64(auth.FirstAccount) + int64(n/2)
	run(fmt.Sprintf(`INSERT INTO secret_uses (credential, secret, at, address, user_agent, count)
		SELECT id, 1, %d, '192.0.2.7', 'sdk/1', 5 FROM credentials WHERE account = %d`, now, middle))
	run(fmt.Sprintf(`INSERT INTO sessions (id, account, credential, secret, pos, generation, started_at, rotated_at, access_expires_at, expires_at, access_key,
			refresh_key, scope, address, user_agent) %s
		SELECT 'session' || c.id, c.account, c.id, 1, 0, 0, %d + i, %d, %d, %d, 'k', 'k', '', '', '' FROM s CROSS JOIN credentials c WHERE c.account = %d AND c.kind = 'login'`,
		series(0, 1), now, now, now+3_600_000, now+3_600_000, middle))
	run(fmt.Sprintf(`INSERT INTO usage (account, hour, credential, what, count) %s
		SELECT %d, %d - i * 3600000, c.id, w.what, 10 FROM s CROSS JOIN credentials c CROSS JOIN (SELECT 'exchange' AS what UNION ALL SELECT 'verify') w
		WHERE c.account = %d AND c.kind = 'api-key'`, series(0, 720), middle, now-now%3_600_000, middle))
}

// A program of the version before names accounts and knows nothing of their words; so does a backup.
func TestAccountsThatAnotherProgramNamed(t *testing.T) {
	db := newDB(t, "")
	ctx := t.Context()
	a, err := db.CreateAccount(ctx, "Acme", "C-1", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	finds := func(word string, want int) {
		t.Helper()
		if got, err := db.Accounts(ctx, auth.AccountQuery{Search: word}); err != nil || len(got) != want {
			t.Errorf("%q finds %v, %v; want %d", word, got, err, want)
		}
	}
	for range indexedAtOnce { // more than are indexed at once
		if _, err := db.CreateAccount(ctx, "Another", "", auth.Act{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := update(ctx, db, func(t *tx) (int64, error) { return t.exec(`UPDATE accounts SET name = 'Umbra', ref = NULL`) }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.DeleteAccount(ctx, a.ID+1, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	finds("acme", 1) // not yet
	finds("umbra", 0)
	if err := db.IndexAccounts(ctx); err != nil {
		t.Fatal(err)
	}
	finds("acme", 0)
	finds("umbra", auth.UsualRows)
	finds("c-1", 0)
}
