package changes

import (
	"context"
	"errors"
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
	replicas    map[string]auth.Position
	wakes       chan struct{}

	loads   int
	applied []auth.Position
	refuse  error // what Apply answers
}

func newLog() *fakeLog {
	return &fakeLog{incarnation: "first", replicas: map[string]auth.Position{}, wakes: make(chan struct{}, 1)}
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

func (l *fakeLog) Register(_ context.Context, r auth.Replica) error {
	return l.Heard(context.Background(), r.ID, r.Applied)
}

func (l *fakeLog) Heard(_ context.Context, id string, at auth.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replicas[id] = at
	return l.broken
}

func (l *fakeLog) Unregister(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.replicas, id)
	return nil
}

func (l *fakeLog) Replicas(context.Context) ([]auth.Replica, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []auth.Replica
	for id, at := range l.replicas {
		all = append(all, auth.Replica{ID: id, Applied: at})
	}
	return all, nil
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

func (l *fakeLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// follow starts a follower inside a synctest bubble.
func follow(t *testing.T, l *fakeLog) (*Follower, context.CancelFunc) {
	t.Helper()
	f, err := New(Config{Log: l, Root: l, Replica: auth.Replica{ID: "me"}, MaxStaleness: 5 * time.Second})
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
		if want := []auth.Position{4, 5}; !slices.Equal(l.applied, want) || l.replicas["me"] != 5 {
			t.Errorf("applied %v and told %d, want %v and 5", l.applied, l.replicas["me"], want)
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
		if f.Applied() != 0 || l.replicas["me"] != 0 {
			t.Errorf("applied %d, told %d", f.Applied(), l.replicas["me"])
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

func TestACommandWaitsForEveryServerAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		if all, err := Acknowledge(t.Context(), l, 7, time.Second); !all || err != nil {
			t.Errorf("nobody to wait for: %v, %v", all, err)
		}
		_ = l.Heard(t.Context(), "one", 9)
		_ = l.Heard(t.Context(), "two", 6)
		began := time.Now()
		if all, _ := Acknowledge(t.Context(), l, 7, 2*time.Second); all || time.Since(began) != 2*time.Second {
			t.Errorf("one is behind: %v after %v", all, time.Since(began))
		}
		go func() {
			time.Sleep(time.Second)
			_ = l.Heard(context.Background(), "two", 7)
		}()
		if all, _ := Acknowledge(t.Context(), l, 7, 2*time.Second); !all {
			t.Error("it came in time and was not seen")
		}
		_ = l.Heard(t.Context(), "two", 8)
	})
}

func TestTheAgeShowsASleepOfTheMachine(t *testing.T) {
	l := newLog()
	now := time.Now()
	f, err := New(Config{Log: l, Root: l, MaxStaleness: time.Minute, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(30 * time.Second)
	if err := f.Fresh(); err != nil {
		t.Errorf("after 30 s: %v", err)
	}
	now = now.Round(0).Add(2 * time.Minute) // the wall clock went on, the monotonic one did not
	if err := f.Fresh(); err == nil {
		t.Error("two minutes of sleep were not noticed")
	}
}
