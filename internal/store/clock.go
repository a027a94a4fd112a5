package store

import (
	"sync"
	"time"
)

// A Clock is the store's time: the wall clock, except that it never runs backwards. When the wall clock is set back, a
// Clock goes on from where it was, at the rate of the monotonic clock, until the wall clock has come up again; when it is
// set forward, a Clock follows at once. It is safe for concurrent use.
type Clock struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time // what was told last
	read time.Time // what now returned then, with its monotonic reading, if it has one
}

// NewClock returns a Clock over now; nil means [time.Now]. Where now tells no monotonic time, the rate is that of now
// itself, and while it runs backwards the Clock stands.
func NewClock(now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now}
}

// Now returns the time, in UTC and without a monotonic reading.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := c.now() // under the lock: two readings must not overtake one another
	passed := read.Sub(c.read)
	wall := read.Round(0).UTC()
	switch {
	case !wall.Before(c.last):
		c.last = wall
	case passed > 0:
		c.last = c.last.Add(passed)
	}
	c.read = read
	return c.last
}
