package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// hold keeps the writer busy until release is called: whoever comes meanwhile will share one commit.
func hold(t *testing.T, db *DB) (release func()) {
	t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := update(context.Background(), db, func(*tx) (none struct{}, err error) {
			close(busy)
			<-free
			return none, nil
		})
		done <- err
	}()
	<-busy
	return sync.OnceFunc(func() {
		close(free)
		if err := <-done; err != nil {
			t.Errorf("the holder: %v", err)
		}
	})
}

// waiting returns once n updates wait for the writer.
func waiting(db *DB, n int) {
	for len(sqliteOf(db).writer.queue) < n {
		time.Sleep(time.Millisecond)
	}
}

func testTable(t *testing.T, db *DB) {
	t.Helper()
	if _, err := update(t.Context(), db, func(t *tx) (int64, error) {
		return t.exec(`CREATE TABLE test (id INTEGER PRIMARY KEY, what BLOB NOT NULL) STRICT`)
	}); err != nil {
		t.Fatal(err)
	}
}

func put(t *tx, id int) error {
	_, err := t.exec(`INSERT INTO test (id, what) VALUES ($1, $2)`, id, []byte("x"))
	return err
}

// there returns which ids below n have rows.
func there(t *testing.T, db *DB, n int) map[int]bool {
	t.Helper()
	found := make(map[int]bool)
	err := db.read(context.Background(), func(c querier) error {
		return c.all(`SELECT id FROM test WHERE id < $1`, in{n}, func(scan func(...any) error) error {
			var id int
			err := scan(&id)
			found[id] = true
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestGroup lets 16 updates share a commit, of which one goes wrong, in turn each of them and in each way. What was
// acknowledged must be there, what was not must not, and nobody suffers more than the way demands.
func TestGroup(t *testing.T) {
	const members = 16
	refused := auth.ErrConflict.Saying("no")
	for _, way := range []struct {
		name string
		bad  func(t *tx, id int) error
		want func(error) bool
		all  bool // the others fail too
	}{
		{name: "breaks a constraint", bad: func(t *tx, id int) error {
			if err := put(t, id); err != nil {
				return err
			}
			return put(t, id)
		}, want: func(err error) bool { return code(err)&0xff == codeConstraint }},
		{name: "is refused after it has written", bad: func(t *tx, id int) error {
			if err := put(t, id); err != nil {
				return err
			}
			return refused
		}, want: func(err error) bool { return errors.Is(err, auth.ErrConflict) }},
		{name: "panics", bad: func(t *tx, id int) error {
			if err := put(t, id); err != nil {
				return err
			}
			panic("oh")
		}, want: func(err error) bool { return strings.Contains(err.Error(), "panic in an update: oh") }},
		{name: "panics between two rows", bad: func(t *tx, id int) error {
			if err := put(t, id); err != nil {
				return err
			}
			return t.all(`SELECT id FROM test`, nil, func(func(...any) error) error { panic("oh") })
		}, want: func(err error) bool { return strings.Contains(err.Error(), "panic in an update: oh") }},
		{name: "hides its error", bad: func(t *tx, id int) error {
			put(t, id)
			put(t, id)
			put(t, id+1000)
			return nil
		}, want: func(err error) bool { return code(err)&0xff == codeConstraint }},
		{name: "fills the disk", bad: func(t *tx, id int) error {
			_, err := t.exec(`INSERT INTO test (id, what) VALUES ($1, zeroblob(10000000))`, id)
			return err
		}, want: func(err error) bool { return errors.Is(err, auth.ErrOverloaded) && code(err)&0xff == codeFull }, all: true},
		{name: "fills the disk and hides it", bad: func(t *tx, id int) error {
			t.exec(`INSERT INTO test (id, what) VALUES ($1, zeroblob(10000000))`, id)
			put(t, id) // would commit by itself: the transaction is gone
			return nil
		}, want: func(err error) bool { return errors.Is(err, auth.ErrOverloaded) }, all: true},
		{name: "is interrupted", bad: func(t *tx, id int) error {
			if err := put(t, id); err != nil {
				return err
			}
			// What must never be done: a statement under a context that ends. The whole transaction goes with it.
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			s, err := t.on.(*conn).prepare(`INSERT INTO test (id, what) WITH RECURSIVE n (i) AS (SELECT 100000 UNION ALL SELECT i + 1 FROM n) SELECT i, x'78' FROM n`)
			if err != nil {
				return err
			}
			_, err = s.ExecContext(ctx, nil)
			t.note(err)
			put(t, id+1000) // would commit by itself
			return err
		}, want: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{name: "goes away before its turn", want: func(err error) bool {
			return errors.Is(err, auth.ErrOverloaded) && errors.Is(err, context.Canceled)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			db := newDB(t, "")
			testTable(t, db)
			inject := way.name == "fills the disk" || way.name == "fills the disk and hides it"
			for bad := range members {
				if way.name == "is interrupted" && bad%5 != 0 {
					continue // each takes its time
				}
				if inject {
					limitPages(t, db, 100)
				}
				release := hold(t, db)
				first := bad * members
				gone, cancel := context.WithCancel(t.Context())
				errs := make([]error, members)
				var wg sync.WaitGroup
				for i := range members {
					wg.Go(func() {
						ctx := t.Context()
						if i == bad && way.bad == nil {
							ctx = gone
						}
						_, errs[i] = update(ctx, db, func(t *tx) (none struct{}, err error) {
							if i == bad && way.bad != nil {
								return none, way.bad(t, first+i)
							}
							return none, put(t, first+i)
						})
					})
					waiting(db, i+1)
				}
				cancel()
				release()
				wg.Wait()
				if inject {
					limitPages(t, db, 0)
				}
				found := there(t, db, 1<<30)
				for i, err := range errs {
					if (err == nil) != found[first+i] {
						t.Errorf("member %d of a group where %d goes wrong: answered %v, there %v", i, bad, err, found[first+i])
					}
					switch {
					case i == bad && (err == nil || !way.want(err)):
						t.Errorf("the one that went wrong, %d: got %v", i, err)
					case i != bad && way.all && !errors.Is(err, auth.ErrOverloaded):
						t.Errorf("member %d: got %v, want 503 for all", i, err)
					case i != bad && !way.all && err != nil:
						t.Errorf("member %d, innocent: got %v", i, err)
					}
				}
				for id := range found {
					if id >= 1000 {
						t.Fatalf("row %d committed by itself", id)
					}
				}
			}
			if err := db.Check(t.Context()); err != nil {
				t.Error(err)
			}
			// What was acknowledged is there after a new start.
			before := dump(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if after := dump(t, newDB(t, db.Path())); after != before {
				t.Error("after a new start the database is another")
			}
		})
	}
}

// limitPages lets the database grow by so many pages, or freely if it is 0: the next page is a full disk.
func limitPages(t *testing.T, db *DB, more int) {
	t.Helper()
	_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		var pages, limit int64
		if err := t.one(`PRAGMA page_count`, nil, out{&pages}); err != nil {
			return none, err
		}
		pages += int64(more)
		if more == 0 {
			pages = 1 << 30
		}
		return none, t.one(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages), nil, out{&limit})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGroupRunsAgain: where the transaction went away, the innocent run again, and their results are those of the second
// run.
func TestGroupRunsAgain(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	f := inject(t, db)
	release := hold(t, db)
	type result struct{ run, seen int }
	runs := make([]int, 3)
	results := make([]result, 3)
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			results[i], errs[i] = update(t.Context(), db, func(t *tx) (result, error) {
				runs[i]++
				r := result{run: runs[i]}
				if err := t.one(`SELECT count(*) FROM test`, nil, out{&r.seen}); err != nil {
					return r, err
				}
				if i == 1 {
					return r, t.note(failure(codeNoMemory))
				}
				return r, put(t, i)
			})
		})
		waiting(db, i+1)
	}
	f.set(on("ROLLBACK TO", failure(codeError)))
	release()
	wg.Wait()
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], auth.ErrOverloaded) {
		t.Errorf("got %v, want that only the second fails", errs)
	}
	if want := []result{{2, 0}, {}, {1, 1}}; results[0] != want[0] || results[1] != want[1] || results[2] != want[2] {
		t.Errorf("got %+v, want %+v", results, want)
	}
	if got := there(t, db, 10); !got[0] || got[1] || !got[2] {
		t.Errorf("there: %v", got)
	}
}

// TestHiddenError: alone, too, an update that hides an error of the database is undone.
func TestHiddenError(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		put(t, 1)
		put(t, 1)
		return none, nil
	})
	if code(err)&0xff != codeConstraint {
		t.Errorf("got %v, want the error it hid", err)
	}
	if got := there(t, db, 10); len(got) > 0 {
		t.Errorf("there: %v", got)
	}
}

