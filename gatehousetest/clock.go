package gatehousetest

import (
	"sync/atomic"
	"time"
)

// A Clock shows the machine's time plus what the test moved it by. Its zero value shows the machine's time.
type Clock struct{ offset atomic.Int64 }

// Now is the time it shows.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Advance moves the clock, forward or, with a negative d, back. A server never lets its time run backwards: after a step
// back it goes on from where it was, at the usual pace, until the clock has caught up.
func (c *Clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }
