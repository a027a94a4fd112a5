// Package usage counts what each credential does, by the hour, and remembers how each secret was last used. It gathers in
// memory and hands the store the differences once a second; what the sums are, and for how long they are kept, is the
// store's affair.
//
// The invariant: every request is counted once. A crash loses what was counted since the last write, a second's worth unless
// more credentials are at work than a second's write can hold, and nothing else does: a write that failed is counted on and
// made later.
package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	shards     = 32
	every      = time.Second
	atOnce     = 500              // rows of one write: a transaction that holds up no login
	restless   = 60               // writes without anything to count, after which a credential is forgotten
	crowd      = 16_384           // entries, from which on a credential is forgotten as soon as it is written
	pace       = 1000             // rows of one second, or, if that is more,
	backlog    = 30               // so much of what waits: a thirtieth
	most       = 100_000          // entries: about 20 MB. What is more than that is written at once, whatever it costs,
	portion    = 10_000           // but in portions of so many rows, which must be in memory once more
	patience   = 10 * time.Second // that one write may take
	complain   = time.Minute      // between two lines about writes that fail
	mostAgent  = 256              // bytes of a user agent
	mostFrom   = 64               // addresses of one credential in one hour: more are not remembered
	seenEvery  = 5 * time.Minute  // between two writes about one address of a credential
	lastChance = 5 * time.Second  // for the write at the end
)

// A Store adds the counts to those it has, all of them or none. Of a secret's use it adds the count and keeps the latest
// time, with the address and user agent that belong to it. After an error it may go on reading what it was given.
type Store interface {
	WriteUsage(ctx context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error
	WriteSightings(ctx context.Context, seen []auth.Sighting) error
}

// Config is what a [Counter] is made of.
type Config struct {
	Store Store
	Now   func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil: nobody reads it
}

// A Counter counts. It is safe for concurrent use.
type Counter struct {
	store  Store
	now    func() time.Time
	log    *slog.Logger
	shards [shards]shard // by id, in the order of ids: what is written together then lies together in the store

	entries atomic.Int64 // of all shards

	writing    sync.Mutex // for what follows
	next       int        // the shard that is taken first
	rows       []auth.UsageRow
	uses       []auth.SecretUse
	seen       []auth.Sighting
	complained time.Time
}

type shard struct {
	mu      sync.Mutex
	entries map[entryKey]*entry
	total   *atomic.Int64 // [Counter.entries]
	agent   string        // the user agent of the last one: mostly that of the next one too
}

type entryKey struct {
	credential auth.CredentialID
	hour       int64 // since 1970
}

// An entry is what one credential did in one hour and is not written yet. There can be very many: it is kept small.
type entry struct {
	account auth.AccountID
	counts  []count // one for each kind seen; those with 0 were written
	uses    []use   // one for each secret seen; likewise
	from    []from  // one for each address seen; likewise
	idle    int32   // writes that found nothing here
}

type count struct {
	kind int32
	n    int64
}

type use struct {
	secret  int
	count   int64
	at      time.Time
	address netip.Addr
	agent   string
}

type from struct {
	prefix  netip.Prefix
	count   int64
	at      time.Time
	written int64 // Unix seconds; 0: not yet
}

// New returns a Counter. Nothing is written until its [Counter.Run] is called.
func New(c Config) (*Counter, error) {
	if c.Store == nil {
		return nil, errors.New("usage: nowhere to write to")
	}
	u := &Counter{store: c.Store, now: c.Now, log: c.Log}
	if u.now == nil {
		u.now = time.Now
	}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	for i := range u.shards {
		u.shards[i] = shard{entries: make(map[entryKey]*entry), total: &u.entries}
	}
	return u, nil
}

// Note counts a request, if it is known whose it was. Of those refused, only what belongs to a credential is counted: what
// anybody can send grows nothing here.
func (u *Counter) Note(o *auth.Observation) {
	if o.Subject.Credential == "" || o.Subject.Account == 0 {
		return
	}
	what := kindOf(o)
	if what < 0 {
		return
	}
	key := entryKey{o.Subject.Credential, o.At.Unix() / 3600}
	s := u.shard(key.credential)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(key, o.Subject.Account)
	*e.count(what)++
	e.idle = 0
	if o.Subject.Secret > 0 && (what == exchange || what == login) {
		s.use(e, o)
	}
	if what < acts && what != other && what != logout {
		e.sees(o)
	}
}

// sees notes where somebody came in from.
func (e *entry) sees(o *auth.Observation) {
	prefix := auth.SeenAs(o.Caller.Address)
	if !prefix.IsValid() {
		return
	}
	for i := range e.from {
		if f := &e.from[i]; f.prefix == prefix {
			f.count++
			if f.at.Before(o.At) {
				f.at = o.At
			}
			return
		}
	}
	if len(e.from) < mostFrom {
		e.from = append(e.from, from{prefix: prefix, count: 1, at: o.At})
	}
}

func (u *Counter) shard(id auth.CredentialID) *shard {
	const letters = len(auth.Alphabet)
	place := 0 // of its first two letters among all that there can be
	for i := range 2 {
		place *= letters
		if i < len(id) {
			place += max(0, strings.IndexByte(auth.Alphabet, id[i]))
		}
	}
	return &u.shards[place*shards/(letters*letters)]
}

func (s *shard) entry(key entryKey, account auth.AccountID) *entry {
	e := s.entries[key]
	if e == nil {
		key.credential = auth.CredentialID(strings.Clone(string(key.credential))) // not the token it was cut from
		e = &entry{account: account}
		s.entries[key] = e
		s.total.Add(1)
	} else if account != 0 {
		e.account = account // an entry that was put back may not have known
	}
	return e
}

// count is where what is counted.
func (e *entry) count(what int) *int64 {
	for i := range e.counts {
		if e.counts[i].kind == int32(what) {
			return &e.counts[i].n
		}
	}
	e.counts = append(e.counts, count{kind: int32(what)})
	return &e.counts[len(e.counts)-1].n
}

// use notes that a secret opened something.
func (s *shard) use(e *entry, o *auth.Observation) {
	use := e.secret(o.Subject.Secret)
	use.count++
	if o.At.Before(use.at) {
		return
	}
	use.at, use.address = o.At, o.Caller.Address
	agent := o.Caller.UserAgent
	if len(agent) > mostAgent {
		agent = strings.ToValidUTF8(agent[:mostAgent], "")
	}
	if agent != use.agent { // mostly it is the same, and then there is nothing to copy
		if agent != s.agent {
			s.agent = strings.Clone(auth.Masked(agent))
		}
		use.agent = s.agent
	}
}

func (e *entry) secret(number int) *use {
	for i := range e.uses {
		if e.uses[i].secret == number {
			return &e.uses[i]
		}
	}
	e.uses = append(e.uses, use{secret: number})
	return &e.uses[len(e.uses)-1]
}

// Run writes once a second until ctx ends, and once more then. That last write is its error if it fails.
func (u *Counter) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
			defer cancel()
			return u.write(last, math.MaxInt)
		case <-tick.C:
			u.tick(ctx)
		}
	}
}

