package limit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/redistest"
)

// slowly is how long tests wait for Redis that are not about waiting, on a machine that is busy.
const slowly = 10 * time.Second

// namer names the buckets of an installation.
func namer(installation string) func(parts ...string) [sha256.Size]byte {
	return func(parts ...string) [sha256.Size]byte {
		h := hmac.New(sha256.New, []byte(installation))
		for _, p := range parts {
			fmt.Fprintf(h, "%d:%s", len(p), p)
		}
		return [sha256.Size]byte(h.Sum(nil))
	}
}

// A replica is a limiter that shares its buckets, and what it logged.
type replica struct {
	*Limiter
	log *beside.Said
}

// newReplica starts one that shares with those of the same servers and installation.
func newReplica(t testing.TB, servers []*redistest.Server, change func(*Config, *RedisConfig)) replica {
	t.Helper()
	log := new(beside.Said)
	shared := RedisConfig{
		Cluster: len(servers) > 1, Name: namer("ours"), Deadline: slowly, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, s := range servers {
		shared.Addresses = append(shared.Addresses, s.Addr())
	}
	var config Config
	if change != nil {
		change(&config, &shared)
	}
	r, err := NewRedis(shared)
	if err != nil {
		t.Fatal(err)
	}
	config.Redis = r
	l := New(config)
	l.Start(t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return replica{l, log}
}

func three(t testing.TB, servers []*redistest.Server, change func(*Config, *RedisConfig)) []replica {
	t.Helper()
	all := make([]replica, 3)
	for i := range all {
		all[i] = newReplica(t, servers, change)
		if all[i].redis.Away() {
			t.Fatalf("Redis is away: %s", all[i].log)
		}
	}
	return all
}

func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}

// nothingLasts fails if a key has no expiry, or if there is none at all, or one with a name that is not ours.
func nothingLasts(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	total := 0
	for _, s := range servers {
		lasting, all, err := s.Lasting()
		if err != nil || len(lasting) > 0 {
			t.Errorf("keys without an expiry: %v, %v", lasting, err)
		}
		total += all
		keys, err := s.Do("KEYS", "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys.([]any) {
			if !regexp.MustCompile(`^gatehouse:[\w-]{8}:([\w-]{22}|trial)$`).MatchString(k.(string)) {
				t.Errorf("a key that says too much: %v", k)
			}
		}
	}
	if total == 0 {
		t.Error("there is no key at all")
	}
}

// rush has many ask at once, each for a replica, and returns how many each let in. Together they ask each replica so often.
func rush(replicas []replica, rule Rule, key Key, times int) []int64 {
	const askers = 8
	in := make([]atomic.Int64, len(replicas))
	var all sync.WaitGroup
	for i, r := range replicas {
		for range askers {
			all.Go(func() {
				for range times / askers {
					if !r.Take(rule, key).Refused {
						in[i].Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	counts := make([]int64, len(in))
	for i := range in {
		counts[i] = in[i].Load()
	}
	return counts
}

func sum(counts []int64) int64 {
	n := int64(0)
	for _, c := range counts {
		n += c
	}
	return n
}

// hourly lets n in, and one more only long after the test.
func hourly(n int64) Rule {
	return Rule{"failures_per_identifier", auth.Rate{Count: 1, Per: time.Hour, Burst: n}}
}

// Three replicas, many callers: together they let in what one alone would, whatever their own clocks say.
func TestReplicasShareALimit(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{})
	ahead := []time.Duration{-20 * time.Second, 0, 20 * time.Second}
	at := 0
	replicas := three(t, []*redistest.Server{s}, func(c *Config, _ *RedisConfig) {
		by := ahead[at]
		at++
		c.Now = func() time.Time { return time.Now().Add(by) }
	})
	key := AddressKey(addr("192.0.2.7"))

	if in := rush(replicas, hourly(100), key, 160); sum(in) != 100 {
		t.Errorf("three replicas let in %v of a burst, want 100 together", in)
	}

	rule := exchanges(burst(auth.Rate{Count: 200, Per: time.Second}, 100))
	begun := time.Now()
	in := int64(0)
	for time.Since(begun) < 1500*time.Millisecond {
		in += sum(rush(replicas, rule, key, 16))
	}
	most := 100 + 200*time.Since(begun).Seconds()
	if got := float64(in); got > most+1 || got < 0.95*most {
		t.Errorf("three replicas let in %v in %v, want %.0f, and 5 %% fewer at most", in, time.Since(begun), most)
	}
	for _, r := range replicas {
		if n := r.redis.Failures(); n > 0 {
			t.Errorf("%d decisions were made without Redis", n)
		}
	}
	nothingLasts(t, s)
}

// What comes back to a bucket on one replica can be had on another, and a look costs nothing.
func TestWhatIsGivenBackIsSharedToo(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{})
	replicas := three(t, []*redistest.Server{s}, nil)
	rule, key := hourly(2), TextKey("u_abc")
	replicas[0].Take(rule, key)
	got := replicas[0].Take(rule, key)
	if got.Refused || got.Remaining != 0 || got.Quota != 2 || got.Window != 2*time.Hour || got.Reset > 2*time.Hour || got.Reset < 119*time.Minute {
		t.Errorf("the second: got %+v, want the last of 2", got)
	}
	for range 2 {
		got := replicas[1].Peek(rule, key)
		if !got.Refused || got.RetryAfter > time.Hour || got.RetryAfter < 59*time.Minute || got.Name != rule.Name {
			t.Errorf("another replica looks: got %+v, want refused for an hour", got)
		}
		if got := replicas[1].Take(rule, key); !got.Refused {
			t.Errorf("another replica takes: got %+v, want refused", got)
		}
	}
	replicas[0].Refund(rule, key)
	if got := replicas[1].Peek(rule, key); got.Refused || got.Remaining != 1 {
		t.Errorf("after one was given back: got %+v, want 1 left", got)
	}
	if replicas[2].Take(rule, key).Refused {
		t.Error("what was given back cannot be had on a third replica")
	}
	replicas[0].Refund(rule, key)
	replicas[2].Refund(rule, key)
	replicas[2].Refund(rule, key) // of nothing
	if got := replicas[1].Peek(rule, key); got.Remaining != 2 {
		t.Errorf("all given back: got %+v, want 2 left", got)
	}
	if left, err := s.Do("EXISTS", replicas[0].redis.key(Charge{rule, key})); err != nil || left.(int64) != 0 {
		t.Errorf("a full bucket was kept: %v, %v", left, err)
	}
}

func TestAllOrNone(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for name, l := range map[string]*Limiter{
		"memory": New(Config{}), "redis": newReplica(t, []*redistest.Server{s}, nil).Limiter,
	} {
		t.Run(name, func(t *testing.T) {
			wide, narrow := Charge{exchanges(hourly(5).Rate), TextKey("a")}, Charge{hourly(1), TextKey("b")}
			none := Charge{Rule{Name: "requests_per_account"}, TextKey("a")}
			if got := l.TakeAll(wide, none, narrow); got.Refused || got.Name != narrow.Rule.Name {
				t.Errorf("the first: got %+v, want the tightest, which is empty", got)
			}
			for range 5 {
				if got := l.TakeAll(wide, narrow, none); !got.Refused || got.Name != narrow.Rule.Name || got.RetryAfter == 0 {
					t.Errorf("the next: got %+v, want refused by the narrow one", got)
				}
			}
			if got := l.Peek(wide.Rule, wide.Key); got.Remaining != 4 {
				t.Errorf("a bucket beside one that refuses: got %+v, want 4 left", got)
			}
			l.RefundAll(wide, none, narrow)
			if got := l.TakeAll(narrow, wide); got.Refused {
				t.Errorf("after all was given back: got %+v", got)
			}
			if got := l.TakeAll(); got != (auth.Limit{}) {
				t.Errorf("no limits: got %+v, want none", got)
			}
			if got := l.TakeAll(none); got != (auth.Limit{}) {
				t.Errorf("a limit without a rate: got %+v, want none", got)
			}
		})
	}

	// One replica alone does not know that the bucket is empty.
	replicas := three(t, []*redistest.Server{s}, nil)
	wide, narrow := Charge{exchanges(hourly(5).Rate), TextKey("c")}, Charge{hourly(1), TextKey("d")}
	replicas[0].TakeAll(wide, narrow)
	for range 9 {
		if got := replicas[1].TakeAll(wide, narrow); !got.Refused || got.Name != narrow.Rule.Name {
			t.Errorf("another replica: got %+v, want refused by the narrow one", got)
		}
	}
	if got := replicas[2].Peek(wide.Rule, wide.Key); got.Remaining != 4 {
		t.Errorf("a bucket beside one that refuses elsewhere: got %+v, want 4 left", got)
	}
}

// Two installations on one Redis have nothing in common, and neither has two buckets that look alike.
func TestNames(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{})
	ours := newReplica(t, []*redistest.Server{s}, nil)
	theirs := newReplica(t, []*redistest.Server{s}, func(_ *Config, r *RedisConfig) { r.Name = namer("theirs") })
	rule := hourly(1)
	for _, key := range []Key{
		AddressKey(addr("192.0.2.7")), AddressKey(addr("192.0.2.8")), AddressKey(addr("2001:db8::1")), TextKey("\xc0\x00\x02\x07"),
		TextKey("192.0.2.7"), TextKey(""), TextKey(strings.Repeat("x", 100)),
	} {
		if ours.Take(rule, key).Refused || theirs.Take(rule, key).Refused {
			t.Errorf("%v was charged before it came", key)
		}
		if !newReplica(t, []*redistest.Server{s}, nil).Take(rule, key).Refused {
			t.Errorf("%v was not charged", key)
		}
		if ours.Take(Rule{"another", rule.Rate}, key).Refused {
			t.Errorf("%v: two limits share a bucket", key)
		}
	}
	nothingLasts(t, s)
}

// What others write under our keys is a bucket that is not there, and is mended; a number from the future is an empty one.
func TestWrongDataIsMended(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{})
	r := newReplica(t, []*redistest.Server{s}, nil)
	do := func(args ...any) any {
		t.Helper()
		got, err := s.Do(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return got
	}
	rule := hourly(3)
	for i, write := range [][]any{
		{"SET", "garbage"},
		{"SET", ""},
		{"SET", "nan"},
		{"SET", "inf"},
		{"SET", "-1"},
		{"SET", "1e300"},
		{"SET", "0x10"},
		{"SET", "12 "},
		{"SET", strings.Repeat("9", 17)},
		{"SET", "1.5"},
		{"SET", "0"},
		{"SET", "\x00"},
		{"RPUSH", "a", "b"},
		{"HSET", "a", "b"},
		{"SADD", "a"},
		{"ZADD", "1", "a"},
		{"XADD", "*", "a", "b"},
	} {
		for _, act := range []string{"take", "peek", "refund"} {
			key := TextKey(fmt.Sprint(i, act))
			name := r.redis.key(Charge{rule, key})
			do(append([]any{write[0], name}, write[1:]...)...)
			switch act {
			case "take":
				if got := r.Take(rule, key); got.Refused || got.Remaining != 2 {
					t.Errorf("take after %v: got %+v, want 2 left of 3", write, got)
				}
				if ttl := do("PTTL", name).(int64); ttl <= 0 {
					t.Errorf("take after %v: it is kept for %d ms", write, ttl)
				}
			case "peek":
				if got := r.Peek(rule, key); got.Refused || got.Remaining != 3 {
					t.Errorf("peek after %v: got %+v, want 3 left of 3", write, got)
				}
			case "refund":
				r.Refund(rule, key)
				if do("EXISTS", name).(int64) != 0 {
					t.Errorf("refund after %v: it is kept", write)
				}
			}
		}
	}
	key := TextKey("future")
	do("SET", r.redis.key(Charge{rule, key}), strings.Repeat("9", 16))
	if got := r.Take(rule, key); !got.Refused || got.RetryAfter > time.Hour {
		t.Errorf("a number from the future: got %+v, want refused for an hour", got)
	}
	if n := r.redis.Failures(); n > 0 {
		t.Errorf("%d decisions were made without Redis", n)
	}
	nothingLasts(t, s)
}

// A server that forgot the script is told it again, within the same decision.
func TestTheScriptIsForgotten(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	replicas := three(t, []*redistest.Server{s}, nil)
	in := 0
	for i := range 12 {
		if _, err := s.Do("SCRIPT", "FLUSH"); err != nil {
			t.Fatal(err)
		}
		if !replicas[i%3].TakeAll(Charge{hourly(8), TextKey("a")}, Charge{hourly(10), TextKey("b")}).Refused {
			in++
		}
	}
	if in != 8 || replicas[0].redis.Failures() != 0 {
		t.Errorf("got %d in and %d failures, want 8 and none", in, replicas[0].redis.Failures())
	}
}

// The script is the meter: whatever is asked when, both come to the same.
func TestTheScriptIsTheMeter(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{})
	client := newReplica(t, []*redistest.Server{s}, nil).redis.client
	const clock, expiry = "redis.call('TIME')", "math.ceil((full - now) / 1000)"
	if strings.Count(script, clock) != 1 || strings.Count(script, expiry) != 1 {
		t.Fatal("the script does not look as this test knows it")
	}
	// Its clock is the test's, and keys outlast the test, whose clock is not the server's.
	text := strings.NewReplacer(clock, "{ARGV[4], ARGV[5]}", expiry, "3600000").Replace(script)
	keys := 0
	rapid.Check(t, func(t *rapid.T) {
		keys++
		key := fmt.Sprint("key ", keys)
		rates := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) meter {
			r := auth.Rate{
				Count: rapid.Int64Range(1, 100_000).Draw(t, "count"),
				Per:   rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "per"),
				Burst: rapid.Int64Range(0, 5).Draw(t, "burst"),
			}
			return meterOf(r).inMicroseconds()
		}), 1, 2).Draw(t, "rates")
		now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro()
		full := int64(0) // there is none
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			m := rapid.SampledFrom(rates).Draw(t, "rate")
			now += rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 2*m.interval/1000), rapid.Int64Range(-10_000_000, 10_000_000)).Draw(t, "passes")
			what := rapid.SampledFrom([]act{charge, charge, charge, look, giveBack}).Draw(t, "act")

			ns := func(us int64) int64 { return us * 1000 }
			within := m.within(ns(full), ns(now))
			next, ok := m.take(within, ns(now))
			switch what {
			case look:
				next = within
			case giveBack:
				next, ok = max(within-m.interval, ns(now)), true
			}
			if full = next / 1000; full <= now {
				full = 0
			}

			one := step{meter: m, what: what}
			got, err := client.Eval(context.Background(), text, []string{key}, append(one.arguments(), now/1_000_000, now%1_000_000)...).Int64Slice()
			if err != nil {
				t.Fatal(err)
			}
			refused := int64(0)
			if !ok {
				refused = 1
			}
			if got[0] != max(full-now, 0) || got[1] != refused {
				t.Fatalf("act %d: got %v, want %d µs until full, refused %d", what, got, full-now, refused)
			}
		}
	})
}

