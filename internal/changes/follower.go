// Package changes follows the change log: it tells those who hold facts in memory what changed, says how far this replica
// is and how old its knowledge, and waits until every replica has applied a change. It leaves to facts and token what a
// change means to them, and to the store how one is noticed.
//
// The invariants: a position is called applied only once every holder has applied all changes up to it; whoever may decide
// is waited for. A replica is fresh only by a heartbeat that others saw it alive before and after: so nobody can have
// answered a revocation without waiting for it, unless that heartbeat read the revocation itself.
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
	// Follow is a heartbeat, in one transaction: the replica's row says from now on that it is alive and has applied the
	// log of this incarnation up to a position, and then what comes after is read, as by Changes. Without a row it is
	// [auth.ErrNotFound].
	Follow(ctx context.Context, id, incarnation string, applied auth.Position) (now string, head auth.Position, entries []auth.Change, err error)
	// Wakes is sent to when entries may have come.
	Wakes() <-chan struct{}
	Register(ctx context.Context, r auth.Replica) error
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
	Log     Log
	Root    Root
	Others  []Holder
	Replica auth.Replica // the row of this server, which MaxStaleness is written to; an empty ID follows without one
	// Alone says that no other server can be beside this one, and that who waits for it knows by other means that it lives:
	// then to read the log is enough to be fresh, and its row tells its position alone. So a disk that is full stops no
	// verification.
	Alone        bool
	MaxStaleness time.Duration        // how old knowledge may be to decide on it
	Beat         time.Duration        // how often the row is renewed; 0 stands for 500 ms
	Clock        func() time.Duration // for the age of knowledge alone; nil means one that runs while the machine sleeps
	Logger       *slog.Logger
	// Propagated is told how long an entry took from its commit to its being applied; nil: nobody.
	Propagated func(time.Duration)
	Now        func() time.Time
}

const (
	// usualBeat is how often the row is renewed.
	usualBeat = 500 * time.Millisecond

	// beatTime is how long an answer to a heartbeat is waited for.
	beatTime = 2 * time.Second

	// applyTime and loadTime are how long holders may take to read what changed, and to read everything. A way to the
	// database that swallows questions must not hold the follower for ever.
	applyTime, loadTime = 10 * time.Second, 2 * time.Minute

	// inARow is how many heartbeats follow one another at once at most. Three do: one that others had given this replica up
	// before, one that brings a change, and one that tells it.
	inARow = 5
)

// never is an instant before all others.
const never = math.MinInt64

// A Follower keeps one replica up to date.
type Follower struct {
	config  Config
	log     *slog.Logger
	applied atomic.Int64
	known   atomic.Int64 // on Clock, just before the last heartbeat that counts was sent; or never

	// What follows belongs to Start, and then to Run.
	incarnation string
	row         *time.Duration // on Clock, just before the row was written last; nil: it was not
	told        auth.Position  // what the row says
	untold      bool           // and could not be told otherwise
	failing     bool
	stale       bool // and that is logged

	mu    sync.Mutex
	moved chan struct{} // closed and replaced whenever applied moves
}

