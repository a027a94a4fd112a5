package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
)

var nine = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A trail is a database whose audit trail is sealed, and a way to write in it by hand.
type trail struct {
	*store.DB
	t    testing.TB
	key  *chain.Key
	now  atomic.Int64 // after nine
	hand *sql.DB
}

func eachDialect(t *testing.T, story func(t *testing.T, w *trail)) {
	t.Run("sqlite", func(t *testing.T) { story(t, embedded(t)) })
	t.Run("postgres", func(t *testing.T) { story(t, onPostgres(t)) })
}

func embedded(t testing.TB) *trail {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	storetest.Migrated(t, path)
	return newTrail(t, store.Config{Path: path}, "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)")
}

func onPostgres(t testing.TB) *trail {
	at := storetest.MigratedPostgres(t)
	return newTrail(t, store.Config{URL: at, Pool: store.Pool{StatementTimeout: time.Minute}}, "pgx", at)
}

func newTrail(t testing.TB, c store.Config, driver, at string) *trail {
	t.Helper()
	w := &trail{t: t}
	c.Now = func() time.Time { return nine.Add(time.Duration(w.now.Load())) }
	var err error
	if w.DB, err = store.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	w.must(w.Create(t.Context(), store.Birth{Incarnation: "i", SealCheck: []byte("c"), MasterKey: "m"}))
	if w.hand, err = sql.Open(driver, at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.hand.Close() })
	w.key, err = chain.NewKey("k", bytes.Repeat([]byte{1}, 32))
	w.must(err)
	return w
}

func (w *trail) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *trail) wait(d time.Duration) { w.now.Add(int64(d)) }

func (w *trail) sealer(of audit.SealStore) *audit.Sealer {
	w.t.Helper()
	s, err := audit.NewSealer(audit.SealerConfig{Store: of, Key: func(context.Context) (*chain.Key, error) { return w.key, nil }, Now: w.Now})
	w.must(err)
	return s
}

func (w *trail) write(n int) {
	w.t.Helper()
	for range n {
		w.must(w.Note(w.t.Context(), auth.Act{Actor: "test", Action: "account.rename", Detail: "Acme"}, auth.Subject{Account: 100001}))
	}
}

// verify says what the trail is, by the key that ought to have signed it.
func (w *trail) verify() (chain.Report, error) {
	v := chain.NewVerifier(chain.Want{Keys: []string{w.key.Fingerprint()}})
	err := w.ExportAudit(w.t.Context(), v)
	return v.Report(), err
}

func (w *trail) whole() chain.Report {
	w.t.Helper()
	r, err := w.verify()
	w.must(err)
	return r
}

// A counting store counts what is written, and fails when it is told to.
type counting struct {
	*store.DB
	seals  atomic.Int64
	before func() error // called before each seal; nil: nothing
	after  func() error // called behind each, whose answer is lost on an error
}

func (c *counting) SealAudit(ctx context.Context, head chain.Point, rows []backup.Entry, p *backup.Checkpoint) (bool, error) {
	c.seals.Add(1)
	if c.before != nil {
		if err := c.before(); err != nil {
			return false, err
		}
	}
	won, err := c.DB.SealAudit(ctx, head, rows, p)
	if err == nil && c.after != nil {
		if err := c.after(); err != nil {
			return false, err
		}
	}
	return won, err
}