// Rates in Redis are whole microseconds, which costs little where a limit makes sense.
func TestWholeMicroseconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exact := meterOf(auth.Rate{
			Count: rapid.Int64Range(1, 50_000).Draw(t, "count"), Per: time.Second, Burst: rapid.Int64Range(0, 1e9).Draw(t, "burst"),
		})
		m := exact.inMicroseconds()
		if m.interval%1000 != 0 || m.span%1000 != 0 || m.interval < exact.interval || float64(m.interval) > 1.05*float64(exact.interval) ||
			m.capacity != exact.capacity {
			t.Fatalf("%+v became %+v", exact, m)
		}
	})
	if most := time.Now().UnixMicro() + longestSpan/1000; most > 1<<53 {
		t.Errorf("%d is beyond what Lua counts exactly", most)
	}
}

// Killed, frozen, flushed, restarted, while all replicas are asked as fast as they can: each lets in what one alone may, at
// most, nobody waits, and afterwards they share again.
func TestRedisGoesAway(t *testing.T) {
	for _, story := range []struct {
		name              string
		tls, cluster, one bool
		away, back        func(s *redistest.Server) error
		isFlush           bool
	}{
		{name: "killed", away: (*redistest.Server).Kill, back: (*redistest.Server).Restart},
		{name: "frozen", away: (*redistest.Server).Freeze, back: (*redistest.Server).Thaw},
		{name: "flushed", away: (*redistest.Server).Flush, back: (*redistest.Server).Flush, isFlush: true},
		{name: "frozen, over TLS", tls: true, away: (*redistest.Server).Freeze, back: (*redistest.Server).Thaw},
		{name: "one of a cluster frozen", cluster: true, one: true, away: (*redistest.Server).Freeze, back: (*redistest.Server).Thaw},
		{name: "a whole cluster frozen", cluster: true, away: (*redistest.Server).Freeze, back: (*redistest.Server).Thaw},
	} {
		t.Run(story.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			var servers []*redistest.Server
			if story.cluster {
				servers = redistest.StartCluster(t, redistest.Config{TLS: story.tls})
			} else {
				servers = append(servers, redistest.Start(t, redistest.Config{TLS: story.tls}))
			}
			each := func(do func(*redistest.Server) error) {
				t.Helper()
				for i, s := range servers {
					if story.one && i > 0 {
						break
					}
					if err := do(s); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Run("story", func(t *testing.T) {
				const deadline = 200 * time.Millisecond
				replicas := three(t, servers, func(_ *Config, r *RedisConfig) {
					r.Deadline = deadline
					if story.tls {
						r.TLS = trusting(t, servers[0])
					}
				})
				rule, key := hourly(100), AddressKey(addr("192.0.2.7"))
				in := make([]atomic.Int64, len(replicas))
				var slowest atomic.Int64
				ctx, stop := context.WithCancel(t.Context())
				var load sync.WaitGroup
				for i, r := range replicas {
					for n := range 4 {
						load.Go(func() {
							for n := n; ctx.Err() == nil; n++ {
								begun := time.Now()
								if n%4 == 0 {
									r.Peek(rule, key)
									r.Take(Rule{"other", rule.Rate}, TextKey(fmt.Sprint(n))) // which is never refused
								} else if !r.Take(rule, key).Refused {
									in[i].Add(1)
								}
								slowest.Store(max(slowest.Load(), int64(time.Since(begun))))
								time.Sleep(100 * time.Microsecond)
							}
						})
					}
				}
				total := func() int64 { return in[0].Load() + in[1].Load() + in[2].Load() }
				soon(t, "the burst is used up", func() bool { return total() >= 100 })
				if n := total(); n > 100 && replicas[0].redis.Failures()+replicas[1].redis.Failures()+replicas[2].redis.Failures() == 0 {
					t.Errorf("together they let in %d, want 100", n)
				}
				each(story.away)
				away := func() int {
					n := 0
					for _, r := range replicas {
						if r.redis.Away() {
							n++
						}
					}
					return n
				}
				if story.isFlush {
					soon(t, "a flush loosens the limit", func() bool { return total() > 100 })
				} else {
					soon(t, "all do without Redis", func() bool { return away() == 3 })
					soon(t, "each counts for itself", func() bool { return total() == 300 })
					soon(t, "all have told of it", func() bool {
						return strings.Count(replicas[0].log.String()+replicas[1].log.String()+replicas[2].log.String(), awayTold) == 3
					})
				}
				each(story.back)
				soon(t, "Redis is back", func() bool { return away() == 0 })
				failed := func() int64 {
					return replicas[0].redis.Failures() + replicas[1].redis.Failures() + replicas[2].redis.Failures()
				}
				round := 0
				soon(t, "all decide together again", func() bool {
					round++
					shared := hourly(50)
					shared.Name = fmt.Sprint("afterwards ", round)
					before := failed()
					n := sum(rush(replicas, shared, key, 80))
					if failed() != before || away() > 0 {
						return false // on a busy machine an answer can be late: that replica then counts for itself
					}
					if n != 50 {
						t.Errorf("afterwards they let in %d together, want 50", n)
					}
					return true
				})
				stop()
				load.Wait()
				for i := range in {
					if n := in[i].Load(); n > 100 {
						t.Errorf("replica %d let in %d, want 100 at most", i, n)
					}
				}
				// A step and what follows it wait once each; the rest is for a busy machine.
				if got := time.Duration(slowest.Load()); got > 3*deadline+10*time.Second {
					t.Errorf("somebody waited for %v", got)
				}
				for i, r := range replicas {
					said := r.log.String()
					if got := strings.Count(said, awayTold); got > 1 {
						t.Errorf("replica %d told of it %d times:\n%s", i, got, said)
					}
					if strings.Contains(said, awayTold) && !strings.Contains(said, "Redis answers again") {
						t.Errorf("replica %d does not say that it is back:\n%s", i, said)
					}
				}
				nothingLasts(t, servers...)
			})
			soon(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+3*len(servers) }) // the servers' own
		})
	}
}

