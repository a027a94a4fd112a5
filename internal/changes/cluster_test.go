package changes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A database is shared by many replicas, each of which reaches it by a link of its own. It commits as PostgreSQL does: a
// statement sees what was committed before it began, and nobody sees a row that was written before its commit.
type database struct {
	ahead time.Duration // of the time of the bubble

	mu          sync.Mutex
	incarnation string
	entries     []auth.Change
	rows        map[string]auth.Replica
	links       []*link
}

func newDatabase() *database {
	return &database{incarnation: "first", rows: map[string]auth.Replica{}, ahead: 3 * time.Hour}
}

func (d *database) now() time.Time { return time.Now().Add(d.ahead) }

// after is what a statement that reads the log sees.
func (d *database) after(at auth.Position) (string, auth.Position, []auth.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := min(int(at), len(d.entries))
	return d.incarnation, auth.Position(len(d.entries)), slices.Clone(d.entries[from:]), nil
}

// append is a commit: it returns its position.
func (d *database) append() auth.Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := auth.Position(len(d.entries) + 1)
	d.entries = append(d.entries, auth.Change{Number: p, Of: auth.ChangedAccount, At: d.now()})
	for _, l := range d.links {
		if !l.cut {
			select {
			case l.wakes <- struct{}{}:
			default:
			}
		}
	}
	return p
}

// prune removes rows that nobody waits for any more.
func (d *database) prune(staleness time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.rows, func(_ string, r auth.Replica) bool { return d.now().Sub(r.HeardAt) > staleness+margin })
}

// A link is a replica's way to the database, and the replica's process, which can be stopped as by SIGSTOP: wherever it asks
// for the time or for anything else.
type link struct {
	db      *database
	slow    time.Duration // how long a step takes at most
	rate    float64       // of its clock
	born    time.Time
	refuses bool   // when cut: at once, and not by silence
	open    func() // called once while a heartbeat has read the log and not committed its row; nil: nothing

	random struct {
		sync.Mutex
		*rand.Rand
	}

	mu     sync.Mutex
	frozen chan struct{} // closed when it goes on; nil: it runs
	cut    bool
	wakes  chan struct{}
	at     auth.Position // that the facts are of
}

var errCut = errors.New("no way to the database")