func (u *Counter) tick(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := u.write(ctx, int(max(pace, u.entries.Load()/backlog)))
	for err == nil && u.entries.Load() > most {
		err = u.write(ctx, portion)
	}
	if err == nil {
		return
	}
	if now := u.now(); now.Sub(u.complained) >= complain {
		u.complained = now
		u.log.Warn("usage could not be written; it is kept and will be", "error", err)
	}
}

// write writes what was counted so far, or somewhat more than so many rows of it; the rest is for the next time. What could
// not be written is counted on.
func (u *Counter) write(ctx context.Context, enough int) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	u.take(enough)
	rows, uses, seen := u.rows, u.uses, u.seen
	// In the order of the store: of a crowd's rows a few are on every page that is written.
	slices.SortFunc(rows, auth.UsageRow.Compare)
	slices.SortFunc(uses, auth.SecretUse.Compare)
	slices.SortFunc(seen, func(a, b auth.Sighting) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), a.From.Addr().Compare(b.From.Addr()), cmp.Compare(a.Credential, b.Credential))
	})
	for len(rows)+len(uses) > 0 {
		r, s := rows[:min(len(rows), atOnce)], uses[:min(len(uses), atOnce)]
		if err := u.store.WriteUsage(ctx, r, s); err != nil {
			u.putBack(rows, uses, seen)
			u.rows, u.uses, u.seen = nil, nil, nil // the store's from now on
			return fmt.Errorf("write usage: %w", err)
		}
		rows, uses = rows[len(r):], uses[len(s):]
	}
	for len(seen) > 0 {
		some := seen[:min(len(seen), atOnce)]
		if err := u.store.WriteSightings(ctx, some); err != nil {
			u.putBack(nil, nil, seen)
			u.seen = nil
			return fmt.Errorf("write where credentials came from: %w", err)
		}
		seen = seen[len(some):]
	}
	return nil
}