// awayTold is a piece of what is logged when Redis does not answer.
const awayTold = "Redis does not answer"

// A replica that starts without Redis goes on without it, and joins the others when it comes.
func TestRedisComesLater(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	r := newReplica(t, []*redistest.Server{s}, nil)
	if !r.redis.Away() || r.Take(hourly(1), TextKey("a")).Refused || !r.Take(hourly(1), TextKey("a")).Refused {
		t.Error("without Redis a replica does not count for itself")
	}
	if said := r.log.String(); strings.Count(said, awayTold) != 1 {
		t.Errorf("got the log %q, want it told once", said)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	soon(t, "Redis is there", func() bool { return !r.redis.Away() })
	if r.redis.Failures() != 0 {
		t.Errorf("got %d failures, want none: nobody was kept waiting", r.redis.Failures())
	}
}

// A Redis that answers and cannot do its work is as good as none.
func TestRedisThatCannot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]redistest.Config{
		"memory is full":      {Args: []string{"--maxmemory", "100kb", "--maxmemory-policy", "noeviction"}},
		"wants a password":    {Password: "s3cret"},
		"takes too few":       {Args: []string{"--min-replicas-to-write", "1"}},
		"speaks TLS":          {TLS: true},
		"has no such command": {Args: []string{"--rename-command", "EVALSHA", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, c)
			r := newReplica(t, []*redistest.Server{s}, func(_ *Config, c *RedisConfig) {
				c.Credentials = func() (string, string) { return "", "hunter2" }
			})
			if name == "wants a password" && !strings.Contains(r.log.String(), "WRONGPASS") {
				t.Errorf("the log does not say why: %s", r.log)
			}
			if !r.redis.Away() || r.Take(hourly(1), TextKey("a")).Refused || !r.Take(hourly(1), TextKey("a")).Refused {
				t.Errorf("it was taken for one that can: %s", r.log)
			}
			if said := r.log.String(); strings.Contains(said, "hunter2") || strings.Count(said, awayTold) != 1 {
				t.Errorf("got the log %q, want it told once, without the password", said)
			}
		})
	}
}

