package listen

import (
	"sync"
	"time"
)

// lookoutAfter is how long a handler runs, at least, before anybody looks whether its client leaves; at most it is twice as long.
const lookoutAfter = 50 * time.Millisecond

// A lookout waits before it looks whether a client leaves. net/http reads one byte for that as soon as a handler runs, and ends
// the read by a deadline when the handler is done: a system call that finds nothing, and two deadlines of the socket. Nearly all
// handlers are done before anybody can have left, so that the read waits here until one is not.
//
// It is guarded by its connection's mutex.
type lookout struct {
	waiting bool
	waits   int        // how many there have been
	over    *sync.Cond // nil before the first

	// One timer serves many waits, for one a wait would cost as much as the system call: it ends only a wait that it was set in.
	timer *time.Timer
	set   bool
	setIn int // the wait, by its number
}

// awaitLookout returns true when it is time to look, and false when the handler is done before that.
func (c *conn) awaitLookout() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.woken() {
		return false
	}
	l := &c.lookout
	if l.over == nil {
		l.over = sync.NewCond(&c.mu)
	}
	l.waiting = true
	l.waits++
	if !l.set {
		c.setLookout()
	}
	for l.waiting {
		l.over.Wait()
	}
	return !c.woken()
}

func (c *conn) setLookout() {
	l := &c.lookout
	l.set, l.setIn = true, l.waits
	if l.timer == nil {
		l.timer = time.AfterFunc(lookoutAfter, c.lookOut)
	} else {
		l.timer.Reset(lookoutAfter)
	}
}

// lookOut is what the timer calls.
func (c *conn) lookOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.lookout
	l.set = false
	switch {
	case !l.waiting:
	case l.waits == l.setIn:
		l.end()
	default:
		c.setLookout()
	}
}

// end ends the wait, if there is one.
func (l *lookout) end() {
	if l.waiting {
		l.waiting = false
		l.over.Signal()
	}
}
