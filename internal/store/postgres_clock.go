package store

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A serverClock tells a server's time without asking: by a clock of this machine that nobody sets and that runs on during
// suspension, and how far the server's is from it. It never runs backwards: rather it stands.
type serverClock struct {
	mu     sync.Mutex
	zero   time.Time     // of the server, when ours began; the zero time before the first measurement
	last   time.Time     // what was told last
	offset time.Duration // of the server's clock from the one on this machine's wall
}

// running is how long this machine has been running.
func running() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(steady, &t)
	return time.Duration(t.Nano()), err
}

// Now is the server's time.
func (c *serverClock) Now() time.Time {
	ran, err := running()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.zero.Add(ran); err == nil && now.After(c.last) {
		c.last = now.UTC()
	}
	return c.last
}

// measured says that the server's clock was read, as server, at some moment between two of ours. The answer on its way may have
// taken any part of that. So what was known stays, if it can be true, and else is moved no further than to where it can.
func (c *serverClock) measured(from, until time.Duration, server, wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	earliest, latest := server.Add(-until), server.Add(-from)
	switch {
	case c.zero.IsZero():
		c.zero = earliest.Add((until - from) / 2)
	case c.zero.Before(earliest):
		c.zero = earliest
	case c.zero.After(latest):
		c.zero = latest
	}
	c.offset = c.zero.Add(until).Sub(wall).Round(time.Microsecond)
}

func (c *serverClock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// clockNow is the server's clock, not the time at which the transaction began.
const clockNow = `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`

// clock reads the server's clock.
func (s *session) clock() error {
	from, err := running()
	if err != nil {
		return err
	}
	var micro int64
	if err := s.one(clockNow, nil, out{&micro}); err != nil {
		return err
	}
	until, err := running()
	if err != nil {
		return err
	}
	s.server.measured(from, until, time.UnixMicro(micro), time.Now())
	return nil
}
