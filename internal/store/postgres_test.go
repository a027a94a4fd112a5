package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// ample is what a statement gets where a test is not about time: the machine may have much else to do.
const ample = time.Minute

// migratedServer has empty databases of the newest version.
var migratedServer = pgtest.Template{Fill: func(url string) error { return makeMigrated(Config{URL: url, Create: true}) }}

// newPostgres is [openNew] with time for every statement.
func newPostgres(t testing.TB, url string) *DB {
	t.Helper()
	return openNew(t, Config{URL: url, Create: true, Pool: Pool{StatementTimeout: ample}})
}

// columns returns the columns of every table, in order. Types are those of PostgreSQL.
func columns(t *testing.T, db *DB, query string) []string {
	t.Helper()
	types := map[string]string{"INTEGER": "bigint", "TEXT": `text "C"`, "BLOB": "bytea"}
	var found []string
	if err := db.read(t.Context(), func(q querier) error {
		return q.all(query, nil, func(scan func(...any) error) error {
			var table, column, kind string
			var null bool
			err := scan(&table, &column, &kind, &null)
			found = append(found, fmt.Sprintf("%s.%s %s, null %v", table, column, cmp.Or(types[kind], kind), null))
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// Both dialects have the same tables with the same columns, or a backup of one would not fit the other.
func TestSchemasAgree(t *testing.T) {
	inFile := columns(t, newDB(t, ""), `SELECT m.name, c.name, c.type, c."notnull" = 0 FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name <> 'schema_versions' AND m.name NOT LIKE 'sqlite_%'`)
	onServer := columns(t, newPostgres(t, migratedServer.Database(t)), `SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT),
			CAST(data_type AS TEXT) || COALESCE(' "' || collation_name || '"', ''), is_nullable = 'YES'
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'schema_versions'`)
	inFile = append(inFile, `log_head.timeline text "C", null false`) // which a file has not
	slices.Sort(inFile)
	if diff := gocmp.Diff(inFile, onServer); diff != "" {
		t.Errorf("SQLite's and PostgreSQL's tables (-SQLite +PostgreSQL):\n%s", diff)
	}
}

// Several servers that start at once on an empty database: one migrates it and one sets it up, the others find it so.
func TestManyStartAtOnce(t *testing.T) {
	const servers = 4
	url := pgtest.Database(t)
	var mu sync.Mutex
	born := 0
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() {
			db, err := Open(t.Context(), Config{URL: url, Create: true, Pool: Pool{StatementTimeout: ample}})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if _, _, err := db.Migrate(t.Context()); err != nil {
				t.Errorf("migrate: %v", err)
				return
			}
			have, want, err := db.Version(t.Context())
			if err != nil || have != want {
				t.Errorf("got version %d of %d and %v", have, want, err)
			}
			err = db.Create(t.Context(), Birth{Incarnation: fmt.Sprint(i), SealCheck: []byte("check"), MasterKey: "master"})
			if err != nil && !errors.Is(err, auth.ErrConflict) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				born++
			}
			var rows int
			if err := db.read(t.Context(), func(q querier) error {
				return q.one(`SELECT count(*) FROM schema_versions WHERE version_id = 1`, nil, out{&rows})
			}); err != nil || rows != 1 {
				t.Errorf("the first migration ran %d times, %v", rows, err)
			}
		})
	}
	wg.Wait()
	if born != 1 {
		t.Errorf("set up %d times, want once", born)
	}
}

// After a failover numbers may have been given whose entries were lost. None is given again: the next one is far beyond, and
// whoever follows the log sees the gap.
func TestAnotherTimeline(t *testing.T) {
	ctx := t.Context()
	db := newPostgres(t, migratedServer.Database(t))
	a, err := db.CreateAccount(ctx, "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	revoke := func() auth.Position {
		t.Helper()
		r, err := db.RevokeContract(ctx, a.ID, auth.B2B, auth.Act{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Position
	}
	first, second := revoke(), revoke()
	if first != 1 || second != 2 {
		t.Fatalf("got %d and %d, want 1 and 2", first, second)
	}
	if _, err := update(ctx, db, func(t *tx) (int64, error) {
		return t.exec(`UPDATE log_head SET timeline = '000000FE'`)
	}); err != nil {
		t.Fatal(err)
	}
	third, fourth := revoke(), revoke()
	if third != second+1_000_000 || fourth != third+1 {
		t.Errorf("on another timeline: got %d and %d, want %d and one more", third, fourth, second+1_000_000)
	}
	_, head, changes, err := db.Changes(ctx, second)
	if err != nil || head != fourth || len(changes) != 2 || changes[0].Number != third {
		t.Errorf("the log: got head %d, %+v and %v", head, changes, err)
	}
}

// A server that was a primary before a failover, and has come back, is refused.
func TestOvertaken(t *testing.T) {
	db := newPostgres(t, migratedServer.Database(t))
	p := db.engine.(*postgres)
	if p.timeline.timeline != "00000001" {
		t.Fatalf("got timeline %q", p.timeline.timeline)
	}
	if err := p.timeline.see("0000000A"); err != nil {
		t.Fatal(err)
	}
	p.pool.Reset()
	if _, err := db.Accounts(t.Context(), auth.AccountQuery{}); !errors.Is(err, auth.ErrOverloaded) || !strings.Contains(err.Error(), "it was the primary before a failover") {
		t.Errorf("got %v", err)
	}
}

// A change that one server makes wakes the followers of all, and they listen again when they were cut off.
func TestListen(t *testing.T) {
	ctx := t.Context()
	url := migratedServer.Database(t)
	one, two := newPostgres(t, url), newPostgres(t, url)
	a, err := one.CreateAccount(ctx, "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	wakes := two.Wakes()
	woken := func(what string) {
		t.Helper()
		select {
		case <-wakes:
		case <-time.After(ample):
			t.Fatalf("%s woke nobody", what)
		}
	}
	listeners := func() (pids []int64) {
		t.Helper()
		for len(pids) == 0 {
			if err := one.read(ctx, func(q querier) error {
				pids = nil
				return q.all(`SELECT CAST(pid AS BIGINT) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%' AND datname = current_database()`,
					in{listening}, func(scan func(...any) error) error {
						var pid int64
						err := scan(&pid)
						pids = append(pids, pid)
						return err
					})
			}); err != nil {
				t.Fatal(err)
			}
		}
		return pids
	}
	drain := func() {
		for {
			select {
			case <-wakes:
			default:
				return
			}
		}
	}
	woken("the beginning")
	for range 3 {
		pids := listeners()
		drain()
		if _, err := one.RevokeContract(ctx, a.ID, auth.B2B, auth.Act{}); err != nil {
			t.Fatal(err)
		}
		woken("another server's change")
		for _, pid := range pids {
			if err := one.read(ctx, func(q querier) error {
				var ended bool
				return q.one(`SELECT pg_terminate_backend(CAST($1 AS INTEGER))`, in{int(pid)}, out{&ended})
			}); err != nil {
				t.Fatal(err)
			}
		}
		woken("being cut off")
		for slices.Equal(listeners(), pids) {
			time.Sleep(time.Millisecond)
		}
	}
}

func TestServerClock(t *testing.T) {
	wall := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var c serverClock
	at := func(ran time.Duration) time.Time { return wall.Add(ran) }
	c.measured(0, 100*time.Millisecond, at(50*time.Millisecond), wall)
	first := c.zero
	if first != wall {
		t.Errorf("got %v, want the middle, %v", first, wall)
	}
	// What a slow answer does not contradict stays.
	c.measured(time.Second, 3*time.Second, at(1100*time.Millisecond), wall)
	if c.zero != first {
		t.Errorf("a slow answer moved it to %v", c.zero)
	}
	// A quick one moves it as far as it must.
	c.measured(10*time.Second, 10*time.Second+2*time.Millisecond, at(10*time.Second+21*time.Millisecond), wall)
	if got := c.zero.Sub(first); got != 19*time.Millisecond {
		t.Errorf("a quick answer moved it by %v, want 19ms", got)
	}
	// Set back, it stands until it has come up again.
	c.last = time.Time{}
	before := c.Now()
	c.zero = c.zero.Add(-time.Hour)
	if got := c.Now(); got != before {
		t.Errorf("it ran backwards, from %v to %v", before, got)
	}
	c.zero = c.zero.Add(2 * time.Hour)
	if got := c.Now(); !got.After(before) {
		t.Errorf("it stands at %v", got)
	}
}

// The store's time is the server's, wherever this machine's clock is.
func TestServerTime(t *testing.T) {
	db := newPostgres(t, migratedServer.Database(t))
	var before, after int64
	ask := func(to *int64) {
		if err := db.read(context.Background(), func(q querier) error { return q.one(clockNow, nil, out{to}) }); err != nil {
			t.Fatal(err)
		}
	}
	p := db.engine.(*postgres)
	p.clock.zero = p.clock.zero.Add(time.Hour) // as if this machine had been wrong
	if err := db.Register(t.Context(), auth.Replica{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := db.Follow(t.Context(), "r", "test", 0); err != nil {
		t.Fatal(err)
	}
	p.clock.last = time.Time{}
	ask(&before)
	got := db.Now()
	ask(&after)
	if got.Before(time.UnixMicro(before).Add(-time.Second)) || got.After(time.UnixMicro(after).Add(time.Second)) {
		t.Errorf("after a heartbeat got %v, want between %v and %v", got, time.UnixMicro(before), time.UnixMicro(after))
	}
	if offset := db.ClockOffset(); offset.Abs() > 10*time.Second { // the same machine
		t.Errorf("the clocks are %v apart", offset)
	}
}
