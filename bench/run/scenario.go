package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// A side is one of two that are compared: a process, or several that share the load, with the clients.
type side struct {
	processes []*process
	*crowd
}

// cpu is the processor time of all its processes.
func (s *side) cpu() (sum time.Duration, err error) {
	for _, p := range s.processes {
		took, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += took
	}
	return sum, nil
}

// memory is what all its processes have resident now, and the sum of the most that each ever had.
func (s *side) memory() (now, peak int64, err error) {
	for _, p := range s.processes {
		n, most, err := p.memory()
		if err != nil {
			return 0, 0, err
		}
		now, peak = now+n, peak+most
	}
	return now, peak, nil
}

// A scenario is one comparison.
type scenario struct {
	name string
	// what the two sides are, in the order of their columns
	sides  [2]string
	target float64 // the least ratio of the first side's time per request to the second's
	byRate bool    // of the second's requests per second to the first's instead: others do part of the work
	memory int64   // the most memory that the second side may have had; 0: whatever it likes
	warm   int     // requests to each side before anything is measured
	alone  bool    // the floor needs nobody else to answer
	start  opening
}

// An opening starts both sides on data of their own in dir.
type opening func(ctx context.Context, b *bench, dir string) (first, second *side, err error)

// A comparison starts both sides when there is an installation.
type comparison func(ctx context.Context, b *bench, in *installation) (first, second *side, err error)

// accounts is how many accounts share the load. What they are more than one for is caches and locks.
const accounts = 32

const (
	fewKeys  = 1_000
	manyKeys = 1_000_000
)

var scenarios = []scenario{
	{
		name:   "exchange",
		sides:  [2]string{"floor", "server"},
		target: 0.80,
		warm:   10_000,
		alone:  true,
		start:  installed(exchanging),
	},
	{
		name:   "login",
		sides:  [2]string{"floor", "server"},
		target: 0.60,
		warm:   5_000,
		alone:  true,
		start:  installed(loggingIn("login", logsIn)),
	},
	{
		name:   "refresh",
		sides:  [2]string{"floor", "server"},
		target: 0.60,
		warm:   5_000,
		alone:  true,
		start:  installed(loggingIn("refresh", staysIn)),
	},
	{
		name:   "verify",
		sides:  [2]string{"plain proxy", "gateway"},
		target: 0.85,
		warm:   10_000,
		start:  beforeAPI("proxy", newCalls),
	},
	{
		name:   "in-band refresh",
		sides:  [2]string{"minting proxy", "gateway"},
		target: 0.80,
		warm:   10_000,
		start:  beforeAPI("minting-proxy", newRenewals),
	},
	{
		name:   "forward-auth",
		sides:  [2]string{"bare handler", "server"},
		target: 0.60,
		warm:   10_000,
		start:  beforeAPI("bare", newQuestions),
	},
	{
		name:   "introspection",
		sides:  [2]string{"bare handler", "server"},
		target: 0.70,
		warm:   10_000,
		start:  installed(introspecting),
	},
	{
		name:   "login on PostgreSQL",
		sides:  [2]string{"floor", "server"},
		target: 0.50,
		byRate: true,
		warm:   2_000,
		start:  onPostgres(loggingIn("login", logsIn)),
	},
	{
		name:   "refresh on PostgreSQL",
		sides:  [2]string{"floor", "server"},
		target: 0.50,
		byRate: true,
		warm:   2_000,
		start:  onPostgres(loggingIn("refresh", staysIn)),
	},
	{
		name:   "three replicas",
		sides:  [2]string{"one server", "three servers"},
		target: 0.90,
		byRate: true,
		warm:   10_000,
		start:  onPostgres(threeTimes),
	},
	{
		name:   "many keys",
		sides:  [2]string{"1,000 keys", "1,000,000 keys"},
		target: 0.70,
		memory: 256_000_000,
		warm:   200_000, // fills the cache
		start: func(ctx context.Context, b *bench, dir string) (few, many *side, err error) {
			few, err = b.seeded(ctx, filepath.Join(dir, "few"), fewKeys)
			if err != nil {
				return nil, nil, err
			}
			many, err = b.seeded(ctx, filepath.Join(dir, "many"), manyKeys)
			return few, many, err
		},
	},
}