func (l *link) pause() {
	l.mu.Lock()
	frozen := l.frozen
	l.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (l *link) freeze(stop bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stop && l.frozen == nil {
		l.frozen = make(chan struct{})
	} else if !stop && l.frozen != nil {
		close(l.frozen)
		l.frozen = nil
	}
}

func (l *link) set(cut bool) {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	l.cut = cut
}

// travel is the way of a question or an answer, or of one step of a transaction.
func (l *link) travel(ctx context.Context) error {
	l.pause()
	l.random.Lock()
	d := time.Duration(l.random.Int64N(int64(l.slow)))
	l.random.Unlock()
	time.Sleep(d)
	l.db.mu.Lock()
	cut := l.cut
	l.db.mu.Unlock()
	if cut && l.refuses {
		return errCut
	}
	if cut {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (l *link) clock() time.Duration {
	l.pause()
	return time.Duration(float64(time.Since(l.born)) * l.rate)
}

// asked is one statement and its answer.
func (l *link) asked(ctx context.Context, statement func()) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := l.travel(ctx); err != nil {
		return err
	}
	statement()
	return l.travel(ctx)
}

func (l *link) Changes(ctx context.Context, at auth.Position) (incarnation string, head auth.Position, entries []auth.Change, err error) {
	failed := l.asked(ctx, func() { incarnation, head, entries, err = l.db.after(at) })
	return incarnation, head, entries, errors.Join(failed, err)
}

func (l *link) Follow(ctx context.Context, id, _ string, applied auth.Position) (incarnation string, head auth.Position, entries []auth.Change, err error) {
	var row auth.Replica
	for _, statement := range []func(){
		func() { // the update, which nobody sees yet
			l.db.mu.Lock()
			defer l.db.mu.Unlock()
			var there bool
			if row, there = l.db.rows[id]; !there {
				err = auth.ErrNotFound
			}
			row.HeardAt, row.Applied = l.db.now(), applied
		},
		func() {
			incarnation, head, entries, _ = l.db.after(applied)
			if open := l.open; open != nil {
				l.open = nil
				open()
			}
		},
		func() {
			l.db.mu.Lock()
			defer l.db.mu.Unlock()
			l.db.rows[id] = row
		},
	} {
		if failed := l.travel(ctx); failed != nil {
			return "", 0, nil, failed
		}
		if statement(); err != nil {
			return "", 0, nil, err
		}
	}
	return incarnation, head, entries, l.travel(ctx)
}

func (l *link) Register(ctx context.Context, r auth.Replica) error {
	return l.asked(ctx, func() {
		l.db.mu.Lock()
		defer l.db.mu.Unlock()
		r.HeardAt = l.db.now()
		l.db.rows[r.ID] = r
	})
}

func (l *link) Unregister(ctx context.Context, id string) error {
	return l.asked(ctx, func() {
		l.db.mu.Lock()
		defer l.db.mu.Unlock()
		delete(l.db.rows, id)
	})
}

func (l *link) Replicas(ctx context.Context) (rows []auth.Replica, now time.Time, err error) {
	err = l.asked(ctx, func() {
		l.db.mu.Lock()
		defer l.db.mu.Unlock()
		rows, now = slices.Collect(maps.Values(l.db.rows)), l.db.now()
	})
	return rows, now, err
}

func (l *link) Wakes() <-chan struct{} { return l.wakes }

// Load and Apply make it the facts.
func (l *link) Load(ctx context.Context) (incarnation string, at auth.Position, err error) {
	err = l.asked(ctx, func() { incarnation, at, _, _ = l.db.after(0) })
	if err == nil {
		l.pause()
		l.mu.Lock()
		l.at = at
		l.mu.Unlock()
	}
	return incarnation, at, err
}

func (l *link) Apply(ctx context.Context, entries []auth.Change) error {
	if err := l.travel(ctx); err != nil {
		return err
	}
	l.pause()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = entries[len(entries)-1].Number
	return nil
}

// A replica is a follower at the end of its link.
type replica struct {
	*link
	*Follower
	acks *Acknowledger
	stop context.CancelFunc
	over chan struct{}
}

func (d *database) join(t *testing.T, id string, s scenario, seed uint64) *replica {
	r := d.reach(s, seed)
	var err error
	if r.Follower, err = New(Config{
		Log: r.link, Root: r.link, Replica: auth.Replica{ID: id}, MaxStaleness: s.staleness, Clock: r.clock,
		Now: func() time.Time { return time.Now().Add(20 * time.Second) },
	}); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.over)
		for r.Start(ctx) != nil { // as whoever restarts a server that does not come up
			if ctx.Err() != nil {
				return
			}
			time.Sleep(time.Second)
		}
		_ = r.Run(ctx) // it may not get away: its link may be cut
	}()
	return r
}

// reach makes a link for whoever has no row.
func (d *database) reach(s scenario, seed uint64) *replica {
	r := &replica{over: make(chan struct{}), link: &link{
		db: d, slow: s.slow, refuses: s.refuses, born: time.Now().Add(-time.Hour), rate: 0.98 + float64(seed%5)/100, wakes: make(chan struct{}, 1),
	}}
	if seed%3 > 0 { // most are near
		r.slow = s.slow/25 + 1
	}
	r.random.Rand = rand.New(rand.NewPCG(seed, s.seed))
	d.mu.Lock()
	d.links = append(d.links, r.link)
	d.mu.Unlock()
	r.acks, _ = NewAcknowledger(AcknowledgeConfig{Replicas: r.link, MaxStaleness: s.staleness, Clock: r.clock})
	return r
}

// A scenario is a cluster of three and what happens to it.
type scenario struct {
	staleness, wait time.Duration
	slow            time.Duration
	refuses         bool
	seed            uint64
	events          []event
}

type event struct {
	after   time.Duration
	what    string
	replica int
}

