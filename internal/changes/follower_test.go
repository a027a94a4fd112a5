package changes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A fakeLog is a change log in memory. Its Root remembers what it was told.
type fakeLog struct {
	mu          sync.Mutex
	incarnation string
	entries     []auth.Change // from 1
	pruned      int           // how many of them are gone
	broken      error
	full        error // what writing alone answers
	replicas    map[string]auth.Replica
	wakes       chan struct{}

	loads, registered, looks int

	applied []auth.Position
	refuse  error // what Apply answers
}

func newLog() *fakeLog {
	return &fakeLog{incarnation: "first", replicas: map[string]auth.Replica{}, wakes: make(chan struct{}, 1)}
}

func (l *fakeLog) add(n int) {
	l.mu.Lock()
	for range n {
		l.entries = append(l.entries, auth.Change{Number: auth.Position(len(l.entries) + 1), Of: auth.ChangedAccount})
	}
	l.mu.Unlock()
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

func (l *fakeLog) Changes(_ context.Context, after auth.Position) (string, auth.Position, []auth.Change, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := max(min(int(after), len(l.entries)), l.pruned)
	return l.incarnation, auth.Position(len(l.entries)), slices.Clone(l.entries[from:]), l.broken
}

func (l *fakeLog) Wakes() <-chan struct{} { return l.wakes }

func (l *fakeLog) Follow(ctx context.Context, id, _ string, at auth.Position) (string, auth.Position, []auth.Change, error) {
	if err := l.hear(id, at); err != nil {
		return "", 0, nil, err
	}
	return l.Changes(ctx, at)
}

// hear writes a row that is there.
func (l *fakeLog) hear(id string, at auth.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil || l.full != nil {
		return errors.Join(l.broken, l.full)
	}
	row, ok := l.replicas[id]
	if !ok {
		return auth.ErrNotFound
	}
	row.Applied, row.HeardAt = at, time.Now()
	l.replicas[id] = row
	return nil
}

func (l *fakeLog) Register(_ context.Context, r auth.Replica) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.HeardAt = time.Now()
	l.replicas[r.ID] = r
	l.registered++
	return l.broken
}

func (l *fakeLog) Unregister(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.replicas, id)
	return nil
}

func (l *fakeLog) Replicas(context.Context) ([]auth.Replica, time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return slices.Collect(maps.Values(l.replicas)), time.Now(), l.broken
}

func (l *fakeLog) Load(context.Context) (string, auth.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads++
	return l.incarnation, auth.Position(len(l.entries)), l.broken
}

func (l *fakeLog) Apply(_ context.Context, entries []auth.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return l.refuse
	}
	for _, e := range entries {
		l.applied = append(l.applied, e.Number)
	}
	return nil
}

// me is the row of the replica that tests follow with.
func (l *fakeLog) me() auth.Replica {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.replicas["me"]
}