// installed is an opening that begins with an installation.
func installed(then comparison) opening {
	return func(ctx context.Context, b *bench, dir string) (*side, *side, error) {
		in, err := install(ctx, b.server, dir)
		if err != nil {
			return nil, nil, err
		}
		return then(ctx, b, in)
	}
}

// onPostgres is an opening that begins with a PostgreSQL server, whose commits reach the disk, and an installation on it.
func onPostgres(then comparison) opening {
	return func(ctx context.Context, b *bench, dir string) (*side, *side, error) {
		db, err := pgtest.New(pgtest.Config{Fsync: true})
		if err != nil {
			return nil, nil, err
		}
		b.ending = append(b.ending, db.Close)
		name, err := db.CreateDatabase()
		if err != nil {
			return nil, nil, err
		}
		in, err := installOn(ctx, b.server, dir, db.URL(name))
		if err != nil {
			return nil, nil, err
		}
		return then(ctx, b, in)
	}
}

// threeTimes compares one server with three that share its database and the load.
func threeTimes(ctx context.Context, b *bench, in *installation) (one, three *side, err error) {
	keys, err := in.keys(ctx, accounts)
	if err != nil {
		return nil, nil, err
	}
	ring := newKeyring(keys)
	each := func(_ string, i int) (traffic, error) { return newExchanges(ring, i), nil }
	var all []*process
	for i := range 4 {
		replica := in
		if i > 0 {
			if replica, err = in.replica(fmt.Sprint("replica", i)); err != nil {
				return nil, nil, err
			}
		}
		p, err := replica.serve(ctx)
		if err != nil {
			return nil, nil, err
		}
		b.started, all = append(b.started, p), append(all, p)
	}
	if one, err = crowdFor(each, all[0]); err != nil {
		return nil, nil, err
	}
	three, err = crowdFor(each, all[1:]...)
	return one, three, err
}

func exchanging(ctx context.Context, b *bench, in *installation) (floor, server *side, err error) {
	keys, err := in.keys(ctx, accounts)
	if err != nil {
		return nil, nil, err
	}
	ring := newKeyring(keys)
	return b.againstFloor(ctx, in, "exchange", func(_ string, i int) (traffic, error) {
		return newExchanges(ring, i), nil
	})
}

// A habit is what a user does, beginning with a login.
type habit func(ctx context.Context, address string, l login) (traffic, error)

// logsIn is the habit of logging in again and again.
func logsIn(_ context.Context, _ string, l login) (traffic, error) { return newLogins(l), nil }

// staysIn is the habit of logging in once, and refreshing from then on.
func staysIn(ctx context.Context, address string, l login) (traffic, error) {
	return newRefreshes(ctx, address, l)
}

// loggingIn compares with the floor in mode, for traffic that begins with a login.
func loggingIn(mode string, each habit) comparison {
	return func(ctx context.Context, b *bench, in *installation) (floor, server *side, err error) {
		users, err := in.logins(ctx, accounts)
		if err != nil {
			return nil, nil, err
		}
		return b.againstFloor(ctx, in, mode, func(address string, i int) (traffic, error) {
			return each(ctx, address, users[i%len(users)])
		})
	}
}

func introspecting(ctx context.Context, b *bench, in *installation) (floor, server *side, err error) {
	clients, keys, err := in.clients(ctx, accounts)
	if err != nil {
		return nil, nil, err
	}
	p, tokens, err := b.serve(ctx, in, keys)
	if err != nil {
		return nil, nil, err
	}
	each := func(_ string, i int) (traffic, error) {
		return newIntrospections(clients[i%len(clients)], tokens[i%len(tokens)]), nil
	}
	if server, err = crowdFor(each, p); err != nil {
		return nil, nil, err
	}
	if p, err = startFloor(ctx, b.floor, "introspect"); err != nil {
		return nil, nil, err
	}
	floor, err = b.join(p, each)
	return floor, server, err
}

// serve starts the installation's server, and exchanges each key for a token.
func (b *bench) serve(ctx context.Context, in *installation, keys []string) (*process, []string, error) {
	p, err := in.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	b.started = append(b.started, p)
	tokens, err := exchangeAll(ctx, p.address, keys)
	return p, tokens, err
}