var drawScenario = rapid.Custom(func(t *rapid.T) scenario {
	s := scenario{
		staleness: 5 * time.Second, wait: 2 * time.Second,
		slow:    rapid.SampledFrom([]time.Duration{time.Millisecond, 20 * time.Millisecond, 400 * time.Millisecond}).Draw(t, "slow"),
		refuses: rapid.Bool().Draw(t, "refuses"),
		seed:    rapid.Uint64().Draw(t, "seed"),
	}
	if rapid.Bool().Draw(t, "waits until it holds") {
		s.wait = 6 * time.Second
	}
	s.events = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		return event{
			after:   time.Duration(rapid.IntRange(0, 4000).Draw(t, "after")) * time.Millisecond,
			what:    rapid.SampledFrom([]string{"cut", "heal", "freeze", "thaw", "restart", "crash", "prune"}).Draw(t, "what"),
			replica: rapid.IntRange(0, 2).Draw(t, "replica"),
		}
	}), 1, 16).Draw(t, "events")
	return s
})

// A ledger knows what must be refused when.
type ledger struct {
	mu        sync.Mutex
	confirmed auth.Position // the last that was answered with everybody having applied it
	answered  auth.Position // the last that was answered at all
	commits   []commit
	wrong     []string
	asked     int // how often somebody decided
	revoked   int
	unsure    int // revocations that were answered without everybody
}

type commit struct {
	at  time.Time
	pos auth.Position
}

// revoke commits a revocation at the hand of one of the cluster, waits, and answers.
func (b *ledger) revoke(r *replica, s scenario) {
	var p auth.Position
	if r.asked(context.Background(), func() {
		p = r.db.append()
		b.mu.Lock()
		b.commits = append(b.commits, commit{time.Now(), p})
		b.mu.Unlock()
	}) != nil {
		return // whoever asked got no answer
	}
	missing, err := r.acks.Acknowledge(context.Background(), p, s.wait, r.Follower)
	r.pause() // before its answer goes out
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revoked++
	b.answered = max(b.answered, p)
	if len(missing) == 0 && err == nil {
		b.confirmed = max(b.confirmed, p)
	} else {
		b.unsure++
	}
}

// decide lets a replica decide on every token there is, as it would for a caller who comes now.
func (b *ledger) decide(r *replica, s scenario) {
	r.link.mu.Lock()
	at := r.at
	r.link.mu.Unlock()
	if r.Fresh() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	for len(b.commits) > 0 && time.Since(b.commits[0].at) > s.staleness*102/100 { // clocks run slow by two in a hundred
		b.confirmed = max(b.confirmed, b.commits[0].pos)
		b.commits = b.commits[1:]
	}
	if at < b.confirmed {
		b.wrong = append(b.wrong, fmt.Sprintf("%s decides as of %d, and %d was answered, or committed %v ago", r.ID(), at, b.confirmed, s.staleness))
	}
	if s.wait > s.staleness && at < b.answered {
		b.wrong = append(b.wrong, fmt.Sprintf("%s decides as of %d, and %d was answered", r.ID(), at, b.answered))
	}
}

