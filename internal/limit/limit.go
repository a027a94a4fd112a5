// Package limit says how often somebody may come, from where, and where a request came from: rate limits, allowlists of
// addresses, and the caller's address behind trusted proxies. It leaves to others which limits there are and when each is
// charged (gate), where lists are stored (store) and what a refused caller reads (the contracts).
//
// The invariants: an address is compared without the IPv4-in-IPv6 mapping, and one with a zone matches nothing; a bucket
// never lets in more than its rate says, however many callers ask at once; memory is bounded, whatever callers send.
package limit

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A Rule is one configured limit: its name, as callers read it in RateLimit, and its rate. Each pair of a name and a [Key]
// is a bucket of its own. A bucket outlives a change of its rule's rate; what was used of it stays used, at most all of it.
type Rule struct {
	Name string
	Rate auth.Rate
}

// A Key is whom a limit counts: an address, a text (an identifier, a credential, an account), or both. Make it with
// [AddressKey] or [TextKey]. It is comparable.
type Key struct {
	Addr netip.Addr
	Text string
}

// addressBits is how much of an IPv6 address a limit looks at: a customer of any provider has a /64 at least, and may
// draw a new address out of it for every request.
const addressBits = 64

// AddressKey is the key of an address: IPv4 as it is, also where it came mapped into IPv6, and the /64 of an IPv6 address.
// The zone does not count. All addresses that are none share one key.
func AddressKey(addr netip.Addr) Key {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(addressBits); err == nil {
			addr = p.Addr()
		}
	}
	return Key{Addr: addr}
}

// longestText is the longest text that is kept as it is.
const longestText = sha256.Size

// TextKey is the key of a text. A long one, which a caller may have made up, is kept as its SHA-256, so that no bucket is
// larger than a short one's. Two texts have the same key only if they are the same.
func TextKey(s string) Key {
	if len(s) <= longestText {
		return Key{Text: s}
	}
	sum := sha256.Sum256([]byte(s))
	return Key{Text: "#" + string(sum[:])} // one byte longer than any text that is kept, so never equal to one
}

// Config is what a [Limiter] needs. Its zero value works.
type Config struct {
	Now        func() time.Time // nil: the monotonic clock, which nobody sets
	MaxBuckets int              // at most so many buckets are kept; 0: 1,000,000, about 200 MB when all are in use
	Redis      *Redis           // buckets that replicas share as well; nil: none
}

const (
	defaultMaxBuckets = 1_000_000
	mostShards        = 64
	leastPerShard     = 1024 // fewer than that are not worth a lock of their own
	sweepEvery        = 30 * time.Second
)

// A Limiter keeps buckets in memory, in shards that lock apart, and where replicas share them in [Redis] too. A bucket that is full again is forgotten, for it says what
// one that never was says.
//
// There are at most [Config.MaxBuckets]. If a new one would be too many, the full ones go, and then those of which the
// smallest share is used, until an eighth is free. So whoever floods us with addresses or names that he does not use up
// drives out his own and those of others who asked seldom: these get back the little that they had used. To be forgotten
// when he has used a bucket up, he must nearly use up as many others as there is room for, and who has that many addresses
// is not held back by limits per address.
type Limiter struct {
	since  func() time.Duration // it was made
	seed   maphash.Seed
	shards []shard
	redis  *Redis // nil: nothing is shared
}

type shard struct {
	mu      sync.Mutex
	buckets map[bucketID]bucket
	most    int
	peak    int // the most buckets since the map was made: maps do not shrink
}

type bucketID struct {
	rule string
	key  Key
}

type bucket struct {
	full int64 // when it is full again, in nanoseconds since the limiter's start
	span int64 // in which it fills when empty
}

// New returns a limiter without any buckets. Call [Limiter.Run] too.
func New(config Config) *Limiter {
	l := &Limiter{since: stopwatch(config.Now), seed: maphash.MakeSeed(), redis: config.Redis}
	most := config.MaxBuckets
	if most <= 0 {
		most = defaultMaxBuckets
	}
	n := 1
	for n < mostShards && most/(2*n) >= leastPerShard {
		n *= 2
	}
	l.shards = make([]shard, n)
	for i := range l.shards {
		l.shards[i].buckets = make(map[bucketID]bucket)
		l.shards[i].most = max(most/n, 1)
	}
	return l
}