// New returns a Follower that has applied nothing yet: [Follower.Start] loads everything.
func New(c Config) (*Follower, error) {
	if c.Log == nil || c.Root == nil || c.MaxStaleness <= 0 {
		return nil, errors.New("changes: a log, a holder and how old knowledge may be are all needed")
	}
	if c.Beat == 0 {
		c.Beat = usualBeat
	}
	if c.Clock == nil {
		c.Clock = new(bootClock).now
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Replica.MaxStaleness = c.MaxStaleness
	f := &Follower{config: c, log: c.Logger, moved: make(chan struct{})}
	f.known.Store(never)
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
	if f.config.Replica.ID != "" {
		if err := f.register(ctx); err != nil {
			return err
		}
	}
	// What was revoked after the loading, and answered without waiting for a replica that nobody knew of.
	if err := f.beat(ctx); err != nil {
		return err
	}
	return f.Fresh()
}

// Run follows the log until ctx ends. Then nothing is decided here any more, and this replica's row is taken away.
func (f *Follower) Run(ctx context.Context) error {
	tick := time.NewTicker(f.config.Beat)
	defer tick.Stop()
	beat := true
	for {
		var err error
		if beat || f.config.Alone || f.config.Replica.ID == "" {
			err = f.beat(ctx)
			f.report(ctx, err)
		} else if changed, failed := f.look(ctx); failed == nil && changed {
			err = f.beat(ctx) // to tell it
			f.report(ctx, err)
		} // what failed here the next heartbeat says better
		select {
		case <-ctx.Done():
			return f.leave(ctx)
		case <-f.config.Log.Wakes():
			beat = false
		case <-tick.C:
			beat = true
		}
	}
}

// leave ends all deciding and then takes the row away: once it is gone, nobody waits for this replica.
func (f *Follower) leave(ctx context.Context) error {
	f.known.Store(never)
	if f.config.Replica.ID == "" {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTime)
	defer cancel()
	if err := f.config.Log.Unregister(last, f.config.Replica.ID); err != nil {
		return fmt.Errorf("leave the replicas: %w", err)
	}
	return nil
}

// report logs what changed about following the log.
func (f *Follower) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && f.failing:
		f.failing, f.stale = false, false
		f.log.Info("the change log is followed again", "position", f.Applied())
	case err != nil && !f.failing:
		f.failing = true
		f.log.Error("the change log cannot be followed; what is known goes on until it is too old", "error", err, "max_staleness", f.config.MaxStaleness.String())
	}
	if f.failing && !f.stale && f.Age() > f.config.MaxStaleness {
		f.stale = true
		f.log.Error("what is known of revocations is too old: this server answers 503 until it can follow the change log again", "error", err, "max_staleness", f.config.MaxStaleness.String())
	}
}

// register enters this replica's row.
func (f *Follower) register(ctx context.Context) error {
	sent := f.config.Clock()
	r := f.config.Replica
	r.Applied = f.Applied()
	if err := f.config.Log.Register(ctx, r); err != nil {
		return fmt.Errorf("enter this server among the replicas: %w", err)
	}
	f.row, f.told = &sent, r.Applied
	return nil
}

// beat sends a heartbeat, and at once those that must follow it.
func (f *Follower) beat(ctx context.Context) error {
	for range inARow {
		again, err := f.heartbeat(ctx)
		if err != nil || !again {
			return err
		}
	}
	return nil // there is more: the next one takes it
}

// heartbeat renews this replica's row, and applies what the log has got since. It says whether another should follow at
// once.
func (f *Follower) heartbeat(ctx context.Context) (again bool, err error) {
	if f.config.Alone || f.config.Replica.ID == "" {
		return false, f.readAlone(ctx)
	}
	sent, applied := f.config.Clock(), f.Applied()
	r, err := f.read(ctx, func(ctx context.Context) (string, auth.Position, []auth.Change, error) {
		return f.config.Log.Follow(ctx, f.config.Replica.ID, f.incarnation, applied)
	})
	if errors.Is(err, auth.ErrNotFound) { // others took the row for that of a dead one
		return true, f.register(ctx)
	}
	if err != nil {
		return false, err
	}
	// If others saw this replica alive all the time until the row was renewed, then who answered a revocation meanwhile has
	// waited for it. If not, one may have looked at the old row after this heartbeat had read the log and before its
	// commit: then only the next one counts.
	counts := f.row != nil && f.config.Clock()-*f.row <= f.config.MaxStaleness
	f.row, f.told = &sent, applied
	changed, err := f.apply(ctx, r)
	if err != nil {
		return false, err
	}
	if counts {
		f.known.Store(int64(sent))
	}
	return changed || !counts, nil
}

// readAlone is the heartbeat of a server that nobody else's row counts beside.
func (f *Follower) readAlone(ctx context.Context) error {
	sent := f.config.Clock()
	if _, err := f.look(ctx); err != nil {
		return err
	}
	f.known.Store(int64(sent))
	f.tell(ctx)
	return nil
}

