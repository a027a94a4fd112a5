package limit

import (
	"context"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var morning = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A clock is time that a test moves.
type clock struct{ at time.Time }

func newClock() *clock                     { return &clock{at: morning} }
func (c *clock) now() time.Time            { return c.at }
func (c *clock) moves(by time.Duration)    { c.at = c.at.Add(by) }
func addr(s string) netip.Addr             { return netip.MustParseAddr(s) }
func perMinute(n int64) auth.Rate          { return auth.Rate{Count: n, Per: time.Minute} }
func burst(r auth.Rate, n int64) auth.Rate { r.Burst = n; return r }
func exchanges(r auth.Rate) Rule           { return Rule{Name: "exchange_per_address", Rate: r} }
func take(l *Limiter, r Rule, k Key, n int) { // n times
	for range n {
		l.Take(r, k)
	}
}

func TestABurstThenAnEvenRate(t *testing.T) {
	c := newClock()
	l := New(Config{Now: c.now})
	rule := exchanges(burst(perMinute(600), 100))
	key := AddressKey(addr("192.0.2.7"))

	got := l.Take(rule, key)
	want := auth.Limit{
		Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second,
		Remaining: 99, Reset: 100 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first: (-want +got)\n%s", diff)
	}
	take(l, rule, key, 99)
	got = l.Take(rule, key)
	want = auth.Limit{
		Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second,
		Reset: 10 * time.Second, Refused: true, RetryAfter: 100 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the 101st: (-want +got)\n%s", diff)
	}
	if other := l.Take(rule, AddressKey(addr("192.0.2.8"))); other.Refused {
		t.Error("another address was refused too")
	}
	if other := l.Take(Rule{"failures_per_address", rule.Rate}, key); other.Refused {
		t.Error("another limit was used up too")
	}

	c.moves(got.RetryAfter - 1)
	if !l.Take(rule, key).Refused {
		t.Error("one came before it should")
	}
	c.moves(1)
	if l.Take(rule, key).Refused {
		t.Error("one that waited for RetryAfter was refused")
	}
	if !l.Take(rule, key).Refused {
		t.Error("two came in the time of one")
	}
}

func TestNoRateIsNoLimit(t *testing.T) {
	l := New(Config{})
	rule, key := Rule{Name: "requests_per_account"}, TextKey("100001")
	if got := l.Take(rule, key); got != (auth.Limit{}) {
		t.Errorf("take: got %+v, want none", got)
	}
	if got := l.Peek(rule, key); got != (auth.Limit{}) {
		t.Errorf("peek: got %+v, want none", got)
	}
	l.Refund(rule, key)
	if l.Len() != 0 {
		t.Errorf("a bucket was made for no limit")
	}
}

func TestPeekAndRefund(t *testing.T) {
	c := newClock()
	l := New(Config{Now: c.now})
	rule, key := exchanges(burst(perMinute(60), 2)), TextKey("u_abc")
	l.Refund(rule, key)
	if got := l.Peek(rule, key).Remaining; got != 2 {
		t.Errorf("after a refund of nothing: got %d left, want 2", got)
	}
	take(l, rule, key, 2)
	for range 2 { // looking costs nothing
		if got := l.Peek(rule, key); !got.Refused || got.RetryAfter != time.Second || got.Remaining != 0 {
			t.Errorf("peek at an empty bucket: got %+v, want refused for a second", got)
		}
	}
	l.Refund(rule, key)
	if got := l.Peek(rule, key); got.Refused || got.Remaining != 1 {
		t.Errorf("after a refund: got %+v, want 1 left", got)
	}
	l.Refund(rule, key)
	if l.Len() != 0 {
		t.Error("a full bucket was kept")
	}
}

// Rates change while a server runs; so does a clock. Neither may lock anybody out for longer than an empty bucket does.
func TestALowerRateOrAClockPutBack(t *testing.T) {
	c := newClock()
	l := New(Config{Now: c.now})
	key := TextKey("100001")
	slow, fast := Rule{"requests", auth.Rate{Count: 1, Per: 24 * time.Hour}}, Rule{"requests", perMinute(60)}
	l.Take(slow, key)
	if got := l.Take(fast, key); !got.Refused || got.Reset != time.Minute || got.RetryAfter != time.Second {
		t.Errorf("after the rate was raised: got %+v, want an empty bucket of the new rate", got)
	}
	c.moves(time.Second)
	if l.Take(fast, key).Refused {
		t.Error("a second later: refused")
	}
	looked := TextKey("100002")
	l.Take(slow, looked)
	l.Peek(fast, looked)
	c.moves(time.Second)
	if l.Peek(fast, looked).Refused {
		t.Error("a bucket that was only looked at does not fill by its new rate")
	}
	c.moves(-time.Hour)
	if got := l.Take(fast, key); got.RetryAfter > time.Second {
		t.Errorf("clock put back: got %v to wait, want a second at most", got.RetryAfter)
	}
}

// A bucket of tokens, with fractions: what GCRA must come to.
type naive struct {
	tokens, capacity *big.Rat
	interval         int64
	at               time.Time
}

func (n *naive) until(now time.Time) {
	gained := big.NewRat(int64(now.Sub(n.at)), n.interval)
	n.at = now
	n.add(gained)
}

func (n *naive) add(more *big.Rat) {
	n.tokens.Add(n.tokens, more)
	if n.tokens.Cmp(n.capacity) > 0 {
		n.tokens.Set(n.capacity)
	}
}

var one = big.NewRat(1, 1)

func (n *naive) limit(name string, charge bool) auth.Limit {
	l := auth.Limit{Name: name, Quota: n.capacity.Num().Int64()}
	nanos := func(tokens *big.Rat) time.Duration {
		r := new(big.Rat).Mul(tokens, big.NewRat(n.interval, 1))
		return time.Duration(r.Num().Int64()) // whole, for times and intervals are
	}
	l.Window = nanos(n.capacity)
	if n.tokens.Cmp(one) < 0 {
		l.Refused = true
		l.RetryAfter = nanos(new(big.Rat).Sub(one, n.tokens))
	} else if charge {
		n.tokens.Sub(n.tokens, one)
	}
	l.Remaining = new(big.Int).Quo(n.tokens.Num(), n.tokens.Denom()).Int64()
	l.Reset = nanos(new(big.Rat).Sub(n.capacity, n.tokens))
	return l
}

func TestTheLimiterIsABucketOfTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		l := New(Config{Now: c.now})
		var rules []Rule
		for i := range 3 {
			rules = append(rules, Rule{fmt.Sprintf("rule%d", i), auth.Rate{
				Count: rapid.Int64Range(1, 1000).Draw(t, "count"),
				Per:   rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "per"),
				Burst: rapid.Int64Range(0, 5).Draw(t, "burst"),
			}})
		}
		keys := []Key{AddressKey(addr("192.0.2.1")), AddressKey(addr("2001:db8::1")), TextKey("a"), {}}
		models := map[bucketID]*naive{}
		pick := func(t *rapid.T) (Rule, Key, *naive) {
			rule, key := rapid.SampledFrom(rules).Draw(t, "rule"), rapid.SampledFrom(keys).Draw(t, "key")
			id := bucketID{rule.Name, key}
			if models[id] == nil {
				capacity := big.NewRat(rule.Rate.Capacity(), 1)
				models[id] = &naive{
					tokens: new(big.Rat).Set(capacity), capacity: capacity, at: c.at,
					interval: (int64(rule.Rate.Per) + rule.Rate.Count - 1) / rule.Rate.Count,
				}
			}
			models[id].until(c.at)
			return rule, key, models[id]
		}
		same := func(t *rapid.T, did string, got, want auth.Limit) {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s: (-want +got)\n%s", did, diff)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				rule, key, model := pick(t)
				same(t, "take", l.Take(rule, key), model.limit(rule.Name, true))
			},
			"peek": func(t *rapid.T) {
				rule, key, model := pick(t)
				same(t, "peek", l.Peek(rule, key), model.limit(rule.Name, false))
			},
			"refund": func(t *rapid.T) {
				rule, key, model := pick(t)
				l.Refund(rule, key)
				model.add(one)
			},
			"a while": func(t *rapid.T) {
				c.moves(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "while")))
			},
			"a moment": func(t *rapid.T) {
				c.moves(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "moment")))
			},
			"sweep": func(t *rapid.T) { l.sweep() },
		})
	})
}

