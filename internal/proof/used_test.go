package proof

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestWhatWasUsedCountsNoMore(t *testing.T) {
	now := start.Add(3 * time.Second)
	u := NewUsed(3, func() time.Time { return now })
	first := func(name string, life time.Duration) bool {
		t.Helper()
		ok, err := u.First(t.Context(), name, now.Add(life))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !first("a", time.Minute) || !first("b", 2*time.Minute) {
		t.Fatal("the first time is no first time")
	}
	for range 60 {
		if first("a", time.Hour) {
			t.Fatalf("%v later it counts again", now.Sub(start))
		}
		now = now.Add(time.Second)
	}
	if first("b", time.Minute) {
		t.Error("b is forgotten before its time")
	}
	if !first("c", time.Minute) {
		t.Error("c is taken for another")
	}
	if _, err := u.First(t.Context(), "d", now.Add(time.Minute)); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("without room: %v", err)
	}
	now = now.Add(20 * time.Second) // a is over
	if !first("d", 0) {
		t.Error("there is room again, and d is not let in")
	}
	if first("d", time.Minute) {
		t.Error("what ends at once counts twice at once")
	}
	now = now.Add(time.Hour)
	if !first("a", time.Minute) || len(u.names) != 1 || len(u.due) != 1 {
		t.Errorf("an hour later %d names are left", len(u.names))
	}
	now = now.Add(-time.Hour) // clocks are set back
	if first("a", time.Minute) {
		t.Error("with the clock set back it counts again")
	}
}

func TestOfManyAtOnceOneIsFirst(t *testing.T) {
	u := NewUsed(1000, nil)
	for round := range 100 {
		var firsts atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if ok, err := u.First(t.Context(), strconv.Itoa(round), time.Now().Add(time.Minute)); err == nil && ok {
					firsts.Add(1)
				}
			})
		}
		all.Wait()
		if firsts.Load() != 1 {
			t.Fatalf("round %d: %d were first", round, firsts.Load())
		}
	}
}