// The user that the manual gives us can do all that is needed, in clear text or not, alone or in a cluster.
func TestTheLeastThatAUserNeeds(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "A user for it (ACL) needs `")
	rights, _, _ := strings.Cut(rest, "`")
	if !strings.HasPrefix(rights, "~gatehouse:* +") {
		t.Fatalf("the manual says %q", rights)
	}
	args := []any{"ACL", "SETUSER", "gatehouse", "on", ">s3cret"}
	for _, r := range strings.Fields(rights) {
		args = append(args, r)
	}
	for _, servers := range [][]*redistest.Server{{redistest.Start(t, redistest.Config{})}, redistest.StartCluster(t, redistest.Config{})} {
		for _, s := range servers {
			if _, err := s.Do(args...); err != nil {
				t.Fatal(err)
			}
		}
		replicas := three(t, servers, func(_ *Config, c *RedisConfig) {
			c.Credentials = func() (string, string) { return "gatehouse", "s3cret" }
			if !c.Cluster {
				c.Database = 1
			}
		})
		for i := range 5 {
			if in := rush(replicas, hourly(20), TextKey(fmt.Sprint(i)), 40); sum(in) != 20 {
				t.Errorf("three replicas let in %v, want 20 together", in)
			}
			replicas[0].Refund(hourly(20), TextKey(fmt.Sprint(i)))
			replicas[0].Take(hourly(1), TextKey(fmt.Sprint("given back", i)))
			replicas[0].Refund(hourly(1), TextKey(fmt.Sprint("given back", i)))
		}
		if _, err := replicas[0].redis.State(t.Context()); err != nil {
			t.Error(err)
		}
		if n := replicas[0].redis.Failures(); n > 0 {
			t.Errorf("%d decisions were made without Redis", n)
		}
	}
}

