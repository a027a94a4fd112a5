package dashboard_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/server"
)

// How long a page takes, from its request to its last byte: ACCOUNTS=100000 go test ./internal/dashboard -run - -bench Pages.
// Each account has ten credentials; of a hundred, one expires soon, one has an old secret, and ten requests were refused lately.
func BenchmarkPages(b *testing.B) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("ACCOUNTS"), "1000"))
	if err != nil {
		b.Fatal(err)
	}
	h := newHouse(b)
	h.crowd(b, n)
	owner := h.signedIn(auth.RoleOwner, 0)
	middle := fmt.Sprintf("/dashboard/accounts/%d", 100010+n/2)
	for _, path := range []string{
		"/dashboard/", "/dashboard/accounts", "/dashboard/accounts?search=street7", "/dashboard/accounts?search=customer", middle,
		middle + "/credentials", middle + "/sessions", middle + "/usage", middle + "/allowlist", middle + "/people", middle + "/audit", middle + "/refusals",
		"/dashboard/refusals", "/dashboard/audit", "/dashboard/operators", "/dashboard/signing-keys", "/dashboard/tokens",
	} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if a := h.get(h.operators, owner, path); a.Status != http.StatusOK {
					b.Fatalf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
}

// crowd makes n accounts with ten credentials each, straight in the tables: through the registry they would take an hour.
func (h *house) crowd(b *testing.B, n int) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+server.DatabasePath(h.opened.Config.DataDir)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		`INSERT INTO accounts (id, name, ref, created_at) WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < $1 - 1)
			SELECT 100010 + i, 'Customer' || i || ' Street' || (i % 1000), 'C-' || i, $2 FROM s`,
		`INSERT INTO credentials (id, account, kind, name, scope, token_scope, created_at, secrets_made, secret_number, secret_digest, secret_pepper, secret_created_at)
			WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 10 * $1 - 1)
			SELECT 'x' || i, 100010 + i / 10, 'api-key', 'Key ' || i, '', '', $2, 1, 1, x'00', 'p', $2 FROM s`,
		`UPDATE credentials SET expires_at = $2 + 86400000 + CAST(substr(id, 2) AS INTEGER) WHERE id LIKE 'x%00'`,
		`UPDATE credentials SET secret_number = 2, secrets_made = 2, old_number = 1, old_digest = x'00', old_pepper = 'p', old_created_at = $2, old_expires_at = $2 + 86400000 + CAST(substr(id, 2) AS INTEGER) WHERE id LIKE 'x%50'`,
		`INSERT INTO refusals (at, count, method, host, path, route, contract, status, reason, account, credential, secret, session, type, address, peer, forwarded, user_agent, limit_name, detail)
			WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < $1 - 1)
			SELECT $2 - i, 1, 'GET', 'api.example.org', '/api/v1/products', '/api/v1/', 'b2b', 401, 'expired', 100010 + i, 'x' || 10 * i, 1, '', '', '192.0.2.1', '192.0.2.1', '', 'curl/8', '', '' FROM s`,
	} {
		if _, err := db.ExecContext(b.Context(), query, n, begin.UnixMilli()); err != nil {
			b.Fatal(err)
		}
	}
	if err := h.opened.DB.IndexAccounts(b.Context()); err != nil {
		b.Fatal(err)
	}
}
