package limit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// RedisConfig says where the buckets are that replicas share.
type RedisConfig struct {
	Addresses []string    // host:port; of a cluster some of its members
	Cluster   bool        // whether it is one; else it has one address
	TLS       *tls.Config // nil: clear text
	Database  int         // not in a cluster
	// Credentials are the user, "" for the default one, and the password; nil: none are asked for.
	Credentials func() (user, password string)
	// Name is a keyed digest, the same on all replicas of an installation and on those of no other. Buckets are named by it, so
	// that Redis learns neither addresses nor identifiers.
	Name func(parts ...string) [sha256.Size]byte
	// Deadline is how long a decision waits for Redis; 0: 40 ms.
	Deadline time.Duration
	// Answered is told how long Redis took for a decision. nil: nobody wants to know.
	Answered func(after time.Duration)
	Log      *slog.Logger // nil: slog.Default
}

const (
	// usualDeadline is many times what Redis takes nearby, and leaves a caller who found it frozen within 50 ms of usual.
	usualDeadline = 40 * time.Millisecond
	// silence is for how long Redis has answered nobody when decisions stop to wait for it: longer than a busy machine stumbles.
	silence = 100 * time.Millisecond
	// stumbles are how many times within steady it may be late before that is what it does: a server of a cluster is frozen.
	stumbles = 3
	// firstPause and longestPause are how soon, and how seldom, Redis is tried again.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// steady is how long Redis has answered when its last failure no longer counts.
	steady = 10 * time.Second
	// tellEvery is how often it is logged at most that Redis is away.
	tellEvery = time.Minute
	// trialTime is how long a trial may take that has to connect first.
	trialTime = time.Second
	// connections are kept to each server at most, unused ones for idle: after a failover they may lead to the wrong server.
	connections = 32
	idle        = 30 * time.Second
)

// Redis is where replicas share their buckets. Each is one key, which ends by itself when the bucket is full again, and each
// step one script there, by the clock that is there: clocks of replicas do not count. It works with Redis since 6.2 and with
// Valkey.
//
// Redis is asked only as long as it answers: since [Limiter.Start] found that it does. When it says that it cannot, or has
// said nothing for a while, a [Limiter] decides alone, at once and without waiting, until Redis answers a trial, which
// [Limiter.Run] makes. What was lost meanwhile, or forgotten by a flush, only loosens limits: nobody is refused for it, and each
// replica still counts for itself.
type Redis struct {
	client   redis.UniversalClient
	cluster  *redis.ClusterClient // the same as client; nil: it is one server
	name     func(parts ...string) [sha256.Size]byte
	prefix   string
	deadline time.Duration
	answered func(time.Duration)
	log      *slog.Logger

	sha string // what Redis calls the script

	// turns counts how often Redis came and was lost: while it is even, as in the beginning, Redis is away. Who finds it lost
	// says of which turn he speaks, so that a step that took long says nothing of what came after it.
	turns atomic.Int64
	lost  chan error // wakes run
	made  time.Time
	heard atomic.Int64 // when it last answered, in nanoseconds since it was made

	failures atomic.Int64

	mu        sync.Mutex
	stumbled  int       // how often it was late
	since     time.Time // that it is counted
	stumbling time.Time // when it was last late
}

