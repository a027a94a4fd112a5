package audit_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// million is how many acts the trail of the benchmark has.
const million = 1_000_000

// fill writes a million acts of 10,000 accounts by hand, and seals them in larger pieces than a server would.
func (w *trail) fill() {
	w.t.Helper()
	w.byHand(`INSERT INTO audit (at, actor, action, account, credential, secret, session, request_id, address, detail, person)
		WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
		SELECT 1795338000000 + i, 'command line (user gatehouse)', 'act.' || (i % 7), 100001 + i % 10000, 'c' || (i % 30000), 1, '',
			'reqid_' || i, '203.0.113.7', 'Acme ' || i, CASE WHEN i % 1000 = 0 THEN 'p_1' ELSE '' END FROM n`)
	for {
		s, err := w.AuditState(w.t.Context(), 20_000)
		w.must(err)
		if len(s.Unsealed) == 0 {
			return
		}
		head := s.Head
		for i := range s.Unsealed {
			e := &s.Unsealed[i]
			head = chain.Point{Seq: head.Seq + 1, Hash: chain.Next(head.Hash, head.Seq+1, *e)}
			e.Seq, e.Hash = head.Seq, head.Hash
		}
		c := w.key.Sign(backup.Checkpoint{Number: s.Checkpoint.Number + 1, Seq: head.Seq, Hash: head.Hash, At: w.Now()})
		if won, err := w.SealAudit(w.t.Context(), s.Head, s.Unsealed, &c); err != nil || !won {
			w.t.Fatal(won, err)
		}
	}
}

// BenchmarkMillion is what a trail of a million acts costs: to be verified, in the database and as a file, to be read in pages, and
// to be looked at for what is not sealed.
func BenchmarkMillion(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *trail{"sqlite": embedded, "postgres": onPostgres} {
		b.Run(name, func(b *testing.B) {
			w := open(b)
			w.fill()
			if name == "postgres" { // as its own housekeeping would
				w.byHand(`VACUUM ANALYZE audit`)
			}
			var file bytes.Buffer
			w.must(w.ExportAudit(b.Context(), backup.NewExporter(&file)))
			b.Run("verify the database", func(b *testing.B) {
				for b.Loop() {
					if r, err := w.verify(); err != nil || r.Rows != million {
						b.Fatal(r, err)
					}
				}
			})
			b.Run("verify a file", func(b *testing.B) {
				for b.Loop() {
					if r, err := chain.VerifyFile(bytes.NewReader(file.Bytes()), chain.Want{}); err != nil || r.Rows != million {
						b.Fatal(r, err)
					}
				}
			})
			b.Run("look for what is unsealed", func(b *testing.B) {
				for b.Loop() {
					if _, err := w.AuditState(b.Context(), 100); err != nil {
						b.Fatal(err)
					}
				}
			})
			middle := auth.AuditPlace{At: time.UnixMilli(1795338000000 + million/2), Number: million / 2}
			for name, q := range map[string]auth.AuditQuery{
				"the newest": {}, "in the middle": {Before: middle}, "an account": {Account: 100077}, "an account's act": {Account: 100077, Action: "act.3"},
				"a credential": {Credential: "c77"}, "a person": {Person: "p_1"}, "an action": {Action: "act.3", Before: middle},
				"a time": {Since: middle.At.Add(-time.Second), Until: middle.At}, "nobody": {Account: 5}, "no such action": {Action: "x"},
				"an account in a time": {Account: 100077, Since: middle.At.Add(-time.Minute), Until: middle.At},
			} {
				q.Most = 51
				b.Run("read "+name, func(b *testing.B) {
					for b.Loop() {
						if _, err := w.Audit(b.Context(), q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