func TestSealer(t *testing.T) {
	eachDialect(t, func(t *testing.T, w *trail) {
		of := &counting{DB: w.DB}
		s := w.sealer(of)
		w.must(s.Seal(t.Context()))
		if n := of.seals.Load(); n != 0 {
			t.Errorf("%d writes where nothing was written", n)
		}
		if r := w.whole2(); r.Rows != 0 {
			t.Errorf("got %+v", r)
		}
		w.write(250) // more than go into two transactions
		w.must(s.Seal(t.Context()))
		if r := w.whole(); r.Rows != 250 || r.After != 0 || r.Last != 250 {
			t.Errorf("got %+v", r)
		}
		n := of.seals.Load()
		for range 3 {
			w.wait(time.Hour)
			w.must(s.Seal(t.Context()))
		}
		if again := of.seals.Load(); again != n {
			t.Errorf("%d writes of an idle server", again-n)
		}
		// Another key, as after a restore, signs what was signed.
		w.key, _ = chain.NewKey("k2", bytes.Repeat([]byte{2}, 32))
		w.must(w.sealer(of).Seal(t.Context()))
		if r := w.whole(); r.Checkpoint.Key != "k2" || r.After != 0 {
			t.Errorf("got %+v", r)
		}
	})
	for name, c := range map[string]audit.SealerConfig{"no store": {Key: func(context.Context) (*chain.Key, error) { return nil, nil }}, "no key": {Store: &store.DB{}}} {
		if _, err := audit.NewSealer(c); err == nil {
			t.Errorf("a sealer with %s", name)
		}
	}
}

// whole2 is whole where nothing is signed yet.
func (w *trail) whole2() chain.Report {
	w.t.Helper()
	v := chain.NewVerifier(chain.Want{})
	w.must(w.ExportAudit(w.t.Context(), v))
	return v.Report()
}

// A memory is a trail without a database, in a bubble of time.
type memory struct {
	mu    sync.Mutex
	state chain.State
	rows  []backup.Entry
	signs []time.Time
	down  error
}

func (m *memory) AuditState(_ context.Context, most int) (chain.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Unsealed = append([]backup.Entry(nil), m.rows[:min(most, len(m.rows))]...)
	return s, m.down
}

func (m *memory) SealAudit(_ context.Context, _ chain.Point, rows []backup.Entry, c *backup.Checkpoint) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return false, m.down
	}
	if m.rows = m.rows[len(rows):]; len(rows) > 0 {
		m.state.Head = chain.Point{Seq: rows[len(rows)-1].Seq, Hash: rows[len(rows)-1].Hash}
	}
	if c != nil {
		m.state.Checkpoint = *c
		m.signs = append(m.signs, time.Now())
	}
	return true, nil
}

func (m *memory) NextCut(context.Context, time.Time) (backup.Cut, bool, error) {
	return backup.Cut{}, false, nil
}
func (m *memory) DropCut(context.Context) error { return nil }

func (m *memory) write() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, backup.Entry{Number: 1, At: nine, Actor: "a", Action: "b"})
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *memory) stand() (unsealed, unsigned int, signs []time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows), int(m.state.Head.Seq - m.state.Checkpoint.Seq), m.signs
}

// Within a second an act is in the chain; what is new is signed every five seconds at most, and all of it at an orderly stop.
func TestWhenItSeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		key, _ := chain.NewKey("k", bytes.Repeat([]byte{1}, 32))
		s, err := audit.NewSealer(audit.SealerConfig{Store: m, Key: func(context.Context) (*chain.Key, error) { return key, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		began := time.Now()
		for range 60 { // acts all the time, for half a minute
			m.write()
			time.Sleep(500*time.Millisecond + time.Millisecond)
			if unsealed, _, _ := m.stand(); unsealed > 1 {
				t.Fatalf("%v after the beginning %d acts wait", time.Since(began), unsealed)
			}
			if s.Lag() > 1100*time.Millisecond {
				t.Errorf("the lag is %v", s.Lag())
			}
		}
		_, _, signs := m.stand()
		if len(signs) < 5 || len(signs) > 7 {
			t.Errorf("%d checkpoints in half a minute", len(signs))
		}
		for i, at := range signs[1:] {
			if at.Sub(signs[i]) < 5*time.Second {
				t.Errorf("two checkpoints within %v", at.Sub(signs[i]))
			}
		}
		time.Sleep(6 * time.Second)
		if unsealed, unsigned, _ := m.stand(); unsealed+unsigned > 0 {
			t.Errorf("a moment later %d acts are not sealed, %d not signed", unsealed, unsigned)
		}

		// The database is away: it is tried again and again, and the lag tells.
		m.fail(errors.New("disk I/O error"))
		m.write()
		time.Sleep(time.Minute)
		if s.Lag() < 59*time.Second {
			t.Errorf("the lag is %v", s.Lag())
		}
		m.fail(nil)
		time.Sleep(time.Second)
		if s.Lag() > 2*time.Second {
			t.Errorf("the lag is %v", s.Lag())
		}

		m.write()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if unsealed, unsigned, _ := m.stand(); unsealed+unsigned > 0 {
			t.Errorf("stopped with %d acts not sealed, %d not signed", unsealed, unsigned)
		}
	})
}