// play runs a scenario and returns what went wrong.
func (s scenario) play(t *testing.T) *ledger {
	var b ledger
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		seed := s.seed
		joined := 0
		all := map[*replica]bool{} // those that stopped too
		join := func() *replica {
			seed++
			joined++
			r := d.join(t, fmt.Sprint("replica", joined), s, seed)
			all[r] = true
			return r
		}
		cluster := []*replica{join(), join(), join()}
		command := d.reach(s, seed+1000)
		var mu sync.Mutex // of cluster and all
		over := make(chan struct{})
		var customers, deciding sync.WaitGroup
		deciding.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(9 * time.Millisecond):
				}
				mu.Lock()
				asked := slices.Collect(maps.Keys(all))
				mu.Unlock()
				for _, r := range asked {
					r.link.mu.Lock()
					frozen := r.frozen != nil
					r.link.mu.Unlock()
					if !frozen {
						b.decide(r, s)
					}
				}
			}
		})
		customers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-time.After(110 * time.Millisecond):
				}
				r := command
				if i%4 < 3 {
					mu.Lock()
					r = cluster[i%4]
					mu.Unlock()
				}
				customers.Go(func() { b.revoke(r, s) })
			}
		})
		for _, e := range s.events {
			time.Sleep(e.after)
			r := cluster[e.replica]
			switch e.what {
			case "cut", "heal":
				r.set(e.what == "cut")
			case "freeze", "thaw":
				r.freeze(e.what == "freeze")
			case "prune":
				d.prune(s.staleness)
			case "crash": // its row stays
				r.freeze(true)
				fallthrough
			case "restart":
				r.stop()
				mu.Lock()
				cluster[e.replica] = join()
				mu.Unlock()
			}
		}
		for _, r := range cluster {
			r.set(false)
			r.freeze(false)
		}
		time.Sleep(s.staleness + applyTime) // what crashed is forgotten
		began := time.Now()
		p := d.append()
		if missing, err := cluster[0].acks.Acknowledge(t.Context(), p, time.Minute, cluster[0].Follower); err != nil || len(missing) > 0 {
			b.wrong = append(b.wrong, fmt.Sprintf("when all is well again a revocation misses %v, %v", missing, err))
		}
		if took := time.Since(began); s.slow == time.Millisecond && took > 100*time.Millisecond {
			b.wrong = append(b.wrong, fmt.Sprintf("when all is well again a revocation takes %v", took))
		}
		for _, r := range cluster {
			if err := r.Fresh(); err != nil || r.Applied() < p {
				b.wrong = append(b.wrong, fmt.Sprintf("%s has not come back: at %d of %d, %v", r.ID(), r.Applied(), p, err))
			}
		}
		close(over)
		for r := range all {
			r.set(false)
			r.freeze(false)
			r.stop()
			<-r.over
		}
		deciding.Wait()
		customers.Wait()
	})
	return &b
}

// Whatever happens to replicas and to their ways to the database: once a revocation was answered, nobody decides without it,
// and if the answer did not wait for everybody, nobody does max_staleness after its commit.
func TestNobodyDecidesWithoutWhatWasAnswered(t *testing.T) {
	var asked, revoked, unsure int
	rapid.Check(t, func(rt *rapid.T) {
		b := drawScenario.Draw(rt, "scenario").play(t)
		asked, revoked, unsure = asked+b.asked, revoked+b.revoked, unsure+b.unsure
		for _, wrong := range b.wrong[:min(5, len(b.wrong))] {
			rt.Error(wrong)
		}
	})
	t.Logf("%d revocations, %d of them answered without everybody; %d decisions", revoked, unsure, asked)
	if asked < 1000 || revoked < 100 || unsure == 0 || unsure == revoked {
		t.Error("that is not worth the name of a test")
	}
}

// Whoever revokes sees a row that is too old to wait for, while its replica is just coming back and has read the log already.
func TestWhoComesBackIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		s := scenario{staleness: 5 * time.Second, slow: time.Millisecond}
		r, command := d.join(t, "one", s, 1), d.reach(s, 2)
		time.Sleep(time.Second)
		r.set(true)
		time.Sleep(time.Minute)
		if r.Fresh() == nil {
			t.Fatal("it decides without having heard for a minute")
		}
		var answered atomic.Bool
		r.open = func() {
			missing, err := command.acks.Acknowledge(t.Context(), d.append(), time.Second, nil)
			if answered.Store(len(missing) == 0 && err == nil); !answered.Load() {
				t.Errorf("a revocation waited for one that had not been heard of for a minute: %v, %v", missing, err)
			}
		}
		r.set(false)
		for range 30_000 {
			time.Sleep(100 * time.Microsecond)
			synctest.Wait()
			r.link.mu.Lock()
			at := r.at
			r.link.mu.Unlock()
			if answered.Load() && at < 1 && r.Fresh() == nil {
				t.Fatal("it decides without what was answered")
			}
		}
		if !answered.Load() || r.Fresh() != nil {
			t.Errorf("answered: %v; in the end: %v", answered.Load(), r.Fresh())
		}
		r.stop()
		<-r.over
	})
}
