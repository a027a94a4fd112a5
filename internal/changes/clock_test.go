package changes

import (
	"sync"
	"testing"
	"time"
)

func TestTheBootClockRuns(t *testing.T) {
	var c bootClock
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			began, first := time.Now(), c.now()
			for range 200 {
				time.Sleep(100 * time.Microsecond)
				ran := c.now() - first
				if passed := time.Since(began); ran > passed+2*bootEvery || ran < passed-time.Second {
					t.Errorf("%v have passed, and by the boot clock %v", passed, ran)
				}
			}
		})
	}
	all.Wait()
	if apart := c.now() - sinceBoot(); apart > time.Second || apart < -time.Second {
		t.Errorf("it is %v from the kernel's", apart)
	}

	// The machine slept for an hour: the kernel's clock is an hour ahead of what the monotonic one would say.
	r := *c.read.Load()
	r.at, r.boot = time.Now().Add(-bootEvery), r.boot-time.Hour
	c.read.Store(&r)
	if apart := c.now() - sinceBoot(); apart < -time.Second {
		t.Errorf("an hour of sleep did not show: %v", apart)
	}
}

func BenchmarkBootClock(b *testing.B) {
	var c bootClock
	for b.Loop() {
		c.now()
	}
}
