// Package usage counts what each credential does, by the hour, and remembers how each secret was last used. It gathers in
// memory and hands the store the differences once a second; what the sums are, and for how long they are kept, is the
// store's affair.
//
// The invariant: every request is counted once. A crash loses what was counted since the last write, a second's worth,
// and nothing else does: a write that failed is counted on and made later.
package usage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	shards     = 32
	every      = time.Second
	atOnce     = 500              // rows of one write: a transaction that holds up no login
	restless   = 60               // writes without anything to count, after which a credential is forgotten
	patience   = 10 * time.Second // that one write may take
	complain   = time.Minute      // between two lines about writes that fail
	mostAgent  = 256              // bytes of a user agent
	lastChance = 5 * time.Second  // for the write at the end
)

// A Store adds the counts to those it has, all of them or none. Of a secret's use it adds the count and keeps the latest
// time, with the address and user agent that belong to it.
type Store interface {
	WriteUsage(ctx context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error
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
	seed   maphash.Seed
	shards [shards]shard

	writing    sync.Mutex // for what follows
	rows       []auth.UsageRow
	uses       []auth.SecretUse
	complained time.Time
}

type shard struct {
	mu      sync.Mutex
	entries map[entryKey]*entry
}

type entryKey struct {
	credential auth.CredentialID
	hour       int64 // since 1970
}

// An entry is what one credential did in one hour and is not written yet.
type entry struct {
	account auth.AccountID
	counts  [kinds]int64
	uses    []auth.SecretUse // one for each secret seen; those with a count of 0 were written
	idle    int              // writes that found nothing here
}

// New returns a Counter. Nothing is written until its [Counter.Run] is called.
func New(c Config) (*Counter, error) {
	if c.Store == nil {
		return nil, errors.New("usage: nowhere to write to")
	}
	u := &Counter{store: c.Store, now: c.Now, log: c.Log, seed: maphash.MakeSeed()}
	if u.now == nil {
		u.now = time.Now
	}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	for i := range u.shards {
		u.shards[i].entries = make(map[entryKey]*entry)
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
	e.counts[what]++
	e.idle = 0
	if o.Subject.Secret > 0 && (what == exchange || what == login) {
		e.use(o)
	}
}

func (u *Counter) shard(id auth.CredentialID) *shard {
	return &u.shards[maphash.String(u.seed, string(id))%shards]
}

func (s *shard) entry(key entryKey, account auth.AccountID) *entry {
	e := s.entries[key]
	if e == nil {
		key.credential = auth.CredentialID(strings.Clone(string(key.credential))) // not the token it was cut from
		e = &entry{account: account}
		s.entries[key] = e
	} else if account != 0 {
		e.account = account // an entry that was put back may not have known
	}
	return e
}

// use notes that a secret opened something.
func (e *entry) use(o *auth.Observation) {
	use := e.secret(o.Subject.Secret)
	use.Count++
	if o.At.Before(use.At) {
		return
	}
	use.At, use.Address = o.At, o.Caller.Address
	agent := o.Caller.UserAgent
	if len(agent) > mostAgent {
		agent = strings.ToValidUTF8(agent[:mostAgent], "")
	}
	if agent != use.UserAgent { // mostly it is the same, and then there is nothing to copy
		use.UserAgent = strings.Clone(auth.Masked(agent))
	}
}

func (e *entry) secret(number int) *auth.SecretUse {
	for i := range e.uses {
		if e.uses[i].Secret == number {
			return &e.uses[i]
		}
	}
	e.uses = append(e.uses, auth.SecretUse{Secret: number})
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
			return u.write(last)
		case <-tick.C:
			u.tick(ctx)
		}
	}
}

func (u *Counter) tick(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := u.write(ctx)
	if err == nil {
		return
	}
	if now := u.now(); now.Sub(u.complained) >= complain {
		u.complained = now
		u.log.Warn("usage could not be written; it is kept and will be", "error", err)
	}
}

// write writes what was counted so far. What could not be written is counted on.
func (u *Counter) write(ctx context.Context) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	u.take()
	rows, uses := u.rows, u.uses
	for len(rows)+len(uses) > 0 {
		r, s := rows[:min(len(rows), atOnce)], uses[:min(len(uses), atOnce)]
		if err := u.store.WriteUsage(ctx, r, s); err != nil {
			u.putBack(rows, uses)
			return fmt.Errorf("write usage: %w", err)
		}
		rows, uses = rows[len(r):], uses[len(s):]
	}
	return nil
}

// take moves what was counted into rows and uses, and forgets who has been quiet for a while.
func (u *Counter) take() {
	clear(u.rows) // what they point to
	clear(u.uses)
	u.rows, u.uses = u.rows[:0], u.uses[:0]
	for i := range u.shards {
		u.shards[i].take(&u.rows, &u.uses)
	}
}

func (s *shard) take(rows *[]auth.UsageRow, uses *[]auth.SecretUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		quiet := true
		for what, n := range e.counts {
			if n == 0 {
				continue
			}
			quiet = false
			*rows = append(*rows, auth.UsageRow{
				Account: e.account, Credential: key.credential, Hour: time.Unix(key.hour*3600, 0).UTC(),
				What: kindName(what), Count: n,
			})
			e.counts[what] = 0
		}
		for i := range e.uses {
			use := &e.uses[i]
			if use.Count == 0 {
				continue
			}
			quiet = false
			*uses = append(*uses, auth.SecretUse{Credential: key.credential, Secret: use.Secret, Use: use.Use})
			use.Count = 0
		}
		if !quiet {
			continue
		}
		if e.idle++; e.idle >= restless {
			delete(s.entries, key)
		}
	}
}

// putBack counts what could not be written once more.
func (u *Counter) putBack(rows []auth.UsageRow, uses []auth.SecretUse) {
	for _, r := range rows {
		s := u.shard(r.Credential)
		s.mu.Lock()
		e := s.entry(entryKey{r.Credential, r.Hour.Unix() / 3600}, r.Account)
		e.counts[kindNamed(r.What)] += r.Count
		s.mu.Unlock()
	}
	for _, back := range uses {
		s := u.shard(back.Credential)
		s.mu.Lock()
		e := s.entry(entryKey{back.Credential, back.At.Unix() / 3600}, 0)
		use := e.secret(back.Secret)
		use.Count += back.Count
		if use.At.Before(back.At) {
			use.At, use.Address, use.UserAgent = back.At, back.Address, back.UserAgent
		}
		s.mu.Unlock()
	}
}