// take moves what was counted into rows and uses, shard by shard until it is enough, and forgets who has been quiet for a
// while.
func (u *Counter) take(enough int) {
	clear(u.rows) // what they point to
	clear(u.uses)
	clear(u.seen)
	u.rows, u.uses, u.seen = u.rows[:0], u.uses[:0], u.seen[:0]
	now, last := u.now(), enough == math.MaxInt
	for range shards {
		if len(u.rows)+len(u.uses) >= enough {
			return
		}
		crowded := u.entries.Load() > crowd
		u.shards[u.next].take(&u.rows, &u.uses)
		u.shards[u.next].takeSeen(&u.seen, now, crowded || last)
		u.shards[u.next].forget(crowded)
		u.next = (u.next + 1) % shards
	}
}

func (s *shard) take(rows *[]auth.UsageRow, uses *[]auth.SecretUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		e.idle++
		for i := range e.counts {
			if c := &e.counts[i]; c.n > 0 {
				*rows = append(*rows, auth.UsageRow{
					Account: e.account, Credential: key.credential, Hour: time.Unix(key.hour*3600, 0).UTC(),
					What: kindName(int(c.kind)), Count: c.n,
				})
				c.n, e.idle = 0, 0
			}
		}
		for i := range e.uses {
			if use := &e.uses[i]; use.count > 0 {
				*uses = append(*uses, auth.SecretUse{Credential: key.credential, Secret: use.secret, Use: auth.Use{
					At: use.at, Address: use.address, UserAgent: use.agent, Count: use.count,
				}})
				use.count, e.idle = 0, 0
			}
		}
	}
}

// takeSeen moves into seen where credentials came from: what is new at once, and the rest once in a while, or when its entry goes.
func (s *shard) takeSeen(seen *[]auth.Sighting, now time.Time, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		for i := range e.from {
			f := &e.from[i]
			if f.count == 0 || !all && e.idle < restless && now.Unix()-f.written < int64(seenEvery/time.Second) {
				continue
			}
			*seen = append(*seen, auth.Sighting{Account: e.account, Credential: key.credential, From: f.prefix, At: f.at, Count: f.count})
			f.count, f.written = 0, now.Unix()
		}
	}
}

// forget lets go of who has been quiet for a while, or of all whose counts were taken.
func (s *shard) forget(crowded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		if e.idle >= restless || crowded && e.empty() {
			delete(s.entries, key)
			s.total.Add(-1)
		}
	}
}

// empty says whether nothing was counted since it was last taken.
func (e *entry) empty() bool {
	return !slices.ContainsFunc(e.counts, func(c count) bool { return c.n > 0 }) &&
		!slices.ContainsFunc(e.uses, func(u use) bool { return u.count > 0 }) &&
		!slices.ContainsFunc(e.from, func(f from) bool { return f.count > 0 })
}

// putBack counts what could not be written once more.
func (u *Counter) putBack(rows []auth.UsageRow, uses []auth.SecretUse, seen []auth.Sighting) {
	for _, r := range rows {
		s := u.shard(r.Credential)
		s.mu.Lock()
		e := s.entry(entryKey{r.Credential, r.Hour.Unix() / 3600}, r.Account)
		*e.count(kindNamed(r.What)) += r.Count
		s.mu.Unlock()
	}
	for _, back := range uses {
		s := u.shard(back.Credential)
		s.mu.Lock()
		e := s.entry(entryKey{back.Credential, back.At.Unix() / 3600}, 0)
		use := e.secret(back.Secret)
		use.count += back.Count
		if use.at.Before(back.At) {
			use.at, use.address, use.agent = back.At, back.Address, back.UserAgent
		}
		s.mu.Unlock()
	}
	for _, back := range seen {
		s := u.shard(back.Credential)
		s.mu.Lock()
		e := s.entry(entryKey{back.Credential, back.At.Unix() / 3600}, back.Account)
		i := slices.IndexFunc(e.from, func(f from) bool { return f.prefix == back.From })
		if i < 0 && len(e.from) < mostFrom {
			e.from, i = append(e.from, from{prefix: back.From}), len(e.from)
		}
		if i >= 0 {
			f := &e.from[i]
			f.count, f.written = f.count+back.Count, 0
			if f.at.Before(back.At) {
				f.at = back.At
			}
		}
		s.mu.Unlock()
	}
}