// NewRedis returns the shared buckets, for [Config.Redis], and connects to nothing yet. Call [Redis.Close].
func NewRedis(c RedisConfig) (*Redis, error) {
	if len(c.Addresses) == 0 || c.Name == nil {
		return nil, errors.New("limits in Redis: addresses and names are both needed")
	}
	if len(c.Addresses) > 1 && !c.Cluster {
		return nil, errors.New("limits in Redis: one server has one address")
	}
	logging.Disable() // the client's own log, which is one for the whole process; what matters we log
	r := &Redis{
		name: c.Name, deadline: c.Deadline, answered: c.Answered, log: c.Log,
		sha: redis.NewScript(script).Hash(), lost: make(chan error, 1), made: time.Now(),
	}
	if r.deadline <= 0 {
		r.deadline = usualDeadline
	}
	if r.answered == nil {
		r.answered = func(time.Duration) {}
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	installation := c.Name("installation")
	r.prefix = "gatehouse:" + base64.RawURLEncoding.EncodeToString(installation[:6]) + ":"
	options := &redis.UniversalOptions{
		Addrs: c.Addresses, IsClusterMode: c.Cluster, DB: c.Database, TLSConfig: c.TLS, CredentialsProvider: c.Credentials,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, // Valkey knows none
		// A step that may have been made is not made again, and a caller does not wait for a second try.
		MaxRetries: -1, DialerRetries: 1, MaxRedirects: 2,
		// Deadlines are those of contexts; these are for a connection that nobody waits for any more.
		ContextTimeoutEnabled: true, DialTimeout: trialTime, ReadTimeout: trialTime, WriteTimeout: trialTime, PoolTimeout: trialTime,
		PoolSize: connections, ConnMaxIdleTime: idle, PipelinePoolSize: -1, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}
	r.client = redis.NewUniversalClient(options)
	r.cluster, _ = r.client.(*redis.ClusterClient)
	return r, nil
}

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

// Away says whether Redis is away, so that each replica counts for itself.
func (r *Redis) Away() bool { return r.turns.Load()%2 == 0 }

// Failures is how often a decision had to do without Redis that found it there.
func (r *Redis) Failures() int64 { return r.failures.Load() }

// What a step does to a bucket, as the script knows it.
type act int

const (
	giveBack act = iota - 1
	look
	charge
)

// script is one step to one bucket, and atomic: Redis runs one at a time. It is [meter.take], in microseconds, which a Lua
// number counts exactly until the year 2255. What it finds and cannot read it takes for a bucket that is not there.
//
//go:embed step.lua
var script string

// inMicroseconds is a meter whose times are whole microseconds: never more than m allows. For up to 50,000 events a second it
// is within 5 % of it.
func (m meter) inMicroseconds() meter {
	const us = int64(time.Microsecond)
	m.interval = (m.interval + us - 1) / us * us
	m.capacity = max(min(m.capacity, longestSpan/m.interval), 1)
	m.span = m.interval * m.capacity
	return m
}

// ask takes the same step to several buckets and returns what it found in each; nothing where a rule has no rate. It says
// whether Redis answered: if not, some of the steps may have been made and others not, and nobody learns which.
func (r *Redis) ask(what act, charges []Charge) ([]auth.Limit, bool) {
	turn := r.turns.Load()
	if turn%2 == 0 {
		return nil, false
	}
	found := make([]auth.Limit, len(charges))
	steps := make([]step, 0, len(charges))
	for i, c := range charges {
		if !c.Rule.Rate.None() {
			steps = append(steps, step{key: r.key(c), meter: meterOf(c.Rule.Rate).inMicroseconds(), what: what, at: i})
		}
	}
	if len(steps) == 0 {
		return found, true
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), r.deadline)
	defer cancel()
	if err := r.make(ctx, steps); err != nil {
		r.failures.Add(1)
		var timeout interface{ Timeout() bool }
		late := ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
		if !late || r.tooLate(begun) {
			r.lose(turn, err)
		}
		return nil, false
	}
	r.answered(time.Since(begun))
	for _, s := range steps {
		found[s.at] = s.meter.limit(charges[s.at].Rule.Name, s.owed, 0, s.refused)
	}
	return found, true
}

