// Package changes follows the change log: it tells those who hold facts in memory what changed, says how far this replica
// is and how old its knowledge, and waits until every replica has applied a change. It leaves to facts and token what a
// change means to them, and to the store how one is noticed.
//
// The invariants: a position is called applied only once every holder has applied all changes up to it; the age of what is
// known counts from before the reading that gave it.
package changes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Log is the change log and the rows of those who follow it.
type Log interface {
	// Changes reads the entries after a position, in order, with the incarnation and the head of the same moment.
	Changes(ctx context.Context, after auth.Position) (incarnation string, head auth.Position, entries []auth.Change, err error)
	// Wakes is sent to when entries may have come.
	Wakes() <-chan struct{}
	Register(ctx context.Context, r auth.Replica) error
	Heard(ctx context.Context, id string, applied auth.Position) error
	Unregister(ctx context.Context, id string) error
}

// A Holder holds facts in memory.
type Holder interface {
	// Load reads all facts anew.
	Load(ctx context.Context) error
	// Apply takes changes over; when it returns nil, whatever is decided from then on is decided on the new facts.
	Apply(ctx context.Context, changes []auth.Change) error
}

// A Root is the holder whose reading says which position the facts are of.
type Root interface {
	Load(ctx context.Context) (incarnation string, at auth.Position, err error)
	Apply(ctx context.Context, changes []auth.Change) error
}

// Config says what is followed, and for whom.
type Config struct {
	Log          Log
	Root         Root
	Others       []Holder
	Replica      auth.Replica     // the row of this server; an empty ID follows without one
	MaxStaleness time.Duration    // how old knowledge may be to decide on it
	Poll         time.Duration    // how often to look without being woken; 0 stands for 1 s
	Clock        func() time.Time // for the age of knowledge alone; nil means time.Now, with its monotonic reading
	Logger       *slog.Logger
	// Propagated is told how long an entry took from its commit to its being applied; nil: nobody.
	Propagated func(time.Duration)
	Now        func() time.Time
}

// A Follower keeps one replica up to date.
type Follower struct {
	config  Config
	log     *slog.Logger
	applied atomic.Int64
	heardAt atomic.Pointer[time.Time] // on Clock, just before the last successful reading was sent; nil: nothing is loaded

	mu          sync.Mutex
	incarnation string
	moved       chan struct{} // closed and replaced whenever applied moves
}

// New returns a Follower that has applied nothing yet: [Follower.Start] loads everything.
func New(c Config) (*Follower, error) {
	if c.Log == nil || c.Root == nil || c.MaxStaleness <= 0 {
		return nil, errors.New("changes: a log, a holder and how old knowledge may be are all needed")
	}
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	f := &Follower{config: c, log: c.Logger, moved: make(chan struct{})}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f, nil
}

// Start loads everything and enters this replica's row. Before it returns nil nothing may be decided.
func (f *Follower) Start(ctx context.Context) error {
	if err := f.load(ctx); err != nil {
		return err
	}
	if r := f.config.Replica; r.ID != "" {
		r.Applied = f.Applied()
		if err := f.config.Log.Register(ctx, r); err != nil {
			return fmt.Errorf("enter this server among the replicas: %w", err)
		}
	}
	return nil
}