func (l *fakeLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// bubble is a clock of the bubble's time.
func bubble() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

// follow starts a follower inside a synctest bubble.
func follow(t *testing.T, l *fakeLog) (*Follower, context.CancelFunc) {
	t.Helper()
	f, err := New(Config{Log: l, Root: l, Replica: auth.Replica{ID: "me"}, MaxStaleness: 5 * time.Second, Clock: bubble()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fresh(); err == nil {
		t.Error("fresh before anything was loaded")
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f, func() { stop(); done.Wait() }
}

func TestWhatIsCommittedIsAppliedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.add(3)
		f, stop := follow(t, l)
		defer stop()
		if f.Applied() != 3 {
			t.Errorf("loaded at %d, want 3", f.Applied())
		}
		l.add(2)
		if err := f.Wait(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []auth.Position{4, 5}; !slices.Equal(l.applied, want) || l.me().Applied != 5 {
			t.Errorf("applied %v and told %d, want %v and 5", l.applied, l.me().Applied, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := f.Wait(ctx, 6); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited for what never came: %v", err)
		}
	})
}

func TestALogThatIsNotTheSameIsLoadedAnew(t *testing.T) {
	for name, bend := range map[string]func(l *fakeLog){
		"another incarnation": func(l *fakeLog) { l.incarnation = "second" },
		"a head behind us":    func(l *fakeLog) { l.entries = l.entries[:2] },
		"entries pruned before us": func(l *fakeLog) {
			for range 5 {
				l.entries = append(l.entries, auth.Change{Number: auth.Position(len(l.entries) + 1)})
			}
			l.pruned = len(l.entries) - 1
		},
		"a gap": func(l *fakeLog) {
			l.entries = append(l.entries, auth.Change{Number: auth.Position(len(l.entries) + 2)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				l.add(3)
				f, stop := follow(t, l)
				defer stop()
				l.set(func() { bend(l) })
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if l.loads < 2 || len(l.applied) > 0 {
					t.Errorf("loaded %d times and applied %v, want everything loaded anew", l.loads, l.applied)
				}
				if f.Applied() != auth.Position(len(l.entries)) {
					t.Errorf("at %d, want %d", f.Applied(), len(l.entries))
				}
			})
		})
	}
}

func TestWhoCannotHearStopsDeciding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, stop := follow(t, l)
		defer stop()
		time.Sleep(time.Minute)
		if err := f.Fresh(); err != nil {
			t.Errorf("an idle log is no silent one: %v", err)
		}
		l.set(func() { l.broken = errors.New("no database") })
		time.Sleep(4 * time.Second)
		if err := f.Fresh(); err != nil {
			t.Errorf("after 4 s of at most 5: %v", err)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		if err := f.Fresh(); !errors.Is(err, auth.ErrOverloaded) {
			t.Errorf("after 6 s of at most 5: %v", err)
		}
		l.set(func() { l.broken = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if err := f.Fresh(); err != nil {
			t.Errorf("heard again: %v", err)
		}
	})
}

func TestWhatCouldNotBeAppliedIsNotCalledApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, stop := follow(t, l)
		defer stop()
		l.set(func() { l.refuse = errors.New("no read") })
		l.add(1)
		time.Sleep(3 * time.Second)
		if f.Applied() != 0 || l.me().Applied != 0 {
			t.Errorf("applied %d, told %d", f.Applied(), l.me().Applied)
		}
		time.Sleep(3 * time.Second)
		if err := f.Fresh(); err == nil {
			t.Error("reading without applying counts as knowing")
		}
		l.set(func() { l.refuse = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if f.Applied() != 1 || f.Fresh() != nil {
			t.Errorf("applied %d, %v", f.Applied(), f.Fresh())
		}
	})
}

// acknowledge is what a command does.
func acknowledge(t *testing.T, l *fakeLog, to auth.Position, wait time.Duration, change ...func(*AcknowledgeConfig)) []string {
	t.Helper()
	c := AcknowledgeConfig{Replicas: l, MaxStaleness: 5 * time.Second, Clock: bubble()}
	for _, change := range change {
		change(&c)
	}
	a, err := NewAcknowledger(c)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := a.Acknowledge(t.Context(), to, wait, nil)
	if err != nil {
		t.Error(err)
	}
	slices.Sort(missing)
	return missing
}

func TestACommandWaitsForEveryServerAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		if missing := acknowledge(t, l, 7, time.Second); missing != nil || l.looks != 1 {
			t.Errorf("nobody to wait for: %v after %d looks", missing, l.looks)
		}
		_ = l.Register(t.Context(), auth.Replica{ID: "one", Applied: 9})
		_ = l.Register(t.Context(), auth.Replica{ID: "two", Applied: 6})
		began := time.Now()
		if missing := acknowledge(t, l, 7, 2*time.Second); !slices.Equal(missing, []string{"two"}) || time.Since(began) != 2*time.Second {
			t.Errorf("one is behind: %v after %v", missing, time.Since(began))
		}
		go func() {
			time.Sleep(time.Second)
			_ = l.hear("two", 7)
		}()
		if missing := acknowledge(t, l, 7, 2*time.Second); missing != nil {
			t.Errorf("it came in time and was not seen: %v", missing)
		}
	})
}

func TestWhoCannotDecideIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		_ = l.Register(t.Context(), auth.Replica{ID: "patient", MaxStaleness: time.Minute})
		_ = l.Register(t.Context(), auth.Replica{ID: "usual"})
		time.Sleep(5 * time.Second)
		if missing := acknowledge(t, l, 7, 100*time.Millisecond); !slices.Equal(missing, []string{"patient", "usual"}) {
			t.Errorf("not heard of for 5 s, and they may decide for 5 and 60: waited for %v", missing)
		}
		time.Sleep(time.Second)
		if missing := acknowledge(t, l, 7, 100*time.Millisecond); !slices.Equal(missing, []string{"patient"}) {
			t.Errorf("not heard of for 6 s: waited for %v", missing)
		}
		alone := func(c *AcknowledgeConfig) { c.Alone = true }
		if missing := acknowledge(t, l, 7, 100*time.Millisecond, alone); len(missing) != 2 {
			t.Errorf("a server that is known to run is waited for whenever it was heard of; waited for %v", missing)
		}

		// Both are heard of again and again, and do not come on: what they know of before is too old in the end.
		l.set(func() { delete(l.replicas, "patient") })
		_ = l.hear("usual", 0)
		go func() {
			for range 70 {
				time.Sleep(100 * time.Millisecond)
				_ = l.hear("usual", 0)
			}
		}()
		began := time.Now()
		if missing := acknowledge(t, l, 7, time.Minute); missing != nil || time.Since(began).Round(100*time.Millisecond) != 6*time.Second {
			t.Errorf("missing %v after %v, want nobody after 6 s", missing, time.Since(began))
		}
		time.Sleep(2 * time.Second) // they come to an end
	})
}

func TestWhoWaitsTogetherLooksTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		_ = l.Register(t.Context(), auth.Replica{ID: "slow"})
		a, err := NewAcknowledger(AcknowledgeConfig{Replicas: l, MaxStaleness: time.Minute, Clock: bubble()})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if missing, err := a.Acknowledge(t.Context(), 7, 2*time.Second, nil); missing != nil || err != nil {
					t.Errorf("missing %v, %v", missing, err)
				}
			})
		}
		time.Sleep(time.Second)
		_ = l.hear("slow", 7)
		all.Wait()
		// One every 10 ms, and one at once for each who came while nobody else was about to look.
		if l.looks > 1000+110 {
			t.Errorf("a thousand who waited for a second looked %d times", l.looks)
		}
		l.set(func() { l.broken = errors.New("no database") })
		if missing, err := a.Acknowledge(t.Context(), 8, time.Second, nil); err == nil {
			t.Errorf("nobody knows who is missing, and the answer is %v", missing)
		}
	})
}

func TestAServerWaitsForItselfWithoutItsRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, stop := follow(t, l)
		defer stop()
		a, err := NewAcknowledger(AcknowledgeConfig{Replicas: l, MaxStaleness: 5 * time.Second, Clock: bubble()})
		if err != nil {
			t.Fatal(err)
		}
		l.set(func() { l.full = errors.New("no room") })
		l.add(1)
		began := time.Now()
		if missing, err := a.Acknowledge(t.Context(), 1, 2*time.Second, f); missing != nil || err != nil || time.Since(began) > 0 {
			t.Errorf("it has applied it, and misses %v, %v after %v", missing, err, time.Since(began))
		}
		if missing, _ := a.Acknowledge(t.Context(), 2, 2*time.Second, f); !slices.Equal(missing, []string{"me"}) {
			t.Errorf("it has not applied it, and misses %v", missing)
		}
	})
}

// A row that others have removed is entered again, and what was answered while it was away is known before anything is
// decided.
func TestAReplicaThatWasForgottenComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, stop := follow(t, l)
		defer stop()
		l.set(func() { l.broken = errors.New("no database") })
		time.Sleep(time.Hour)
		l.set(func() {
			delete(l.replicas, "me")
			l.broken = nil
		})
		l.add(3)
		time.Sleep(time.Second)
		synctest.Wait()
		if f.Fresh() != nil || f.Applied() != 3 || l.registered != 2 || l.me().Applied != 3 || l.me().MaxStaleness != 5*time.Second {
			t.Errorf("at %d, %v, registered %d times, last as %+v", f.Applied(), f.Fresh(), l.registered, l.me())
		}
	})
}

// With one server and its own file a disk that is full stops writing and nothing else.
func TestAloneReadingIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, err := New(Config{Log: l, Root: l, Replica: auth.Replica{ID: "me"}, MaxStaleness: 5 * time.Second, Alone: true, Clock: bubble()})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		heard := l.me().HeardAt
		done := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() { done <- f.Run(ctx) }()
		time.Sleep(time.Minute)
		if f.Fresh() != nil || l.me().HeardAt != heard {
			t.Errorf("an idle server wrote: %v, %v", f.Fresh(), l.me().HeardAt.Sub(heard))
		}
		l.set(func() { l.full = errors.New("no room") })
		l.add(1)
		time.Sleep(time.Minute)
		if f.Fresh() != nil || f.Applied() != 1 || l.me().Applied != 0 {
			t.Errorf("without room it is at %d, %v, and its row at %d", f.Applied(), f.Fresh(), l.me().Applied)
		}
		l.set(func() { l.full = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if l.me().Applied != 1 {
			t.Error("with room again the row says nothing new")
		}
		stop()
		if err := <-done; err != nil || len(l.replicas) > 0 || f.Fresh() == nil {
			t.Errorf("after the end: %v, rows %v, and it decides: %v", err, l.replicas, f.Fresh() == nil)
		}
	})
}

func TestTheAgeRunsByItsOwnClock(t *testing.T) {
	l := newLog()
	var now time.Duration
	f, err := New(Config{Log: l, Root: l, MaxStaleness: time.Minute, Clock: func() time.Duration { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now = time.Minute; f.Fresh() != nil {
		t.Errorf("after a minute: %v", f.Fresh())
	}
	if now++; f.Fresh() == nil {
		t.Error("a minute is over and was not noticed")
	}
}
