package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/fault"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// server is a PostgreSQL of the test's own with an empty database, and how to open that.
func server(t *testing.T) (s *pgtest.Server, url string) {
	t.Helper()
	s = pgtest.Start(t, pgtest.Config{})
	name, err := s.CreateDatabase()
	if err != nil {
		t.Fatal(err)
	}
	return s, s.URL(name)
}

// hurried opens a database as it is served by default.
func hurried(t *testing.T, url string, most int) *DB {
	t.Helper()
	newPostgres(t, url).Close() // migrated, without haste
	db, err := Open(t.Context(), Config{URL: url, Pool: Pool{MaxConnections: most}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// connections returns how many of ours the server has, but those that listen.
func connections(t *testing.T, s *pgtest.Server) (n int) {
	t.Helper()
	var answer string
	if err := s.Query(&answer, "", `SELECT count(*) FROM pg_stat_activity WHERE application_name = '`+application+`'`); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(answer, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// within calls do until it succeeds.
func within(t *testing.T, d time.Duration, what string, do func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Since(began) > d {
			t.Fatalf("%s: still %v after %v", what, err, time.Since(began))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// busy is what a machine with much else to do may add to a time that is promised. Whoever is not told in time would wait for as
// long as the server is frozen.
const busy = 10 * time.Second

// However many ask a database that stands still, or whose network is silent, all are told so in time; and as soon as it goes on so
// do they, over no more connections than there may be.
func TestFrozen(t *testing.T) {
	s, url := server(t)
	link, err := fault.Listen(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	const most = 4
	db := hurried(t, strings.Replace(url, s.Addr(), link.Addr(), 1), most)
	for _, way := range []struct {
		name         string
		stop, resume func() error
	}{
		{"the server is frozen", s.Freeze, s.Thaw},
		{"the network is silent", func() error { link.Silence(); return nil }, func() error { link.Mend(); return nil }},
		{"the network is cut", func() error { link.Cut(); return nil }, func() error { link.Mend(); return nil }},
	} {
		if err := way.stop(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var longest atomic.Int64
		for i := range 60 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 30 * time.Millisecond) // they do not come all at once
				began := time.Now()
				var err error
				if i%2 == 0 {
					_, err = db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
				} else {
					_, err = db.Holder(t.Context(), auth.Login, "c1")
				}
				if !errors.Is(err, auth.ErrOverloaded) {
					t.Errorf("%s: got %v, want 503", way.name, err)
				}
				for took := int64(time.Since(began)); ; {
					was := longest.Load()
					if took <= was || longest.CompareAndSwap(was, took) {
						return
					}
				}
			})
		}
		wg.Wait()
		if took := time.Duration(longest.Load()); took > 2500*time.Millisecond+busy {
			t.Errorf("%s: an answer took %v", way.name, took)
		}
		if err := way.resume(); err != nil {
			t.Fatal(err)
		}
		within(t, 3*time.Second+busy, way.name+", and goes on", func() error {
			_, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
			return err
		})
		within(t, ample, way.name, func() error { // those that were given up go when the server notices
			if n := connections(t, s); n > most {
				return fmt.Errorf("%d connections, want %d at most", n, most)
			}
			return nil
		})
	}
}

// What was acknowledged before the server died is there when it is back, and nobody waits for more than that.
func TestKilledServer(t *testing.T) {
	s, url := server(t)
	db := hurried(t, url, 4)
	for round := range 2 {
		var mu sync.Mutex
		made := make(map[auth.AccountID]bool)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 8 {
			load.Go(func() {
				for ctx.Err() == nil {
					a, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
					if err != nil {
						if !errors.Is(err, auth.ErrOverloaded) {
							t.Errorf("got %v", err)
						}
						continue
					}
					mu.Lock()
					if made[a.ID] {
						t.Errorf("number %d was given twice", a.ID)
					}
					made[a.ID] = true
					mu.Unlock()
				}
			})
		}
		some := func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(made) < 20 {
				return errors.New("too few were made")
			}
			return nil
		}
		within(t, ample, "load", some)
		if err := errors.Join(s.Kill(), s.Restart()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		before := len(made)
		mu.Unlock()
		within(t, 3*time.Second+busy, "back again", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(made) == before {
				return errors.New("nothing was made since")
			}
			return nil
		})
		stop()
		load.Wait()
		all, err := db.Accounts(t.Context(), auth.AccountQuery{Most: auth.MostRows})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			delete(made, a.ID)
		}
		if len(made) > 0 {
			t.Errorf("round %d: %d accounts were acknowledged and are lost", round, len(made))
		}
	}
}

// A commit whose answer is lost is not said to have succeeded, nor done twice; one that was never sent is done again.
func TestLostOnTheWire(t *testing.T) {
	s, url := server(t)
	link, err := fault.Listen(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	db := newPostgres(t, strings.Replace(url, s.Addr(), link.Addr(), 1))
	count := func(name string) (n int) {
		t.Helper()
		within(t, ample, "count", func() error {
			return db.read(t.Context(), func(q querier) error {
				return q.one(`SELECT count(*) FROM accounts WHERE name = $1`, in{name}, out{&n})
			})
		})
		return n
	}
	insert := func(t *tx, id int, name string) error {
		_, err := t.exec(`INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, 0)`, id, name)
		return err
	}

	// Before the commit: nothing is there, so it is done again.
	ran := 0
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		ran++
		if err := insert(t, 1, "early"); err != nil {
			return none, err
		}
		if ran == 1 {
			link.Drop()
		}
		_, err = t.head()
		return none, err
	}); err != nil || ran != 2 || count("early") != 1 {
		t.Errorf("cut off before the commit: got %v, ran %d times, %d rows; want it done again", err, ran, count("early"))
	}

	// The answer to the commit is lost: it is there, and nobody may know. On its way to the server and back it is slow enough for
	// us to see the row before the answer comes.
	_, database, _ := strings.Cut(strings.TrimPrefix(url, "postgres://"), "/")
	cutAfterCommit := func() {
		defer link.Drop()
		var rows string
		for began := time.Now(); rows != "1"; {
			err := s.Query(&rows, database, `SELECT count(*) FROM accounts WHERE name = 'late'`)
			if err != nil || time.Since(began) > ample {
				t.Errorf("the commit has not come: %v", err)
				return
			}
		}
	}
	var cutting sync.WaitGroup
	ran = 0
	_, err = update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		ran++
		if err := insert(t, 2, "late"); err != nil {
			return none, err
		}
		link.Delay(2 * time.Second)
		cutting.Go(cutAfterCommit)
		return none, nil
	})
	cutting.Wait()
	link.Mend()
	if !errors.Is(err, auth.ErrOverloaded) || ran != 1 || count("late") != 1 {
		t.Errorf("the answer was lost: got %v, ran %d times, %d rows; want 503, once, and the row", err, ran, count("late"))
	}
}