// Run follows the log until ctx ends, and then takes this replica's row away.
func (f *Follower) Run(ctx context.Context) error {
	poll := time.NewTicker(f.config.Poll)
	defer poll.Stop()
	var failing bool
	for {
		if err := f.step(ctx); err != nil && ctx.Err() == nil {
			if !failing {
				f.log.Error("the change log cannot be followed; what is known goes on until it is too old", "error", err, "max_staleness", f.config.MaxStaleness.String())
			}
			failing = true
		} else if failing && err == nil {
			f.log.Info("the change log is followed again", "position", f.Applied())
			failing = false
		}
		select {
		case <-ctx.Done():
			if f.config.Replica.ID == "" {
				return nil
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := f.config.Log.Unregister(last, f.config.Replica.ID); err != nil {
				return fmt.Errorf("leave the replicas: %w", err)
			}
			return nil
		case <-f.config.Log.Wakes():
		case <-poll.C:
		}
	}
}

// load reads everything anew.
func (f *Follower) load(ctx context.Context) error {
	began := f.config.Clock()
	incarnation, at, err := f.config.Root.Load(ctx)
	if err != nil {
		return err
	}
	for _, h := range f.config.Others { // read later, so of this position or a later one
		if err := h.Load(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.incarnation = incarnation
	f.mu.Unlock()
	f.heardAt.Store(&began)
	f.move(at)
	return nil
}

// step applies what has come since.
func (f *Follower) step(ctx context.Context) error {
	began := f.config.Clock()
	applied := f.Applied()
	incarnation, head, entries, err := f.config.Log.Changes(ctx, applied)
	if err != nil {
		return fmt.Errorf("read the change log: %w", err)
	}
	f.mu.Lock()
	same := f.incarnation == incarnation
	f.mu.Unlock()
	if !same || head < applied || broken(applied, head, entries) {
		f.log.Warn("the change log is another than it was: everything is loaded anew", "incarnation", incarnation, "head", head, "applied", applied)
		if err := f.load(ctx); err != nil {
			return err
		}
		return f.heard(ctx)
	}
	if len(entries) > 0 {
		if err := f.config.Root.Apply(ctx, entries); err != nil {
			return err
		}
		for _, h := range f.config.Others {
			if err := h.Apply(ctx, entries); err != nil {
				return err
			}
		}
		if f.config.Propagated != nil {
			for _, e := range entries {
				f.config.Propagated(max(0, f.config.Now().Sub(e.At)))
			}
		}
	}
	f.heardAt.Store(&began)
	if len(entries) == 0 {
		return nil
	}
	f.move(head)
	return f.heard(ctx)
}

// broken says whether the entries are not all there are between the positions.
func broken(after, head auth.Position, entries []auth.Change) bool {
	for _, e := range entries {
		if e.Number != after+1 {
			return true
		}
		after = e.Number
	}
	return after != head
}

func (f *Follower) heard(ctx context.Context) error {
	if f.config.Replica.ID == "" {
		return nil
	}
	if err := f.config.Log.Heard(ctx, f.config.Replica.ID, f.Applied()); err != nil {
		return fmt.Errorf("say how far this server is: %w", err)
	}
	return nil
}

func (f *Follower) move(to auth.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied.Store(int64(to))
	close(f.moved)
	f.moved = make(chan struct{})
}

// Applied is the position up to which every holder here knows everything.
func (f *Follower) Applied() auth.Position { return auth.Position(f.applied.Load()) }

// Age is how old the knowledge is: by the monotonic clock, or by the wall clock where that says more, for the monotonic
// one stands still while the machine sleeps.
func (f *Follower) Age() time.Duration {
	heard := f.heardAt.Load()
	if heard == nil {
		return math.MaxInt64
	}
	now := f.config.Clock()
	return max(now.Sub(*heard), time.Duration(now.UnixNano()-heard.UnixNano()))
}

// Fresh is [auth.ErrOverloaded] when nothing is known yet, or it is too old to decide on.
func (f *Follower) Fresh() error {
	if f.heardAt.Load() == nil {
		return auth.ErrOverloaded.From(errors.New("the revocations are not loaded yet"))
	}
	if age := f.Age(); age > f.config.MaxStaleness {
		return auth.ErrOverloaded.From(fmt.Errorf("the change log was last read %v ago, and max_staleness is %v", age.Round(time.Millisecond), f.config.MaxStaleness))
	}
	return nil
}

// Wait returns when this replica has applied the position, or ctx ends.
func (f *Follower) Wait(ctx context.Context, to auth.Position) error {
	for {
		f.mu.Lock()
		moved := f.moved
		f.mu.Unlock()
		if f.Applied() >= to {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for position %d, at %d: %w", to, f.Applied(), context.Cause(ctx))
		}
	}
}