// Connections that nobody used while Redis was restarted cost no decision; over TLS, where they do not show what they are, one,
// and they are gone together.
func TestARestartThatNobodySaw(t *testing.T) {
	t.Parallel()
	for _, c := range []redistest.Config{{}, {TLS: true}} {
		s := redistest.Start(t, c)
		r := newReplica(t, []*redistest.Server{s}, func(_ *Config, shared *RedisConfig) {
			if c.TLS {
				shared.TLS = trusting(t, s)
			}
		})
		for range 3 {
			rush([]replica{r}, hourly(100), TextKey("a"), 40) // over several connections
			if err := errors.Join(s.Kill(), s.Restart()); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			for range 20 {
				if r.Take(hourly(200), TextKey("b")).Refused {
					t.Error("refused")
				}
			}
			soon(t, "it is back", func() bool { return !r.redis.Away() })
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("with TLS %v it took %v to be back", c.TLS, took)
			}
		}
		if n := r.redis.Failures(); n > 0 && !c.TLS || n > 3 {
			t.Errorf("with TLS %v: %d decisions were made without Redis", c.TLS, n)
		}
	}
}

// The address leads to another server, while connections to the former one stand, which has become a standby.
func TestAFailoverBehindTheAddress(t *testing.T) {
	t.Parallel()
	former, next := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{})
	var front atomic.Pointer[redistest.Server]
	front.Store(former)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var passed sync.WaitGroup
	defer passed.Wait()
	defer l.Close()
	passed.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", front.Load().Addr())
			if err != nil {
				in.Close()
				continue
			}
			for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
				passed.Go(func() {
					defer ends[0].Close()
					defer ends[1].Close()
					_, _ = io.Copy(ends[0], ends[1])
				})
			}
		}
	})
	t.Run("story", func(t *testing.T) {
		r := newReplica(t, nil, func(_ *Config, c *RedisConfig) { c.Addresses = []string{l.Addr().String()} })
		rush([]replica{r}, hourly(5), TextKey("a"), 16)
		front.Store(next)
		if _, err := former.Do("REPLICAOF", "127.0.0.1", strings.TrimPrefix(next.Addr(), "127.0.0.1:")); err != nil {
			t.Fatal(err)
		}
		soon(t, "the replica notices", func() bool {
			r.Take(hourly(1000), TextKey("b"))
			return r.redis.Failures() > 0
		})
		soon(t, "it is with the next server", func() bool { return !r.redis.Away() })
		r.Take(hourly(5), TextKey("c"))
		if _, all, err := next.Lasting(); err != nil || all == 0 {
			t.Errorf("the next server has %d keys, %v", all, err)
		}
	})
}