// TestGivingUp: a caller that goes away before its turn is skipped, one that goes away later only stops waiting.
func TestGivingUp(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	started, proceed := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
			close(started)
			<-proceed
			return none, put(t, 1)
		})
		done <- err
	}()
	<-started
	cancel()
	if err := <-done; !errors.Is(err, auth.ErrOverloaded) || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went away got %v", err)
	}
	if _, err := update(ctx, db, func(t *tx) (none struct{}, err error) { return none, put(t, 2) }); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that was gone before it asked got %v", err)
	}
	close(proceed)
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) { return none, put(t, 3) }); err != nil {
		t.Error(err)
	}
	if got := there(t, db, 10); !got[1] || got[2] || !got[3] {
		t.Errorf("there: %v, want 1 and 3", got)
	}
}

func TestTooManyWait(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	release := hold(t, db)
	var all []*member
	for i := range mostWaiting {
		m := &member{ctx: context.Background(), fn: func(t *tx) error { return put(t, i) }, done: make(chan error, 1)}
		if err := sqliteOf(db).writer.enqueue(m); err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
		all = append(all, m)
	}
	_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) { return none, put(t, mostWaiting) })
	if !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("one too many: got %v, want 503 at once", err)
	}
	release()
	for i, m := range all {
		if err := <-m.done; err != nil {
			t.Errorf("number %d: %v", i, err)
		}
	}
	if got := there(t, db, 1<<30); len(got) != mostWaiting {
		t.Errorf("got %d rows, want %d", len(got), mostWaiting)
	}
}