// Two who lock the same rows in another order both get their turn.
func TestDeadlock(t *testing.T) {
	db := newPostgres(t, migratedServer.Database(t))
	var ids []auth.AccountID
	for range 2 {
		a, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	var met, done sync.WaitGroup
	met.Add(2)
	for i := range 2 {
		done.Go(func() {
			first := sync.OnceFunc(func() { met.Done(); met.Wait() })
			if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
				if err := t.lockAccount(ids[i]); err != nil {
					return none, err
				}
				first()
				return none, t.lockAccount(ids[1-i])
			}); err != nil {
				t.Errorf("number %d: %v", i, err)
			}
		})
	}
	done.Wait()
}

// More than the pool and its queue hold are refused at once, and the server never sees more connections than there may be.
func TestPoolIsBounded(t *testing.T) {
	s, url := server(t)
	const most = 3
	db := hurried(t, url, most)
	var refused, served atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 * queueEach * most {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := db.read(t.Context(), func(q querier) error {
					var text string
					return q.one(`SELECT CAST(pg_sleep(0.05) AS TEXT)`, nil, out{&text})
				})
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, auth.ErrOverloaded):
					refused.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	for range 20 {
		if n := connections(t, s); n > most {
			t.Errorf("%d connections, want %d at most", n, most)
		}
	}
	within(t, ample, "some are served and some refused", func() error {
		if served.Load() < 10 || refused.Load() == 0 {
			return fmt.Errorf("%d served, %d refused", served.Load(), refused.Load())
		}
		return nil
	})
	stop()
	wg.Wait()
	if n := db.Waiting(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}