func trusting(t testing.TB, s *redistest.Server) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots}
}

func TestTLSAndPassword(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Config{TLS: true, Password: "p@ss:/word"})
	replicas := three(t, []*redistest.Server{s}, func(_ *Config, c *RedisConfig) {
		c.TLS = trusting(t, s)
		c.Credentials = func() (string, string) { return "default", "p@ss:/word" }
	})
	if in := rush(replicas, hourly(20), TextKey("a"), 40); sum(in) != 20 {
		t.Errorf("three replicas let in %v, want 20 together", in)
	}
	stranger := newReplica(t, []*redistest.Server{s}, func(_ *Config, c *RedisConfig) { c.TLS = &tls.Config{} })
	if !stranger.redis.Away() || !strings.Contains(stranger.log.String(), "certificate") {
		t.Errorf("a server of an unknown authority was believed: %s", stranger.log)
	}
	state, err := replicas[0].redis.State(t.Context())
	if err != nil || state.Version == "" || state.Policy != "noeviction" {
		t.Errorf("it says of itself %+v, %v", state, err)
	}
}

// Keys lie on all servers of a cluster; when one of them is gone, each replica counts for itself until it is back.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, redistest.Config{})
	replicas := three(t, servers, nil)
	for i := range 12 {
		a, b := Charge{hourly(10), TextKey(fmt.Sprint("a", i))}, Charge{hourly(30), TextKey(fmt.Sprint("b", i))}
		in := 0
		for n := range 12 {
			if !replicas[n%3].TakeAll(a, b).Refused {
				in++
			}
		}
		if in != 10 {
			t.Errorf("three replicas let in %d, want 10 together", in)
		}
		if got := replicas[0].Peek(b.Rule, b.Key).Remaining; got != 20 {
			t.Errorf("%d are left beside, want 20", got)
		}
	}
	nothingLasts(t, servers...)
	for _, s := range servers {
		if _, all, err := s.Lasting(); all == 0 {
			t.Errorf("%s has no key: %v", s, err)
		}
	}
	if err := servers[1].Kill(); err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		n := 0
		soon(t, "a replica does without Redis", func() bool {
			n++
			r.Take(hourly(1), TextKey(fmt.Sprint("c", n)))
			return r.redis.Away()
		})
	}
	if in := rush(replicas, hourly(20), TextKey("d"), 40); sum(in) != 60 {
		t.Errorf("without one of the servers they let in %v, want 20 each", in)
	}
	if err := servers[1].Restart(); err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		soon(t, "Redis is back: "+r.log.String(), func() bool { return !r.redis.Away() })
	}
	if in := rush(replicas, hourly(20), TextKey("e"), 40); sum(in) != 20 {
		t.Errorf("with all servers they let in %v, want 20 together", in)
	}
}

func BenchmarkShared(b *testing.B) {
	s := redistest.Start(b, redistest.Config{})
	rule := exchanges(auth.Rate{Count: 1_000_000, Per: time.Second})
	for _, where := range []struct {
		name string
		l    *Limiter
	}{{"memory", New(Config{})}, {"redis", newReplica(b, []*redistest.Server{s}, nil).Limiter}} {
		for _, buckets := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", where.name, buckets), func(b *testing.B) {
				charges := []Charge{{rule, AddressKey(addr("192.0.2.7"))}, {rule, TextKey("u_abc")}}[:buckets]
				b.ReportAllocs()
				for b.Loop() {
					where.l.TakeAll(charges...)
				}
			})
		}
		b.Run(where.name+"/parallel", func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					where.l.Take(rule, AddressKey(addr("192.0.2.7")))
				}
			})
		})
	}
}
