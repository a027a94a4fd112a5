package cluster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/ledger"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// refusedAtMost is how long writes may be refused while one server of PostgreSQL takes the place of another.
const refusedAtMost = 5 * time.Second

// pairOfServers starts a primary and a standby that follows it.
func pairOfServers(t *testing.T) (primary, standby *pgtest.Server) {
	t.Helper()
	primary = pgtest.Start(t, pgtest.Config{Name: "one", Fsync: true})
	standby, err := primary.Standby(pgtest.Config{Name: "two", Fsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, standby.Close()) })
	return primary, standby
}

// The primary dies under load and its synchronous standby takes its place, again and again. Nothing that was acknowledged is
// lost, writes are refused for a short while, and tokens are checked as if nothing had happened.
func TestFailoversLoseNothing(t *testing.T) {
	rounds := size(2, 20)
	primary, standby := pairOfServers(t)
	must(t, primary.Synchronous(standby))
	c := open(t, setting{YAML: fmt.Sprintf("tokens: {b2b: {reuse_leeway: %v}}\n", ledger.Leeway), Postgres: []*pgtest.Server{primary, standby}})
	key := c.newCredential(c.newAccount("Keys"), "api-key")
	probe := c.newUser("Probe")
	l := &users{cluster: c, random: rand.New(rand.NewPCG(1, 0))}
	for i := range 6 {
		account := c.newAccount(fmt.Sprintf("Account %d", i))
		l.owners = append(l.owners, &ledger.Owner{
			Account: account, User: c.newCredential(account, "login"), Servers: c.urls(), Path: path, Client: c.client, Counts: make(map[string]int),
		})
	}
	var refused times
	for round := range rounds {
		verification := c.verify(c.mustExchange(c.replicas[round%3].url, key.Key))
		l.begin(uint64(round))
		time.Sleep(time.Duration(100+l.random.IntN(400)) * time.Millisecond) // when is the point of it
		l.troubled.Store(true)
		killed := time.Now()
		must(t, primary.Kill(), standby.Promote())
		eventually(t, 30*time.Second, "writes", func() error {
			for _, r := range c.replicas {
				if _, err := c.login(r.url, probe).pair(); err != nil {
					return err
				}
			}
			return nil
		})
		refused.add(time.Since(killed))
		if err := errors.Join(l.end(), l.audit(), verification.end()); err != nil {
			t.Fatalf("after failover %d: %v", round+1, err)
		}
		if round+1 < rounds {
			must(t, primary.Follow(standby), standby.Synchronous(primary))
		}
		primary, standby = standby, primary
	}
	l.tell(t)
	t.Logf("from the death of the primary until each replica wrote again, %v", &refused)
	if refused.at(100) > soon(refusedAtMost) {
		t.Errorf("writes were refused for %v, want %v at most", refused.at(100), refusedAtMost)
	}
}

// verify has a token checked at each replica all the time. No check may fail.
func (c *cluster) verify(token string) *crowd {
	w := new(crowd)
	for _, r := range c.replicas {
		w.join(func() error {
			if a := c.call(r.url, token); a.Status != http.StatusOK {
				return fmt.Errorf("a check of a token at %s, which must never be interrupted: %s", r.name, a)
			}
			time.Sleep(2 * time.Millisecond)
			return nil
		})
	}
	return w
}