// tooLate notes that a decision which began then had no answer in time, and says whether it is time to stop asking.
func (r *Redis) tooLate(begun time.Time) bool {
	now := time.Now()
	if now.Sub(r.made)-time.Duration(r.heard.Load()) > silence {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if begun.Before(r.stumbling) {
		return false // it waited together with the last one
	}
	if now.Sub(r.since) > steady {
		r.since, r.stumbled = now, 0
	}
	r.stumbling = now
	r.stumbled++
	return r.stumbled >= stumbles
}

// lose notes that Redis is away, unless something else was noted since that turn.
func (r *Redis) lose(turn int64, err error) {
	if !r.turns.CompareAndSwap(turn, turn+1) {
		return
	}
	select {
	case r.lost <- err:
	default: // run was told of an earlier time and has yet to look
	}
}

// key is the name of a bucket in Redis.
func (r *Redis) key(c Charge) string {
	sum := r.name("bucket", c.Rule.Name, string(c.Key.Addr.AsSlice()), c.Key.Text)
	return r.prefix + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// A step is one to be made, and what came of it.
type step struct {
	key   string
	meter meter
	what  act
	at    int // in the list it came in

	owed    int64 // nanoseconds until the bucket is full
	refused bool
}

// make makes all steps in one round trip, two where a server does not know the script yet.
func (r *Redis) make(ctx context.Context, steps []step) error {
	unknown, err := r.send(ctx, steps, func(p redis.Pipeliner, s *step) *redis.Cmd {
		return p.EvalSha(ctx, r.sha, []string{s.key}, s.arguments()...)
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	again := make([]step, len(unknown))
	for i, at := range unknown {
		again[i] = steps[at]
	}
	if _, err = r.send(ctx, again, func(p redis.Pipeliner, s *step) *redis.Cmd {
		return p.Eval(ctx, script, []string{s.key}, s.arguments()...)
	}); err != nil {
		return err
	}
	for i, at := range unknown {
		steps[at] = again[i]
	}
	return nil
}

func (s *step) arguments() []any {
	const us = int64(time.Microsecond)
	return []any{s.meter.interval / us, s.meter.span / us, int(s.what)}
}

// send sends all steps at once and reads what came of them. It returns which of them Redis did not know the script of.
func (r *Redis) send(ctx context.Context, steps []step, queue func(redis.Pipeliner, *step) *redis.Cmd) (unknown []int, err error) {
	p := r.client.Pipeline()
	answers := make([]*redis.Cmd, len(steps))
	for i := range steps {
		answers[i] = queue(p, &steps[i])
	}
	_, failed := p.Exec(ctx)
	for i, a := range answers {
		found, err := a.Int64Slice()
		switch {
		case err != nil && redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, i)
		case err != nil:
			return nil, cmp.Or(a.Err(), failed, err) // without a connection the answer has no error of its own
		case len(found) != 2 || found[0] < 0 || found[0] > longestSpan/int64(time.Microsecond):
			return nil, fmt.Errorf("Redis answered a step with %v", found)
		default:
			steps[i].owed, steps[i].refused = found[0]*int64(time.Microsecond), found[1] == 1
		}
	}
	r.heard.Store(int64(time.Since(r.made)))
	return unknown, nil
}

// start tries Redis for the first time, and says in the log what came of it.
func (r *Redis) start(ctx context.Context) {
	if err := r.try(ctx); err != nil {
		r.log.Warn(away, "error", err)
		return
	}
	r.turns.Add(1)
	r.log.Info("limits are shared with other replicas through Redis")
}

// away is what it means that Redis does not answer.
const away = "Redis does not answer: this replica counts for itself, each limit as a whole, until it does"

// run waits until Redis is lost and then tries it until it is back, over and over until ctx ends.
func (r *Redis) run(ctx context.Context) {
	pause := firstPause
	told := r.Away() // whether the log says that it is away; if it is now, start has said so
	var back, lastTold time.Time
	tell := func(err error) {
		if !told && time.Since(lastTold) > tellEvery {
			r.log.Warn(away, "error", err)
			told, lastTold = true, time.Now()
		}
	}
	for {
		if !r.Away() {
			select {
			case <-ctx.Done():
				return
			case err := <-r.lost:
				if !r.Away() { // that was before
					continue
				}
				if time.Since(back) > steady {
					pause = firstPause
				} else { // it comes and goes
					pause = min(2*pause, longestPause)
					tell(err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := r.try(ctx); err != nil {
			pause = min(2*pause, longestPause)
			tell(err)
			continue
		}
		back = time.Now()
		r.turns.Add(1)
		if told {
			r.log.Info("Redis answers again: limits are shared over replicas")
			told = false
		}
	}
}

// try says whether Redis can do its work: that a bucket can be charged within the time of a decision, and that every server of
// a cluster answers. Connections that are of no use any more it uses up: nobody else could tell Redis is back before they are gone.
func (r *Redis) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var err error
	for range connections + 1 {
		if err = r.tryOnce(ctx); !stale(err) {
			break
		}
	}
	return err
}

// stale says whether an error is one of a connection from before: to a server that is gone, or has become a standby.
func stale(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || redis.IsReadOnlyError(err)
}

func (r *Redis) tryOnce(ctx context.Context) error {
	if r.cluster != nil {
		r.cluster.ReloadState(ctx)
		if err := r.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() }); err != nil {
			return err
		}
	}
	for _, within := range []time.Duration{trialTime, r.deadline} { // the first may have to connect
		ctx, cancel := context.WithTimeout(ctx, within)
		err := r.make(ctx, []step{{
			key: r.prefix + "trial", meter: meter{interval: int64(time.Millisecond), span: int64(time.Second), capacity: 1000}, what: charge,
		}})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// A RedisState is what a Redis says of itself.
type RedisState struct {
	Version string // "7.0.15", of Valkey "8.0.1 (Valkey)"
	Bounded bool   // it has a bound on its memory
	Policy  string // what it does at that bound: "noeviction", "allkeys-lru"
}

// State asks Redis for its state, a cluster any of its servers, once it has seen that a bucket can be charged.
func (r *Redis) State(ctx context.Context) (RedisState, error) {
	if err := r.try(ctx); err != nil {
		return RedisState{}, err
	}
	said, err := r.client.Info(ctx).Result()
	if err != nil {
		return RedisState{}, fmt.Errorf("ask Redis for its state: %w", err)
	}
	values := make(map[string]string)
	for line := range strings.SplitSeq(said, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			values[k] = v
		}
	}
	s := RedisState{Version: values["redis_version"], Policy: values["maxmemory_policy"]}
	if v := values["valkey_version"]; v != "" {
		s.Version = v + " (Valkey)"
	}
	s.Bounded = cmp.Or(values["maxmemory"], "0") != "0"
	return s, nil
}