// tell writes into the row how far this server is, for commands. It knows what it knows even if that fails.
func (f *Follower) tell(ctx context.Context) {
	applied := f.Applied()
	if f.config.Replica.ID == "" || applied == f.told {
		return
	}
	_, _, _, err := f.config.Log.Follow(ctx, f.config.Replica.ID, f.incarnation, applied)
	if errors.Is(err, auth.ErrNotFound) {
		err = f.register(ctx)
	}
	if err != nil {
		if !f.untold && ctx.Err() == nil {
			f.log.Warn("commands cannot be told how far this server is: they wait as long as they may", "error", err)
		}
		f.untold = true
		return
	}
	f.told, f.untold = applied, false
}

// look applies what the log has got since, without a heartbeat, and says whether that was anything.
func (f *Follower) look(ctx context.Context) (changed bool, err error) {
	applied := f.Applied()
	r, err := f.read(ctx, func(ctx context.Context) (string, auth.Position, []auth.Change, error) {
		return f.config.Log.Changes(ctx, applied)
	})
	if err != nil {
		return false, err
	}
	return f.apply(ctx, r)
}

// A reading is what a look at the log gave, all of one moment.
type reading struct {
	incarnation string
	head        auth.Position
	entries     []auth.Change
}

func (f *Follower) read(ctx context.Context, from func(context.Context) (string, auth.Position, []auth.Change, error)) (r reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	if r.incarnation, r.head, r.entries, err = from(ctx); err != nil {
		return reading{}, fmt.Errorf("read the change log: %w", err)
	}
	return r, nil
}

// load reads everything anew.
func (f *Follower) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	incarnation, at, err := f.config.Root.Load(ctx)
	if err != nil {
		return err
	}
	for _, h := range f.config.Others { // read later, so of this position or a later one
		if err := h.Load(ctx); err != nil {
			return err
		}
	}
	f.incarnation = incarnation
	f.move(at)
	return nil
}

// apply lets every holder take over what was read, and says whether that was anything.
func (f *Follower) apply(ctx context.Context, r reading) (changed bool, err error) {
	applied := f.Applied()
	if r.incarnation != f.incarnation || r.head < applied || broken(applied, r) {
		f.log.Warn("the change log is another than it was: everything is loaded anew", "incarnation", r.incarnation, "head", r.head, "applied", applied)
		return true, f.load(ctx)
	}
	if len(r.entries) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	if err := f.config.Root.Apply(ctx, r.entries); err != nil {
		return false, err
	}
	for _, h := range f.config.Others {
		if err := h.Apply(ctx, r.entries); err != nil {
			return false, err
		}
	}
	if f.config.Propagated != nil {
		now := f.config.Now()
		for _, e := range r.entries {
			f.config.Propagated(max(0, now.Sub(e.At)))
		}
	}
	f.move(r.head)
	return true, nil
}

// broken says whether the entries are not all there are between after and the head.
func broken(after auth.Position, r reading) bool {
	for _, e := range r.entries {
		if e.Number != after+1 {
			return true
		}
		after = e.Number
	}
	return after != r.head
}

func (f *Follower) move(to auth.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied.Store(int64(to))
	close(f.moved)
	f.moved = make(chan struct{})
}

// ID names this replica as its row does.
func (f *Follower) ID() string { return f.config.Replica.ID }

// Applied is the position up to which every holder here knows everything.
func (f *Follower) Applied() auth.Position { return auth.Position(f.applied.Load()) }

// Age is how old the knowledge is; there is none before [Follower.Start] and after [Follower.Run], and then it is endless.
func (f *Follower) Age() time.Duration {
	known := f.known.Load()
	if known == never {
		return math.MaxInt64
	}
	return f.config.Clock() - time.Duration(known)
}

// Fresh is [auth.ErrOverloaded] when nothing is known yet or any more, or it is too old to decide on.
func (f *Follower) Fresh() error {
	age := f.Age()
	switch {
	case age == math.MaxInt64:
		return auth.ErrOverloaded.From(errors.New("the revocations are not loaded yet, or the server has stopped"))
	case age > f.config.MaxStaleness:
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
