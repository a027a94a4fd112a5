package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// failingSQL makes what fails on the server: a statement, and a row whose transaction cannot be committed. The code is that of a
// full disk.
const failingSQL = `
CREATE FUNCTION fail() RETURNS BIGINT LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected failure' USING ERRCODE = '53100'; END $$;
CREATE FUNCTION fail_late() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected failure' USING ERRCODE = '53100'; END $$;
CREATE TABLE fails_late (x BIGINT);
CREATE CONSTRAINT TRIGGER fails_late AFTER INSERT ON fails_late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_late()`

const fails = `SELECT fail()`

// A failing engine is one of PostgreSQL whose server fails a statement of an update, counting from 0 and through all updates, or
// its COMMIT.
type failing struct {
	*postgres
	k     int // -1: nothing fails
	asked []string
}

func (e *failing) update(ctx context.Context, fn func(*tx) error) error {
	return e.postgres.update(ctx, func(t *tx) error {
		s := t.on.(*session)
		t.on = failingSession{s, e}
		if err := fn(t); err != nil || t.failed != nil || s.done || !s.begun && len(s.queue) == 0 {
			return err
		}
		if e.now("COMMIT") {
			return s.later(`INSERT INTO fails_late VALUES (1)`)
		}
		return nil
	})
}

// now says whether this one is to fail.
func (e *failing) now(query string) bool {
	e.asked = append(e.asked, strings.Join(strings.Fields(query), " "))
	return len(e.asked)-1 == e.k
}

// A failingSession sends what fails in the place of a statement, on the same way: alone, or together with others.
type failingSession struct {
	*session
	engine *failing
}

func (s failingSession) exec(query string, args ...any) (int64, error) {
	if s.engine.now(query) {
		return s.session.exec(fails)
	}
	return s.session.exec(query, args...)
}

func (s failingSession) one(query string, args in, to out) error {
	if s.engine.now(query) {
		return s.session.one(fails, nil, nil)
	}
	return s.session.one(query, args, to)
}

func (s failingSession) all(query string, args in, each func(scan func(...any) error) error) error {
	if s.engine.now(query) {
		return s.session.all(fails, nil, each)
	}
	return s.session.all(query, args, each)
}

func (s failingSession) later(query string, args ...any) error {
	if s.engine.now(query) {
		return s.session.later(fails)
	}
	return s.session.later(query, args...)
}

func (s failingSession) hold(query string, args ...any) error {
	if s.engine.now(query) {
		return s.session.hold(fails)
	}
	return s.session.hold(query, args...)
}

func (s failingSession) whole(w whole, args in, id string, to out) (bool, error) {
	if s.engine.now(w.returning) {
		return s.session.whole(whole{returning: fails}, nil, id, nil)
	}
	return s.session.whole(w, args, id, to)
}

func (s failingSession) clock() error {
	if s.engine.now("clock") {
		return s.session.one(fails, nil, nil)
	}
	return s.session.clock()
}

// A saved is what was in each table of a database once.
type saved struct {
	tables []string // those that others refer to first
	dump   string   // the query that returns every row
}

// save copies every table.
func save(t *testing.T, db *DB) saved {
	t.Helper()
	var s saved
	if err := db.read(t.Context(), func(q querier) error {
		return q.all(`SELECT CAST(c.relname AS TEXT) FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = CAST('public' AS REGNAMESPACE) ORDER BY c.oid`, nil,
			func(scan func(...any) error) error {
				var name string
				err := scan(&name)
				s.tables = append(s.tables, name)
				return err
			})
	}); err != nil {
		t.Fatal(err)
	}
	statements := []string{`CREATE SCHEMA saved`}
	var rows []string
	for _, table := range s.tables {
		statements = append(statements, fmt.Sprintf(`CREATE TABLE saved.%s AS TABLE %[1]s`, table))
		rows = append(rows, fmt.Sprintf(`SELECT '%s ' || CAST(t AS TEXT) FROM %[1]s t`, table))
	}
	s.dump = strings.Join(rows, ` UNION ALL `) + ` ORDER BY 1`
	do(t, db, statements)
	return s
}

// putBack makes every table as it was.
func (s saved) putBack(t *testing.T, db *DB) {
	t.Helper()
	var statements []string
	for _, table := range slices.Backward(s.tables) {
		statements = append(statements, `DELETE FROM `+table)
	}
	for _, table := range s.tables {
		statements = append(statements, fmt.Sprintf(`INSERT INTO %s SELECT * FROM saved.%[1]s`, table))
	}
	do(t, db, statements)
}

// rows returns every row of every table.
func (s saved) rows(t *testing.T, db *DB) string {
	t.Helper()
	var b strings.Builder
	if err := db.read(t.Context(), func(q querier) error {
		return q.all(s.dump, nil, func(scan func(...any) error) error {
			var row string
			err := scan(&row)
			fmt.Fprintln(&b, row)
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// do runs statements in one transaction.
func do(t *testing.T, db *DB, statements []string) {
	t.Helper()
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		for _, statement := range statements {
			if err := t.later(statement); err != nil {
				return none, err
			}
		}
		return none, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// On PostgreSQL, too, whatever statement fails, the COMMIT among them, the method says so, and nothing of it is there; and once
// the failure has passed the same call succeeds.
func TestEveryStatementFailsOnPostgres(t *testing.T) {
	db := newPostgres(t, migratedServer.Database(t))
	flows := lives(t, db)
	do(t, db, strings.Split(failingSQL, ";\n"))
	was := save(t, db)
	before := was.rows(t, db)
	e := &failing{postgres: db.engine.(*postgres)}
	db.engine = e
	points := 0
	for _, flow := range flows {
		t.Run(flow.name, func(t *testing.T) {
			defer was.putBack(t, db)
			for k := 0; ; k++ {
				e.k, e.asked = k, nil
				err := flow.run(db)
				e.k = -1
				after := was.rows(t, db)
				if k >= len(e.asked) {
					// Nothing was left to fail: this run went through.
					if err != nil && auth.AsError(err).Kind != auth.AsError(flow.want).Kind {
						t.Errorf("without a failure: got %v, want %v", err, flow.want)
					}
					if after == before {
						t.Error("it went through and changed nothing")
					}
					if k == 0 {
						t.Error("no statement was there to fail")
					}
					break
				}
				points++
				if auth.AsError(err).Kind != auth.Unavailable {
					t.Errorf("with %q failing: got %v, want 503", e.asked[k], err)
				}
				if after != before {
					t.Fatalf("with %q failing something is there:\n%s\nbefore:\n%s", e.asked[k], after, before)
				}
			}
		})
	}
	t.Logf("%d statements failed, in %d flows", points, len(flows))
}