func TestTheArithmeticHoldsAtItsEdges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := meterOf(auth.Rate{
			Count: rapid.Int64().Draw(t, "count"),
			Per:   time.Duration(rapid.Int64().Draw(t, "per")),
			Burst: rapid.Int64().Draw(t, "burst"),
		})
		full := rapid.Int64().Draw(t, "full")
		now := rapid.Int64Range(-1<<62, 1<<62).Draw(t, "now")
		next, ok := m.take(full, now)
		if m.interval < 1 || m.capacity < 1 || m.span < m.interval {
			t.Fatalf("meter %+v", m)
		}
		if next < now || next > now+m.span {
			t.Fatalf("%+v at %d: full again at %d", m, now, next)
		}
		l := m.limit("", next, now, !ok)
		if l.Remaining < 0 || l.Remaining > l.Quota || l.Reset < 0 || l.Reset > l.Window || l.RetryAfter < 0 || !ok && l.RetryAfter == 0 {
			t.Fatalf("%+v", l)
		}
	})
}

func TestManyAtOnceGetExactlyWhatThereIs(t *testing.T) {
	l := New(Config{Now: newClock().now})
	rule, key := exchanges(burst(perMinute(1), 1000)), AddressKey(addr("192.0.2.7"))
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				if !l.Take(rule, key).Refused {
					in.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := in.Load(); got != 1000 {
		t.Errorf("got in: %d, want 1000", got)
	}
}

func TestKeys(t *testing.T) {
	for _, same := range [][2]string{
		{"192.0.2.7", "::ffff:192.0.2.7"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
		{"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if a, b := AddressKey(addr(same[0])), AddressKey(addr(same[1])); a != b {
			t.Errorf("%s and %s: got %v and %v, want one key", same[0], same[1], a, b)
		}
	}
	for _, apart := range [][2]string{
		{"192.0.2.7", "192.0.2.8"},
		{"2001:db8:1:2::1", "2001:db8:1:3::1"},
		{"10.0.0.1", "::10.0.0.1"},
	} {
		if a, b := AddressKey(addr(apart[0])), AddressKey(addr(apart[1])); a == b {
			t.Errorf("%s and %s: one key %v", apart[0], apart[1], a)
		}
	}
	if AddressKey(netip.Addr{}) != (Key{}) {
		t.Error("no address has a key of its own")
	}
	long := TextKey(strings.Repeat("x", 1<<20))
	if len(long.Text) > 40 {
		t.Errorf("a long text is kept: %d bytes", len(long.Text))
	}
	if TextKey(long.Text) == long {
		t.Error("a text has the key of a longer one")
	}
	if TextKey("u_a") == TextKey("u_A") {
		t.Error("two identifiers have one key")
	}
}

func TestFullBucketsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		done := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() { done <- l.Run(ctx) }()
		rule := exchanges(perMinute(60))
		for i := range 5000 {
			l.Take(rule, TextKey(fmt.Sprint(i)))
		}
		take(l, rule, TextKey("busy"), 60)
		time.Sleep(sweepEvery + time.Second)
		if got := l.Len(); got != 1 {
			t.Errorf("buckets after a sweep: got %d, want 1", got)
		}
		if got := l.Peek(rule, TextKey("busy")).Remaining; got != 31 {
			t.Errorf("left in the one that is not full: got %d, want 31", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// Somebody floods us with names. He loses his own buckets, not the one that holds him back.
func TestAFloodDrivesOutTheLeastRestricted(t *testing.T) {
	const most = 4000
	c := newClock()
	l := New(Config{Now: c.now, MaxBuckets: most})
	hourly := Rule{"failures_per_identifier", auth.Rate{Count: 100, Per: time.Hour, Burst: 20}}
	quick := exchanges(burst(perMinute(600), 100))
	victim, busy := TextKey("u_victim"), AddressKey(addr("192.0.2.7"))
	take(l, hourly, victim, 15)
	take(l, quick, busy, 60) // full again in 6 s, but more than half used
	for i := range 20 * most {
		l.Take(hourly, TextKey(fmt.Sprint("made up ", i)))
		if i%1000 == 0 && l.Len() > most {
			t.Fatalf("%d buckets, want %d at most", l.Len(), most)
		}
	}
	if got := l.Peek(hourly, victim).Remaining; got != 5 {
		t.Errorf("the victim's bucket: got %d left, want 5", got)
	}
	if got := l.Peek(quick, busy).Remaining; got != 40 {
		t.Errorf("the busy address's bucket: got %d left, want 40", got)
	}
	c.moves(time.Hour)
	l.Take(hourly, TextKey("later"))
	l.sweep()
	if got := l.Len(); got > 1 {
		t.Errorf("an hour later: %d buckets, want 1", got)
	}
}

func TestOneBucketIsTheLeast(t *testing.T) {
	l := New(Config{Now: newClock().now, MaxBuckets: 1})
	for i := range 10 {
		if l.Take(exchanges(perMinute(60)), TextKey(fmt.Sprint(i))).Refused {
			t.Error("refused")
		}
		if l.Len() != 1 {
			t.Errorf("%d buckets, want 1", l.Len())
		}
	}
}

func TestNothingIsAllocatedForABucketThatIsThere(t *testing.T) {
	l := New(Config{})
	rule := exchanges(perMinute(1_000_000))
	from := addr("2001:db8::1")
	l.Take(rule, AddressKey(from))
	if got := testing.AllocsPerRun(100, func() { l.Take(rule, AddressKey(from)); l.Peek(rule, AddressKey(from)) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Config{})
	rule := exchanges(perMinute(600))
	b.Run("one address", func(b *testing.B) {
		b.ReportAllocs()
		from := addr("192.0.2.7")
		for b.Loop() {
			l.Take(rule, AddressKey(from))
		}
	})
	b.Run("all cores, a credential each", func(b *testing.B) {
		b.ReportAllocs()
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			key := TextKey(fmt.Sprintf("%012d", n.Add(1)))
			for pb.Next() {
				l.Take(rule, key)
			}
		})
	})
	b.Run("a flood over the brim", func(b *testing.B) {
		b.ReportAllocs()
		l := New(Config{MaxBuckets: 100_000})
		var ip [4]byte
		for i := 0; b.Loop(); i++ {
			ip = [4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
			l.Take(rule, AddressKey(netip.AddrFrom4(ip)))
		}
	})
}