// TestCommitFails: after a COMMIT that failed nobody is acknowledged, and nothing is there.
func TestCommitFails(t *testing.T) {
	for _, how := range []struct {
		name   string
		err    failure
		broken bool
	}{
		{"the disk is full", codeFull, false},
		{"a write failed", codeIO | 3<<8, false},
		{"the disk did not take it", codeIOFsync, true},
	} {
		t.Run(how.name, func(t *testing.T) {
			db := newDB(t, "")
			testTable(t, db)
			before := dump(t, db)
			f := inject(t, db)
			f.set(on("COMMIT", how.err))
			release := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					<-release
					_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
						if i == 3 {
							return none, auth.ErrConflict // a refusal may rest on what was lost
						}
						return none, put(t, i)
					})
					if i == 3 && err != nil {
						return // alone, it had nothing to commit
					}
					if !errors.Is(err, auth.ErrOverloaded) {
						t.Errorf("member %d: got %v, want 503", i, err)
					}
				})
			}
			close(release)
			wg.Wait()
			f.set(nil)
			if got := db.Broken() != nil; got != how.broken {
				t.Fatalf("broken: got %v, want %v", got, how.broken)
			}
			_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) { return none, put(t, 100) })
			if how.broken {
				// Never acknowledge again: what the disk holds is unknown, and a later fsync would say nothing about it.
				if !errors.Is(err, auth.ErrOverloaded) || len(f.statements()) > 0 {
					t.Errorf("after that: got %v and %q, want 503 and no statement", err, f.statements())
				}
				if after := dump(t, db); after != before { // reads go on
					t.Errorf("something was committed:\n%s", after)
				}
				return
			}
			if err != nil {
				t.Errorf("once it has passed: %v", err)
			}
			if got := there(t, db, 1<<30); len(got) != 1 || !got[100] {
				t.Errorf("there: %v", got)
			}
		})
	}
}

// TestRollbackFails: a transaction that cannot be ended must not swallow the next one.
func TestRollbackFails(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	f := inject(t, db)
	f.set(on("ROLLBACK", failure(codeIO)))
	_, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		if err := put(t, 1); err != nil {
			return none, err
		}
		return none, errors.New("no")
	})
	if err == nil {
		t.Error("got no error")
	}
	f.set(nil)
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) { return none, put(t, 2) }); err != nil {
		t.Errorf("the next: %v", err)
	}
	if got := there(t, db, 10); got[1] || !got[2] {
		t.Errorf("there: %v, want 2 alone", got)
	}
}

func TestClose(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	release := hold(t, db)
	done := make(chan error)
	go func() {
		_, err := update(context.Background(), db, func(t *tx) (none struct{}, err error) { return none, put(t, 1) })
		done <- err
	}()
	waiting(db, 1)
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	release()
	if err := <-done; err != nil {
		t.Errorf("what waited when it was closed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if _, err := db.CreateAccount(t.Context(), "late", "", auth.Act{}); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("a write afterwards: got %v", err)
	}
	if _, err := db.Account(t.Context(), 1); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("a read afterwards: got %v", err)
	}
	if got := there(t, newDB(t, db.Path()), 10); !got[1] {
		t.Error("what was acknowledged while closing is not there")
	}
}

// TestCheckpoint: the write-ahead log is copied into the database as it grows, and begins anew.
func TestCheckpoint(t *testing.T) {
	db := newDB(t, "")
	testTable(t, db)
	longest := int64(0)
	for i := range 24 {
		if _, err := update(t.Context(), db, func(t *tx) (int64, error) {
			return t.exec(`INSERT INTO test (id, what) VALUES ($1, zeroblob(4000000))`, i)
		}); err != nil {
			t.Fatal(err)
		}
		var busy, pages, copied int64
		if err := db.read(t.Context(), func(c querier) error {
			return c.one("PRAGMA wal_checkpoint(NOOP)", nil, out{&busy, &pages, &copied})
		}); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, pages)
	}
	if longest > 2*checkpointPages {
		t.Errorf("the log grew to %d pages, want %d at most", longest, 2*checkpointPages)
	}
}
