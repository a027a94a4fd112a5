package changes

import (
	"sync/atomic"
	"time"
)

// bootEvery is how often the boot clock is read at most: it costs a system call, and every decision looks at the time.
const bootEvery = 5 * time.Millisecond

// A bootClock tells the time since boot, the sleep of the machine included. Between two readings it goes on by the monotonic
// clock, so that a sleep shows bootEvery after it at the latest; that the process stood still shows at once.
type bootClock struct{ read atomic.Pointer[bootReading] }

type bootReading struct {
	at   time.Time
	boot time.Duration
}

func (c *bootClock) now() time.Duration {
	now := time.Now()
	if r := c.read.Load(); r != nil {
		if passed := now.Sub(r.at); passed >= 0 && passed < bootEvery {
			return r.boot + passed
		}
	}
	r := &bootReading{at: now, boot: sinceBoot()}
	if time.Since(now) < bootEvery { // else the two are not of the same moment
		c.read.Store(r)
	}
	return r.boot
}