// stopwatch tells how much time has passed since it was made, by now, or, where that is nil, by the monotonic clock alone, which
// takes half as long to read.
func stopwatch(now func() time.Time) func() time.Duration {
	if now == nil {
		start := time.Now()
		return func() time.Duration { return time.Since(start) }
	}
	start := now()
	return func() time.Duration { return now().Sub(start) }
}

// take is [Limiter.Take] from a bucket in memory.
func (l *Limiter) take(rule Rule, key Key) auth.Limit {
	if rule.Rate.None() {
		return auth.Limit{}
	}
	m := meterOf(rule.Rate)
	id := bucketID{rule.Name, key}
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.elapsed()
	b, known := s.buckets[id]
	if !known {
		b.full = now
	}
	full, ok := m.take(b.full, now) // a bucket that never was is full, so never refused
	if !known {
		s.makeRoom(now)
		id.key.Text = strings.Clone(key.Text) // it may be a piece of a whole request
	}
	s.buckets[id] = bucket{full: full, span: m.span}
	s.peak = max(s.peak, len(s.buckets))
	return m.limit(rule.Name, full, now, !ok)
}

// peek is [Limiter.Peek] into a bucket in memory.
func (l *Limiter) peek(rule Rule, key Key) auth.Limit {
	if rule.Rate.None() {
		return auth.Limit{}
	}
	m := meterOf(rule.Rate)
	id := bucketID{rule.Name, key}
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.elapsed()
	b, known := s.buckets[id]
	if !known {
		b.full = now
	}
	full := m.within(b.full, now)
	if full < b.full { // its rate has changed: from now on it fills by the new one
		s.buckets[id] = bucket{full: full, span: m.span}
	}
	_, ok := m.take(full, now)
	return m.limit(rule.Name, full, now, !ok)
}

// refund is [Limiter.Refund] to a bucket in memory.
func (l *Limiter) refund(rule Rule, key Key) {
	if rule.Rate.None() {
		return
	}
	m := meterOf(rule.Rate)
	id := bucketID{rule.Name, key}
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.elapsed()
	b, known := s.buckets[id]
	if !known {
		return
	}
	full := m.within(b.full, now) - m.interval
	if full <= now {
		delete(s.buckets, id)
		return
	}
	s.buckets[id] = bucket{full: full, span: m.span}
}

// Len is how many buckets are kept.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}

// run forgets buckets that are full again, until ctx ends. It returns nil.
func (l *Limiter) run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.sweep()
		}
	}
}

func (l *Limiter) sweep() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.sweep(l.elapsed())
		s.mu.Unlock()
	}
}

// elapsed is taken under a shard's lock, so that time does not run backwards for a bucket.
func (l *Limiter) elapsed() int64 { return int64(l.since()) }

func (l *Limiter) shard(id bucketID) *shard {
	if len(l.shards) == 1 {
		return &l.shards[0]
	}
	return &l.shards[maphash.Comparable(l.seed, id)%uint64(len(l.shards))]
}

// sweep forgets the full ones, and gives the memory of a flood back.
func (s *shard) sweep(now int64) {
	for id, b := range s.buckets {
		if b.full <= now {
			delete(s.buckets, id)
		}
	}
	if s.peak > leastPerShard && len(s.buckets) < s.peak/4 {
		kept := make(map[bucketID]bucket, len(s.buckets))
		for id, b := range s.buckets {
			kept[id] = b
		}
		s.buckets, s.peak = kept, len(kept)
	}
}

// useSteps is in how many steps the share that is used of a bucket is told.
const useSteps = 64

func (b bucket) use(now int64) int {
	return int(min(max(b.full-now, 0)/(b.span/useSteps+1), useSteps-1))
}

// makeRoom makes room for one more. If there is none it frees an eighth at once, so that a flood pays for one walk through
// the shard in as many inserts as that, not for one each.
func (s *shard) makeRoom(now int64) {
	if len(s.buckets) < s.most {
		return
	}
	var used [useSteps]int
	for id, b := range s.buckets {
		if b.full <= now {
			delete(s.buckets, id)
			continue
		}
		used[b.use(now)]++
	}
	excess := len(s.buckets) - s.most*7/8
	if excess <= 0 {
		return
	}
	step, below := 0, 0 // all below step go, and of step itself as many as are still too many
	for below+used[step] < excess {
		below += used[step]
		step++
	}
	ofStep := excess - below
	for id, b := range s.buckets {
		switch use := b.use(now); {
		case use < step:
			delete(s.buckets, id)
		case use == step && ofStep > 0:
			delete(s.buckets, id)
			ofStep--
		}
	}
}
