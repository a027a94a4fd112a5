package cluster

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/redistest"
)

// PostgreSQL is away for a while, dead or silent. What was handed out is checked, and credentials that a replica has in
// memory are exchanged, as if nothing had happened; what has to be written is refused soon, and works again as soon as
// PostgreSQL is back. No replica ever has more connections than it may.
func TestPostgreSQLIsAway(t *testing.T) {
	const mostConnections = 6
	away := size(6*time.Second, time.Minute)
	postgres := pgtest.Start(t, pgtest.Config{})
	c := open(t, setting{
		YAML:     fmt.Sprintf("revocation: {max_staleness: 120s, wait: 2s}\ndatabase_pool: {max_connections: %d}\n", mostConnections),
		Postgres: []*pgtest.Server{postgres},
	})
	key := c.newCredential(c.newAccount("Keys"), "api-key").Key
	user := c.newUser("User")
	for _, r := range c.replicas {
		c.mustExchange(r.url, key) // and remembers it
	}
	for _, fault := range []struct {
		name      string
		end, back func() error
	}{
		{"killed", postgres.Kill, postgres.Restart},
		{"frozen", postgres.Freeze, postgres.Thaw},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := c.within(t)
			verification := c.verify(c.mustExchange(c.replicas[0].url, key))
			var exchanges, writes, refusals crowd
			var exchanged, refused atomic.Int64
			for _, r := range c.replicas {
				exchanges.join(func() error {
					time.Sleep(5 * time.Millisecond)
					exchanged.Add(1)
					if a := c.exchange(r.url, key); a.Status != http.StatusCreated {
						return fmt.Errorf("an exchange of a credential that %s has in memory: %s", r.name, a)
					}
					return nil
				})
			}
			// More users than there are connections.
			for i := range 3 * mostConnections * 2 {
				r := c.replicas[i%3]
				writes.join(func() error {
					time.Sleep(10 * time.Millisecond)
					_, err := c.login(r.url, user).pair()
					return err
				})
			}
			most := 0
			watch := func() {
				t.Helper()
				var text string
				must(t, postgres.Query(&text, "", fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse' AND datname = '%s'", c.database)))
				n, err := strconv.Atoi(text)
				must(t, err)
				most = max(most, n)
			}
			for range 5 {
				watch()
			}
			if err := writes.end(); err != nil {
				t.Errorf("before: %v", err)
			}
			must(t, fault.end())
			var took times
			for i := range 3 * mostConnections * 2 {
				r := c.replicas[i%3]
				refusals.join(func() error {
					time.Sleep(50 * time.Millisecond)
					a := c.login(r.url, user)
					took.add(a.Took)
					refused.Add(1)
					if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
						return fmt.Errorf("a login while PostgreSQL is away, at %s: %s", r.name, a)
					}
					return nil
				})
			}
			time.Sleep(away)
			if err := refusals.end(); err != nil {
				t.Error(err)
			}
			t.Logf("%d logins were refused, %v", refused.Load(), &took)
			if took.at(100) > soon(2500*time.Millisecond) {
				t.Errorf("a login was refused after %v, want 2.5 s at most", took.at(100))
			}
			must(t, fault.back())
			for _, r := range c.replicas {
				t.Logf("%s is whole again after %v", r.name, eventually(t, soon(3*time.Second), r.name+" is whole again", func() error {
					_, err := c.login(r.url, user).pair()
					return err
				}).Round(time.Millisecond))
			}
			for range 5 {
				watch()
			}
			if err := exchanges.end(); err != nil {
				t.Error(err)
			}
			if err := verification.end(); err != nil {
				t.Error(err)
			}
			t.Logf("%d exchanges; %d connections at most", exchanged.Load(), most)
			// Each replica has one more that listens for changes.
			if allowed := len(c.replicas) * (mostConnections + 1); most > allowed {
				t.Errorf("%d connections to PostgreSQL, want %d at most", most, allowed)
			}
			for range 3 {
				_, err := c.inAndOut(user)
				must(t, err)
			}
		})
	}
}

// Redis is killed, frozen and emptied, and nobody who asks in the right way hears of it.
func TestRedisIsAway(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{})
	c := open(t, setting{Redis: redis.URL(), Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})}})
	key := c.newCredential(c.newAccount("Keys"), "api-key").Key
	user := c.newUser("User")
	pause := size(time.Second, 10*time.Second)
	verification := c.verify(c.mustExchange(c.replicas[0].url, key))
	var w crowd
	var answers atomic.Int64
	var took times
	for _, r := range c.replicas {
		w.join(func() error {
			a := c.exchange(r.url, key)
			took.add(a.Took)
			if answers.Add(1); a.Status != http.StatusCreated {
				return fmt.Errorf("an exchange at %s: %s", r.name, a)
			}
			if a := c.exchange(r.url, "no key"); a.Status != http.StatusBadRequest {
				return fmt.Errorf("an exchange of a key that is none, at %s: %s", r.name, a)
			}
			return nil
		})
		w.join(func() error {
			a := c.login(r.url, user)
			took.add(a.Took)
			answers.Add(1)
			_, err := a.pair()
			return err
		})
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"emptied", redis.Flush},
		{"killed", redis.Kill},
		{"back", redis.Restart},
		{"frozen", redis.Freeze},
		{"thawed", redis.Thaw},
	} {
		must(t, step.do())
		time.Sleep(pause)
		t.Logf("%s: %d answers by now, all right", step.name, answers.Load())
	}
	must(t, w.end(), verification.end())
	t.Logf("answers, %v", &took)
}
