package upstream

import (
	"sync/atomic"
	"time"
)

// Breaking says when a server gets no calls for a while.
type Breaking struct {
	Failures int           // in a row: no connection, no answer in time, a connection that breaks; 0: it gets calls come what may
	OpenFor  time.Duration // until one call is let through, to see whether it is back
}

// A breaker is open while its server gets no calls. Closed, it costs two loads and no lock.
//
// What one call may find out is told to it by that call's end: answered, failed, or neither, because the client was at fault
// or left. An answer closes it, even if the call began before it was opened: a server that answers is there.
type breaker struct {
	Breaking
	now    func() time.Time
	streak atomic.Int32 // failures in a row
	until  atomic.Int64 // when a call may try, Unix nanoseconds; 0: it is closed
}

// rest is how long no call is let in; 0 or less: one is.
func (b *breaker) rest() time.Duration {
	until := b.until.Load()
	if until == 0 {
		return 0
	}
	return time.Duration(until - b.now().UnixNano())
}

// enter lets a call in, or does not. A trial that is not 0 says that the call is the one that tries, and that no other is
// let in for as long again, whatever becomes of it.
func (b *breaker) enter() (trial int64, in bool) {
	until := b.until.Load()
	if until == 0 {
		return 0, true
	}
	now := b.now().UnixNano()
	if now < until {
		return 0, false
	}
	trial = now + int64(b.OpenFor)
	return trial, b.until.CompareAndSwap(until, trial)
}

// answered closes the breaker, and says whether it was open.
func (b *breaker) answered() bool {
	if b.streak.Load() != 0 {
		b.streak.Store(0)
	}
	return b.until.Load() != 0 && b.until.Swap(0) != 0
}

// failed counts a failure, and says whether it opened the breaker.
func (b *breaker) failed(trial int64) bool {
	if b.Failures == 0 {
		return false
	}
	until := b.now().UnixNano() + int64(b.OpenFor)
	if trial != 0 {
		b.until.CompareAndSwap(trial, until)
		return false
	}
	return int(b.streak.Add(1)) >= b.Failures && b.until.CompareAndSwap(0, until)
}

// undecided lets the next call try in the place of one that found out nothing.
func (b *breaker) undecided(trial int64) {
	if trial != 0 {
		b.until.CompareAndSwap(trial, b.now().UnixNano())
	}
}