func newExchanges(keys keyring, i int) *exchanges {
	return &exchanges{keys: keys, random: rand.New(rand.NewPCG(1, uint64(i)))}
}

// againstFloor starts the floor in mode and the installation's server, with the same traffic to both.
func (b *bench) againstFloor(ctx context.Context, in *installation, mode string, each func(address string, i int) (traffic, error)) (floor, server *side, err error) {
	p, err := startFloorOn(ctx, in.database, b.floor, mode, "-data", in.dir)
	if err != nil {
		return nil, nil, err
	}
	if floor, err = b.join(p, each); err != nil {
		return nil, nil, err
	}
	if p, err = in.serve(ctx); err != nil {
		return nil, nil, err
	}
	server, err = b.join(p, each)
	return floor, server, err
}

// beforeAPI is an opening that starts an API, the floor in mode before it, and a server with a route to it, with the same traffic
// to both: calls with tokens that the server handed out.
func beforeAPI(mode string, each func(token string, gateway bool) traffic) opening {
	return func(ctx context.Context, b *bench, dir string) (floor, server *side, err error) {
		api, err := startFloor(ctx, b.floor, "api")
		if err != nil {
			return nil, nil, err
		}
		b.started = append(b.started, api)
		in, err := install(ctx, b.server, dir)
		if err != nil {
			return nil, nil, err
		}
		if err := in.configure(fmt.Sprintf("trusted_proxies: [127.0.0.1]\nroutes: [{path: /api/, accepts: [ACCESS_TOKEN], upstream: 'http://%s'}]\n", api.address)); err != nil {
			return nil, nil, err
		}
		keys, err := in.keys(ctx, accounts)
		if err != nil {
			return nil, nil, err
		}
		p, tokens, err := b.serve(ctx, in, keys)
		if err != nil {
			return nil, nil, err
		}
		with := func(gateway bool) func(string, int) (traffic, error) {
			return func(_ string, i int) (traffic, error) { return each(tokens[i%len(tokens)], gateway), nil }
		}
		if server, err = crowdFor(with(true), p); err != nil {
			return nil, nil, err
		}
		if p, err = startFloor(ctx, b.floor, mode, "-upstream", "http://"+api.address); err != nil {
			return nil, nil, err
		}
		floor, err = b.join(p, with(false))
		return floor, server, err
	}
}

// seeded starts a server with n API keys in its store, and clients that draw from them.
func (b *bench) seeded(ctx context.Context, dir string, n int) (*side, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	in, err := install(ctx, b.server, dir)
	if err != nil {
		return nil, err
	}
	keys, err := seedKeys(ctx, in, n)
	if err != nil {
		return nil, fmt.Errorf("seed %d keys: %w", n, err)
	}
	ring := newKeyring(keys)
	p, err := in.serve(ctx)
	if err != nil {
		return nil, err
	}
	return b.join(p, func(_ string, i int) (traffic, error) { return newExchanges(ring, i), nil })
}

// join finds clients for a process that was just started.
func (b *bench) join(p *process, each func(address string, i int) (traffic, error)) (*side, error) {
	b.started = append(b.started, p)
	return crowdFor(each, p)
}

func crowdFor(each func(address string, i int) (traffic, error), processes ...*process) (*side, error) {
	var addresses []string
	for _, p := range processes {
		addresses = append(addresses, p.address)
	}
	c, err := newCrowd(addresses, func(i int) (traffic, error) { return each(addresses[i%len(addresses)], i) })
	if err != nil {
		return nil, err
	}
	return &side{processes, c}, nil
}

// A turn is what one side did with its requests.
type turn struct {
	CPU  time.Duration // of the process, per request
	Rate float64       // requests per second
}

func (s *side) run(ctx context.Context, requests int) (turn, error) {
	before, err := s.cpu()
	if err != nil {
		return turn{}, err
	}
	took, err := s.turn(ctx, requests)
	if err != nil {
		return turn{}, err
	}
	after, err := s.cpu()
	return turn{CPU: (after - before) / time.Duration(requests), Rate: float64(requests) / took.Seconds()}, err
}
