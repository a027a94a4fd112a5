package cluster

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/gatehousetest"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// A logout holds at every replica as soon as it was answered at one, and a login after it lives at every one.
func TestLogoutsHoldEverywhereAtOnce(t *testing.T) {
	c := open(t, setting{})
	var idle times
	user := c.newUser("Alone")
	for range size(100, 300) {
		took, err := c.inAndOut(user)
		must(t, err)
		idle.add(took)
	}
	t.Logf("a logout on an idle cluster, %v", &idle)
	if full() && idle.at(99) > 100*time.Millisecond {
		t.Errorf("p99 of a logout on an idle cluster: got %v, want 100ms at most", idle.at(99))
	}
	var users []program.Credential
	for range crowded {
		users = append(users, c.newUser("Somebody"))
	}
	c.logouts(size(200, 2000), users)
}

// Replicas do not agree on what the time is, by twenty seconds. Nothing of it matters, for no clock
// decides what came before: neither for a logout nor for a login after it.
func TestLogoutsUnderSkewedClocks(t *testing.T) {
	postgres := pgtest.Start(t, pgtest.Config{})
	database, err := postgres.CreateDatabase()
	must(t, err)
	master := filepath.Join(t.TempDir(), "master.key")
	must(t, os.WriteFile(master, []byte(masterKey(t)), 0o600))
	c := &cluster{t: t, client: newClient(t)}
	yaml := fmt.Sprintf("database: %s\nmaster_key_file: %s\n", postgres.URL(database), master) + strings.ReplaceAll(usual, "%UPSTREAM%", startAPI(t))
	var first *gatehousetest.Server
	for i, offset := range []time.Duration{-10 * time.Second, 0, 10 * time.Second} {
		clock := new(gatehousetest.Clock)
		clock.Advance(offset)
		s := gatehousetest.Start(t, gatehousetest.Config{YAML: yaml, Clock: clock})
		c.replicas = append(c.replicas, &replica{name: fmt.Sprintf("replica %c, %v off", 'A'+i, offset), url: s.URL})
		first = cmp.Or(first, s)
	}
	var users []program.Credential
	for range crowded {
		made := first.NewLogin(first.NewAccount("Somebody"))
		users = append(users, program.Credential{Username: made.Identifier, Password: made.Secret})
	}
	c.logouts(size(100, 2000), users)
}

// crowded is how many users log in and out at once.
const crowded = 6

// logouts has users log in and out at random replicas, n times in all.
func (c *cluster) logouts(n int, users []program.Credential) {
	c.t.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var took times
	var w crowd
	for _, user := range users {
		w.join(func() error {
			if left.Add(-1) < 0 {
				w.stop.Store(true)
				return nil
			}
			d, err := c.inAndOut(user)
			took.add(d)
			return err
		})
	}
	must(c.t, w.wait())
	c.t.Logf("%d logouts by %d users, %v", n, len(users), &took)
}

// inAndOut logs a user in and out, and says how long the logout took. His token must be good at every replica before, and at
// none at once after.
func (c *cluster) inAndOut(user program.Credential) (time.Duration, error) {
	somewhere := func() string { return c.replicas[rand.IntN(len(c.replicas))].url }
	p, err := c.login(somewhere(), user).pair()
	if err != nil {
		return 0, fmt.Errorf("login: %w", err)
	}
	for _, r := range c.replicas {
		if a := c.call(r.url, p.Access); a.Status != http.StatusOK {
			return 0, fmt.Errorf("a token after its login, at %s: %s", r.name, a)
		}
	}
	out := c.logout(somewhere(), p.Access)
	if out.Status != http.StatusOK {
		return 0, fmt.Errorf("logout: %s", out)
	}
	for _, i := range rand.Perm(len(c.replicas)) {
		if a := c.call(c.replicas[i].url, p.Access); a.Status != http.StatusUnauthorized {
			return 0, fmt.Errorf("a token after its logout was answered, at %s: %s", c.replicas[i].name, a)
		}
	}
	if a := c.refresh(somewhere(), p.Refresh, ""); a.Status != http.StatusUnauthorized {
		return 0, fmt.Errorf("a refresh token after its logout was answered: %s", a)
	}
	return out.Took, nil
}
