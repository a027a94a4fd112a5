package store

import (
	"context"
	"errors"
	"time"
)

type (
	in  = []any // what goes into a statement: int64, int, string, []byte, nil
	out = []any // where the columns of a row go: see assign
)

// A querier runs statements: in a transaction, or on a connection that reads.
type querier interface {
	// exec runs a statement without rows and returns how many it changed.
	exec(query string, args ...any) (int64, error)
	// one reads the one row of a statement; without a row it is errNoRow.
	one(query string, args in, to out) error
	// all calls each for every row of a statement, with a function that puts its columns where they go.
	all(query string, args in, each func(scan func(...any) error) error) error
}

// A transaction is a querier whose statements are committed together. What it has besides is what costs a round trip less, or a
// lock more, where the database is not in this process.
type transaction interface {
	querier
	// later is exec for whom it is enough to learn at the commit what became of the statement. It may run as late as that, but
	// in its turn.
	later(query string, args ...any) error
	// hold runs a query that locks rows (FOR NO KEY UPDATE) where several can write at once, before the next statement.
	hold(query string, args ...any) error
	// whole runs a change and reads columns of the row it changed. If it has changed one, nothing else runs in this transaction.
	whole(w whole, args in, id string, to out) (changed bool, err error)
	// clock compares the database's clock with this machine's, if it has one of its own.
	clock() error
	// draw is the statement that adds $1 numbers to the change log and returns the last.
	draw() string
}

// A whole is a statement that changes one row at most, which is named by its id, and that is often all there is to do.
type whole struct {
	change    string
	returning string // change, returning columns of the row
	read      string // what reads them, by id, if that is quicker
}

// errNoRow is what a statement without a row gives where one was asked for.
var errNoRow = errors.New("no row")

func isNoRow(err error) bool { return errors.Is(err, errNoRow) }

// An engine keeps the rows. It is where one kind of database differs from another; what is done is in the methods of [DB], in
// SQL that all understand. None of its methods runs a statement under a caller's context.
type engine interface {
	// update runs fn as a transaction; see the function update, which is its contract.
	update(ctx context.Context, fn func(*tx) error) error
	// read runs fn, each statement for itself. What it reads on is waited for as long as ctx lets.
	read(ctx context.Context, fn func(querier) error) error
	// snapshot is read, but all statements see the same moment.
	snapshot(ctx context.Context, fn func(querier) error) error
	// export is snapshot on a connection of its own, for reading that may take long.
	export(fn func(querier) error) error
	// watch calls kick when somebody else may have appended to the change log, until the database closes.
	watch(kick func())

	// name says which database this is, without any secret.
	name() string
	// product is what sort of database it is, for people.
	product() string
	// promise says in a sentence how safe what was committed is, and what is wrong with that.
	promise(ctx context.Context) (is, but string, err error)
	// version is that of the schema, 0 for an empty database.
	version(ctx context.Context) (int64, error)
	// migrate brings the schema, whose version is from, to the one wanted.
	migrate(ctx context.Context, from int64) error
	// check lets the database examine itself.
	check(ctx context.Context) error
	// broken is why nothing can be written any more, nil while all is well.
	broken() error
	// clockOffset is how far the database's clock is ahead of this machine's.
	clockOffset() time.Duration
	// waiting is how many updates wait for their turn.
	waiting() int64
	// close lets finish what runs. Afterwards everything fails. It is called once, after closing was closed and watch is over.
	close() error
}

// update runs fn as a transaction and returns what it returned, once that is committed.
//
// An error of fn rolls back what fn did and nothing else. fn may run twice, so it returns its results and writes to nothing
// outside. It runs on a goroutine of the engine's choice, maybe after update has returned: when ctx ends before fn's turn fn is
// skipped, after that the caller only stops waiting. An outcome that must be remembered, as the reuse of a refresh token, is a
// result and no error.
//
// Errors that lie with the database's surroundings are [auth.ErrOverloaded], and then nothing is promised: not that fn's
// work is there, not that it is not. A panic of fn is an error.
func update[T any](ctx context.Context, db *DB, fn func(*tx) (T, error)) (T, error) {
	var result T
	err := db.engine.update(ctx, func(t *tx) (err error) {
		result, err = fn(t)
		return err
	})
	if err != nil {
		var none T // not result: if the caller went away the engine may be writing it
		return none, err
	}
	return result, nil
}

func (db *DB) read(ctx context.Context, fn func(querier) error) error { return db.engine.read(ctx, fn) }

func (db *DB) snapshot(ctx context.Context, fn func(querier) error) error {
	return db.engine.snapshot(ctx, fn)
}

// A tx is a transaction, or one member of it. After an error of the database it runs nothing more, and what it did is rolled
// back, even if its function hides the error: the transaction may be gone, and a statement would commit by itself.
type tx struct {
	on       transaction
	failed   error
	appended bool // to the change log
}

func (t *tx) note(err error) error {
	if err != nil && err != errNoRow {
		t.failed = err
	}
	return err
}

func (t *tx) exec(query string, args ...any) (int64, error) {
	if t.failed != nil {
		return 0, t.failed
	}
	n, err := t.on.exec(query, args...)
	return n, t.note(err)
}

func (t *tx) one(query string, args in, row out) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.on.one(query, args, row))
}

func (t *tx) all(query string, args in, each func(scan func(...any) error) error) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.on.all(query, args, each))
}

func (t *tx) later(query string, args ...any) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.on.later(query, args...))
}

func (t *tx) hold(query string, args ...any) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.on.hold(query, args...))
}

func (t *tx) whole(w whole, args in, id string, to out) (bool, error) {
	if t.failed != nil {
		return false, t.failed
	}
	changed, err := t.on.whole(w, args, id, to)
	return changed, t.note(err)
}

func (t *tx) clock() error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.on.clock())
}