// With an asynchronous standby what was acknowledged last can be lost, as the server says when it starts. How much is counted.
// Everything afterwards is as sound as ever: no position is given twice, so that what is logged out then is dead.
func TestAnAsynchronousFailoverIsCounted(t *testing.T) {
	primary, standby := pairOfServers(t)
	c := open(t, setting{YAML: fmt.Sprintf("tokens: {b2b: {reuse_leeway: %v}}\n", ledger.Leeway), Postgres: []*pgtest.Server{primary, standby}})
	user := c.newUser("User")
	other := c.newUser("Other")
	before := c.mustLogin(c.replicas[0].url, other)
	var mu sync.Mutex
	var acknowledged []pair
	var w crowd
	for _, r := range c.replicas {
		w.join(func() error {
			p, err := c.login(r.url, user).pair()
			if err == nil {
				mu.Lock()
				acknowledged = append(acknowledged, p)
				mu.Unlock()
			}
			return err
		})
	}
	time.Sleep(300 * time.Millisecond)
	must(t, standby.Deafen())
	time.Sleep(300 * time.Millisecond)
	// This is lost too, and it drew a number from the log.
	gone := c.mustLogin(c.replicas[0].url, user)
	if a := c.logout(c.replicas[1].url, before.Access); a.Status != http.StatusOK {
		t.Fatalf("logout: %s", a)
	}
	must(t, w.end(), primary.Kill(), standby.Promote())
	for _, r := range c.replicas {
		eventually(t, 30*time.Second, "writes at "+r.name, func() error {
			_, err := c.login(r.url, other).pair()
			return err
		})
	}
	lost := 0
	for _, p := range acknowledged {
		switch a := c.refresh(c.replicas[0].url, p.Refresh, ""); a.Status {
		case http.StatusOK:
		case http.StatusUnauthorized:
			lost++
		default:
			t.Fatalf("a refresh after the failover: %s", a)
		}
	}
	t.Logf("of %d logins that were acknowledged, the last ones while the standby had fallen behind, the failover lost %d", len(acknowledged), lost)
	if lost == 0 {
		t.Error("nothing was lost: the standby did not fall behind, and the test shows nothing")
	}
	if a := c.refresh(c.replicas[0].url, gone.Refresh, ""); a.Status != http.StatusUnauthorized {
		t.Errorf("a login of which the new primary knows nothing is refreshed with %s", a)
	}
	// The replicas remember the revocation that the database has lost, until its tokens have expired.
	for _, r := range c.replicas {
		if a := c.call(r.url, before.Access); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: a token whose logout the database has lost is answered with %s", r.name, a)
		}
	}
	for range 5 {
		_, err := c.inAndOut(user)
		_, other := c.inAndOut(other)
		must(t, err, other)
	}
}

// users are owners of ledgers at work, each in a goroutine of its own.
type users struct {
	*cluster
	random   *rand.Rand
	owners   []*ledger.Owner
	troubled atomic.Bool // from here on an answer may not come
	stopped  atomic.Bool
	wg       sync.WaitGroup
	errs     []error
}

func (l *users) begin(round uint64) {
	l.troubled.Store(false)
	l.stopped.Store(false)
	l.errs = make([]error, len(l.owners))
	for i, o := range l.owners {
		random := rand.New(rand.NewPCG(round, uint64(i)))
		o.Busy = true
		l.wg.Go(func() {
			if err := l.work(o, random); err != nil {
				l.errs[i] = fmt.Errorf("account %s: %w", o.Account, err)
			}
		})
	}
}

// work does one random act after the other. After one whose answer did not come nothing more is done: what it did is for the
// audit to find out.
func (l *users) work(o *ledger.Owner, random *rand.Rand) error {
	for !l.stopped.Load() {
		err := o.Act(random)
		var lost ledger.Lost
		switch {
		case err == nil:
		case errors.As(err, &lost) && l.troubled.Load():
			return nil
		default:
			return err
		}
	}
	return nil
}

func (l *users) end() error {
	l.stopped.Store(true)
	l.wg.Wait()
	return errors.Join(l.errs...)
}

// audit compares the servers, which are well again, with every ledger.
func (l *users) audit() error {
	errs := make([]error, len(l.owners))
	var wg sync.WaitGroup
	for i, o := range l.owners {
		random := rand.New(rand.NewPCG(l.random.Uint64(), 0))
		o.Busy = false
		wg.Go(func() {
			if err := o.Audit(random); err != nil {
				errs[i] = fmt.Errorf("account %s: %w", o.Account, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// tell logs what was done in all.
func (l *users) tell(t *testing.T) {
	total := make(map[string]int)
	for _, o := range l.owners {
		for what, n := range o.Counts {
			total[what] += n
		}
	}
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%7d %s", total[what], what)
	}
	for _, what := range []string{"logins", "refreshes", "logouts", "thefts"} {
		if total[what] == 0 {
			t.Errorf("no %s in the whole run", what)
		}
	}
}