// Three servers seal what eight writers write, all at once.
func TestSealersAtOnce(t *testing.T) {
	eachDialect(t, func(t *testing.T, w *trail) {
		const writers, each = 8, 40
		var writing, sealing sync.WaitGroup
		done := make(chan struct{})
		for range 3 {
			s := w.sealer(w.DB)
			sealing.Go(func() {
				for last := false; !last; {
					select {
					case <-done:
						last = true
					default:
					}
					if err := s.Seal(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range writers {
			writing.Go(func() {
				for j := range each {
					if err := w.Note(t.Context(), auth.Act{Actor: fmt.Sprint("writer ", i), Action: "x", Detail: fmt.Sprint(j)}, auth.Subject{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		close(done)
		sealing.Wait()
		if r := w.whole(); r.Rows != writers*each || r.Last != r.Rows || r.After != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

// On PostgreSQL a transaction that began first may be committed last. Its act comes later in the chain than its number.
func TestLateCommit(t *testing.T) {
	w := onPostgres(t)
	late, err := w.hand.BeginTx(t.Context(), nil)
	w.must(err)
	_, err = late.ExecContext(t.Context(), `INSERT INTO audit (at, actor, action, account, credential, secret, session, request_id, address, detail)
		VALUES (1, 'late', 'x', 0, '', 0, '', '', '', '')`)
	w.must(err)
	w.write(3)
	w.must(w.sealer(w.DB).Seal(t.Context()))
	w.must(late.Commit())
	w.must(w.sealer(w.DB).Seal(t.Context()))
	if r := w.whole(); r.Rows != 4 || r.After != 0 {
		t.Errorf("got %+v", r)
	}
	var numbers, actors []string
	w.must(w.ExportAudit(t.Context(), backup.Acts(func(e backup.Entry) error {
		numbers, actors = append(numbers, fmt.Sprint(e.Number)), append(actors, e.Actor)
		return nil
	})))
	if got := strings.Join(numbers, " ") + " " + actors[3]; got != "2 3 4 1 late" {
		t.Errorf("the chain's order is %s", got)
	}
}

// Killed anywhere, a sealer leaves a whole chain, and the next goes on.
func TestKilledBetween(t *testing.T) {
	killed := errors.New("killed")
	eachDialect(t, func(t *testing.T, w *trail) {
		for round, of := range []*counting{
			{DB: w.DB, before: func() error { return killed }},
			{DB: w.DB, after: func() error { return killed }},
		} {
			w.write(150)
			if err := w.sealer(of).Seal(t.Context()); !errors.Is(err, killed) {
				t.Fatalf("got %v", err)
			}
			w.whole2()
			w.must(w.sealer(w.DB).Seal(t.Context()))
			if r := w.whole(); r.Rows != int64(150*(round+1)) || r.After != 0 {
				t.Errorf("got %+v", r)
			}
		}

		// Between the checkpoint that says what was removed, and the removing.
		w.wait(time.Hour)
		w.must(w.sealer(dropless{w.DB}).Prune(t.Context(), w.Now()))
		if r := w.whole(); r.Cut != 300 || r.Rows != 0 {
			t.Errorf("got %+v", r)
		}
		w.write(1)
		w.must(w.sealer(w.DB).Seal(t.Context()))
		w.must(w.sealer(w.DB).Prune(t.Context(), w.Now().Add(-time.Minute))) // which finishes it
		var left int
		w.must(w.hand.QueryRowContext(t.Context(), `SELECT count(*) FROM audit`).Scan(&left))
		if r := w.whole(); r.Rows != 1 || r.First != 301 || left != 1 {
			t.Errorf("got %+v, and %d rows are there", r, left)
		}
	})
}

// A dropless store is killed before it drops anything.
type dropless struct{ *store.DB }

func (dropless) DropCut(context.Context) error { return nil }

// Rows grow old, servers prune at once, and nobody's signature is missing.
func TestPrune(t *testing.T) {
	eachDialect(t, func(t *testing.T, w *trail) {
		for range 5 {
			w.write(30)
			w.must(w.sealer(w.DB).Seal(t.Context()))
			w.wait(time.Hour)
		}
		of := &counting{DB: w.DB}
		w.must(w.sealer(of).Prune(t.Context(), nine))
		if of.seals.Load() != 0 {
			t.Error("something was written where nothing is old")
		}
		var both sync.WaitGroup
		for range 2 {
			s := w.sealer(w.DB)
			both.Go(func() {
				if err := s.Prune(t.Context(), nine.Add(90*time.Minute)); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if r := w.whole(); r.Cut != 60 || r.Rows != 90 || r.First != 61 || r.After != 0 {
			t.Errorf("got %+v", r)
		}
		w.must(w.sealer(w.DB).Prune(t.Context(), nine.Add(24*time.Hour)))
		if r := w.whole(); r.Cut != 150 || r.Rows != 0 || r.Checkpoints != 1 {
			t.Errorf("got %+v", r)
		}
		w.write(1)
		w.must(w.sealer(w.DB).Seal(t.Context()))
		if r := w.whole(); r.First != 151 || r.After != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

// Whatever somebody does by hand to what was sealed is named, with its place.
func TestByHand(t *testing.T) {
	rehash := func(w *trail, from int64) { // as who knows how it is hashed, and has no key
		var rows []backup.Entry
		var before backup.Hash
		w.must(w.ExportAudit(w.t.Context(), backup.Acts(func(e backup.Entry) error {
			if e.Seq < from {
				before = e.Hash
			} else if e.Seq > 0 {
				rows = append(rows, e)
			}
			return nil
		})))
		for i, e := range rows {
			before = chain.Next(before, from+int64(i), e)
			w.byHand(`UPDATE audit SET seq = $1, hash = $2 WHERE number = $3`, from+int64(i), before[:], e.Number)
		}
		w.byHand(`UPDATE audit_head SET seq = $1, hash = $2`, from+int64(len(rows))-1, before[:])
	}
	for i, c := range []struct {
		name  string
		do    func(w *trail)
		row   int64
		point int64
	}{
		{"an actor changed", func(w *trail) { w.byHand(`UPDATE audit SET actor = 'nobody' WHERE seq = 7`) }, 7, 0},
		{"a time changed", func(w *trail) { w.byHand(`UPDATE audit SET at = at + 1 WHERE seq = 1`) }, 1, 0},
		{"a person changed", func(w *trail) { w.byHand(`UPDATE audit SET person = 'p_1' WHERE seq = 20`) }, 20, 0},
		{"a number changed", func(w *trail) { w.byHand(`UPDATE audit SET number = 4711 WHERE seq = 3`) }, 3, 0},
		{"a hash changed", func(w *trail) {
			w.byHand(`UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 2) WHERE seq = 3`)
		}, 3, 0},
		{"the hash taken away", func(w *trail) { w.byHand(`UPDATE audit SET hash = NULL WHERE seq = 3`) }, 3, 0},
		{"the place taken away", func(w *trail) { w.byHand(`UPDATE audit SET seq = NULL, hash = NULL WHERE seq = 3`) }, 3, 0},
		{"changed, and all hashes since", func(w *trail) {
			w.byHand(`UPDATE audit SET detail = 'nothing' WHERE seq = 12`)
			rehash(w, 12)
		}, 11, 0},
		{"removed", func(w *trail) { w.byHand(`DELETE FROM audit WHERE seq = 5`) }, 5, 0},
		{"the first removed", func(w *trail) { w.byHand(`DELETE FROM audit WHERE seq = 1`) }, 1, 0},
		{"the oldest removed up to a checkpoint, with it", func(w *trail) {
			w.byHand(`DELETE FROM audit WHERE seq <= 10`)
			w.byHand(`DELETE FROM audit_checkpoints WHERE seq <= 10`)
		}, 1, 0},
		{"the last removed", func(w *trail) { w.byHand(`DELETE FROM audit WHERE seq = 30`) }, 30, 0},
		{"the last removed, with their checkpoint", func(w *trail) {
			w.byHand(`DELETE FROM audit WHERE seq > 20`)
			w.byHand(`DELETE FROM audit_checkpoints WHERE seq > 20`)
		}, 21, 0},
		{"removed, and the rest moved up", func(w *trail) {
			w.byHand(`DELETE FROM audit WHERE seq = 15`)
			w.byHand(`UPDATE audit SET seq = -seq WHERE seq > 15`)
			w.byHand(`UPDATE audit SET seq = -seq - 1 WHERE seq < 0`)
			rehash(w, 15)
		}, 11, 0},
		{"two swapped", func(w *trail) {
			w.byHand(`UPDATE audit SET seq = 1000 WHERE seq = 8`)
			w.byHand(`UPDATE audit SET seq = 8 WHERE seq = 9`)
			w.byHand(`UPDATE audit SET seq = 9 WHERE seq = 1000`)
		}, 8, 0},
		{"what two say swapped", func(w *trail) {
			w.byHand(`UPDATE audit SET actor = 'x' WHERE seq = 25`)
			w.byHand(`UPDATE audit SET actor = (SELECT actor FROM audit WHERE seq = 25), detail = 'swapped' WHERE seq = 24`)
		}, 24, 0},
		{"put in at the end", func(w *trail) {
			w.byHand(`INSERT INTO audit (at, actor, action, account, credential, secret, session, request_id, address, detail, seq, hash)
				SELECT at, actor, action, account, credential, secret, session, request_id, address, detail, 31, hash FROM audit WHERE seq = 30`)
		}, 31, 0},
		{"a checkpoint changed", func(w *trail) { w.byHand(`UPDATE audit_checkpoints SET at = at + 1 WHERE number = 2`) }, 0, 2},
		{"a checkpoint removed", func(w *trail) { w.byHand(`DELETE FROM audit_checkpoints WHERE number = 2`) }, 0, 3},
		{"all checkpoints removed", func(w *trail) { w.byHand(`DELETE FROM audit_checkpoints`) }, 1, 0},
		{"the cut of a checkpoint changed", func(w *trail) { w.byHand(`UPDATE audit_checkpoints SET cut = 5 WHERE number = 3`) }, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tell := func(t *testing.T, w *trail) {
				for range 3 {
					w.write(10)
					w.must(w.sealer(w.DB).Seal(t.Context()))
				}
				w.whole()
				c.do(w)
				_, err := w.verify()
				var broken *chain.Broken
				if !errors.As(err, &broken) || (c.row+c.point > 0 && (broken.Row != c.row || broken.Checkpoint != c.point)) {
					t.Errorf("got %v (%+v), want row %d, checkpoint %d", err, broken, c.row, c.point)
				}
			}
			tell(t, embedded(t))
			if i%4 == 0 { // what reads the rows is the same; making databases takes time
				tell(t, onPostgres(t))
			}
		})
	}
}

func (w *trail) byHand(query string, args ...any) {
	w.t.Helper()
	if _, err := w.hand.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}
