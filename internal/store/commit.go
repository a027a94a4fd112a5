package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	// mostMembers is how many updates share one commit at most.
	mostMembers = 256
	// mostWaiting is how many updates wait for a commit at most: about a second's worth. One more is refused at once.
	mostWaiting = 4096
	// busyFor is how long a commit waits for another process that writes, and busyLook how often it looks meanwhile.
	busyFor  = 5 * time.Second
	busyLook = 250 * time.Microsecond
	// checkpointPages is how long the write-ahead log grows before it is copied into the database: 16 MiB.
	checkpointPages = 4096
)

// A writer owns the one connection that writes.
//
// Updates that wait at the same time share one commit, each in a savepoint of its own, so that an error of one of them rolls
// back what it did and nothing else.
type writer struct {
	from driver.Connector
	conn *conn
	kick func() // called after a commit that appended to the change log

	mu     sync.RWMutex // held for reading while something is put into queue
	closed bool
	queue  chan *member
	done   chan struct{}

	broken atomic.Pointer[error] // set once the disk failed to sync: nothing is acknowledged any more
}

// A member is one update in the queue.
type member struct {
	ctx   context.Context
	fn    func(*tx) error
	taken atomic.Bool // by the writer, or by its caller who gives up
	done  chan error
}

func newWriter(from driver.Connector, kick func()) (*writer, error) {
	c, err := newWritingConn(from)
	if err != nil {
		return nil, err
	}
	w := &writer{
		from: from, conn: c, kick: kick,
		queue: make(chan *member, mostWaiting), done: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// newWritingConn opens a connection that does not wait for other processes by itself: [writer.beginSoon] does.
func newWritingConn(from driver.Connector) (*conn, error) {
	c, err := newConn(from)
	if err != nil {
		return nil, err
	}
	var timeout int64
	if err := c.one("PRAGMA busy_timeout = 0", nil, out{&timeout}); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// close commits what waits, and ends.
func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	if !already {
		w.closed = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.done
	if already || w.broken.Load() != nil { // closing would copy the log, and sync once more
		return nil
	}
	return w.conn.close()
}

func (w *writer) do(ctx context.Context, fn func(*tx) error) error {
	if ctx.Err() != nil {
		return auth.ErrOverloaded.From(context.Cause(ctx))
	}
	m := &member{ctx: ctx, fn: fn, done: make(chan error, 1)}
	if err := w.enqueue(m); err != nil {
		return err
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
	}
	m.taken.CompareAndSwap(false, true)
	select {
	case err := <-m.done: // both came at once, and this one knows more
		return err
	default:
		return auth.ErrOverloaded.From(context.Cause(ctx))
	}
}

func (w *writer) enqueue(m *member) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- m:
		return nil
	default:
		return auth.ErrOverloaded.From(errors.New("too many writes are waiting"))
	}
}

func (w *writer) run() {
	defer close(w.done)
	batch := make([]*member, 0, mostMembers)
	for m := range w.queue {
		// Those who were just answered come back at once, if they are let: otherwise the first of them gets a commit, and a
		// wait for the disk, of its own. Measured, this takes a quarter off what a write costs. It waits for nobody.
		runtime.Gosched()
		batch = w.gather(batch[:0], m)
		if len(batch) == 0 {
			continue
		}
		w.commit(batch)
		clear(batch)
		w.checkpoint()
	}
}

// gather adds first and whoever waits already to batch, without those whose callers are gone.
func (w *writer) gather(batch []*member, first *member) []*member {
	for m, ok := first, true; ok; {
		// A caller that is gone by now may not have got round to saying so.
		if m.ctx.Err() == nil && m.taken.CompareAndSwap(false, true) {
			batch = append(batch, m)
		}
		if len(batch) == mostMembers {
			break
		}
		select {
		case m, ok = <-w.queue:
		default:
			ok = false
		}
	}
	return batch
}

// commit runs the members of batch in one transaction and answers each, after COMMIT returned nil: refusals too, for they
// may rest on what another member did.
func (w *writer) commit(batch []*member) {
	if err := w.broken.Load(); err != nil {
		answer(batch, auth.ErrOverloaded.From(*err))
		return
	}
	if err := w.begin(); err != nil {
		answer(batch, unavailable(fmt.Errorf("begin: %w", err)))
		return
	}
	results := make([]error, len(batch))
	appended := false
	for i, m := range batch {
		t, err := w.member(m, len(batch) > 1)
		w.stopIfUnsynced(t.failed)
		switch {
		case err == nil:
			appended = appended || t.appended
		case len(batch) == 1:
			w.rollback()
			answer(batch, unavailable(err))
			return
		case t.failed == nil:
			results[i] = err
		case hopeless(t.failed):
			w.rollback()
			answer(batch, auth.ErrOverloaded.From(err))
			return
		default:
			// The transaction went away with this member. The others did nothing wrong: again, one by one.
			w.rollback()
			m.done <- unavailable(err)
			for j := range batch {
				if j != i {
					w.commit(batch[j : j+1])
				}
			}
			return
		}
	}
	if _, err := w.conn.exec("COMMIT"); err != nil {
		w.stopIfUnsynced(err)
		w.rollback()
		answer(batch, auth.ErrOverloaded.From(fmt.Errorf("commit: %w", err)))
		return
	}
	if appended {
		w.kick()
	}
	for i, m := range batch {
		m.done <- results[i]
	}
}

// member runs one member, in a savepoint if it is not alone. On an error with t.failed nil its work has been rolled back
// and the transaction stands; with t.failed set the transaction must be given up.
func (w *writer) member(m *member, saved bool) (*tx, error) {
	t := &tx{on: w.conn}
	if saved {
		if _, err := t.exec("SAVEPOINT member"); err != nil {
			return t, fmt.Errorf("savepoint: %w", err)
		}
	}
	err := protect(m.fn, t)
	if err == nil {
		err = t.failed
	}
	if !saved {
		return t, err
	}
	if err == nil {
		if _, err = t.exec("RELEASE member"); err != nil {
			err = fmt.Errorf("release: %w", err)
		}
		return t, err
	}
	if hopeless(t.failed) {
		return t, err
	}
	// If the database had rolled back the whole transaction by itself there is no savepoint to go back to.
	t.failed = nil
	if _, gone := t.exec("ROLLBACK TO member"); gone == nil {
		t.exec("RELEASE member")
	}
	return t, err
}

func protect(fn func(*tx) error, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in an update: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

func (w *writer) begin() error {
	err := w.beginSoon()
	if code(err) != codeError {
		return err
	}
	// A transaction is still open, because its ROLLBACK failed. Closing the connection ends it.
	c, err := newWritingConn(w.from)
	if err != nil {
		return err
	}
	w.conn.close()
	w.conn = c
	return w.beginSoon()
}

// beginSoon waits for another process that writes. It asks more often than SQLite would by itself (busy_timeout, up to
// 100 ms between two looks): a server under load leaves only short gaps, and a command must find one.
func (w *writer) beginSoon() error {
	var waited time.Duration
	for {
		_, err := w.conn.exec("BEGIN IMMEDIATE")
		if code(err)&0xff != codeBusy || waited >= busyFor {
			return err
		}
		time.Sleep(busyLook)
		waited += busyLook
	}
}

// rollback ends the transaction. An error means mostly that the database has done so already; [writer.begin] sees to the
// rest.
func (w *writer) rollback() { w.conn.exec("ROLLBACK") }

func (w *writer) stopIfUnsynced(err error) {
	if unsynced(err) {
		w.broken.CompareAndSwap(nil, &err)
	}
}

// checkpoint copies the write-ahead log into the database when it has grown long. It is not left to SQLite, which would do
// it inside COMMIT, while everybody waits, and would hide its errors.
func (w *writer) checkpoint() {
	if w.broken.Load() != nil {
		return
	}
	var busy, pages, copied int64
	if err := w.conn.one("PRAGMA wal_checkpoint(NOOP)", nil, out{&busy, &pages, &copied}); err != nil || pages-copied < checkpointPages {
		return
	}
	if err := w.conn.one("PRAGMA wal_checkpoint(PASSIVE)", nil, out{&busy, &pages, &copied}); err != nil {
		w.stopIfUnsynced(err)
	}
}

func answer(batch []*member, err error) {
	for _, m := range batch {
		m.done <- err
	}
}
