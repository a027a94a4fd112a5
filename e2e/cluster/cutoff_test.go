package cluster

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// stale is max_staleness in these tests: how long a replica that hears nothing goes on.
const stale = 5 * time.Second

// faults are the ways in which a replica hears nothing any more, and how each ends.
var faults = []struct {
	name      string
	cut, mend func(r *replica) error
	decides   bool // whether it answers meanwhile
}{
	{
		name: "frozen",
		cut:  func(r *replica) error { return r.Signal(syscall.SIGSTOP) },
		mend: func(r *replica) error { return r.Signal(syscall.SIGCONT) },
	},
	{
		name:    "cut off, and told so",
		cut:     func(r *replica) error { r.links[0].Cut(); return nil },
		mend:    func(r *replica) error { r.links[0].Mend(); return nil },
		decides: true,
	},
	{
		name:    "cut off in silence",
		cut:     func(r *replica) error { r.links[0].Silence(); return nil },
		mend:    func(r *replica) error { r.links[0].Mend(); return nil },
		decides: true,
	},
}

// A replica hears nothing any more. A logout at another is answered all the same, and the one that could not hear of it refuses
// the token when its knowledge has become too old to decide on, at the latest; so it refuses every other then, until it
// hears again.
func TestAReplicaThatHearsNothing(t *testing.T) {
	c := open(t, setting{
		YAML:     fmt.Sprintf("revocation: {max_staleness: %v, wait: 2s}\n", stale),
		Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})}, Linked: true,
	})
	deaf, others := c.replicas[2], c.replicas[:2]
	key := c.newCredential(c.newAccount("Keys"), "api-key")
	user := c.newUser("User")
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			c := c.within(t)
			live, dead := c.mustExchange(deaf.url, key.Key), c.mustLogin(others[0].url, user)
			for _, token := range []string{live, dead.Access} {
				if a := c.call(deaf.url, token); a.Status != http.StatusOK {
					t.Fatalf("before: %s", a)
				}
			}
			must(t, f.cut(deaf))
			cut := time.Now() // what it knows was asked for before
			out := c.logout(others[1].url, dead.Access)
			if out.Status != http.StatusOK || out.Took > soon(2500*time.Millisecond) {
				t.Errorf("the logout at another took %v: %s", out.Took, out)
			}
			t.Logf("the logout at another took %v", out.Took.Round(time.Millisecond))
			for _, r := range others {
				if a := c.call(r.url, dead.Access); a.Status != http.StatusUnauthorized {
					t.Errorf("%s: the dead token is answered with %s", r.name, a)
				}
			}
			if f.decides {
				c.hears(deaf, live, dead.Access, cut)
			} else {
				c.thaws(deaf, dead.Access, cut, f.mend)
			}
			must(t, f.mend(deaf))
			again := eventually(t, soon(10*time.Second), "it decides again", func() error {
				if a := c.call(deaf.url, live); a.Status != http.StatusOK {
					return fmt.Errorf("%s", a)
				}
				return nil
			})
			t.Logf("it decides again after %v", again.Round(time.Millisecond))
			if a := c.call(deaf.url, dead.Access); a.Status != http.StatusUnauthorized {
				t.Errorf("whole again, it answers the dead token with %s", a)
			}
			// Nobody waits for it any longer than before.
			p := c.mustLogin(deaf.url, user)
			if a := c.logout(others[0].url, p.Access); a.Status != http.StatusOK || a.Took > soon(time.Second) {
				t.Errorf("a logout when it hears again took %v: %s", a.Took, a)
			}
		})
	}
}

// hears asks a replica that was cut off until it has stopped deciding.
func (c *cluster) hears(deaf *replica, live, dead string, cut time.Time) {
	c.t.Helper()
	var last time.Duration // of a request that was accepted, after the cut
	for time.Since(cut) < stale+time.Second {
		sent := time.Since(cut)
		if a := c.call(deaf.url, dead); a.Status == http.StatusOK {
			last = sent
		}
		sent = time.Since(cut)
		a := c.call(deaf.url, live)
		switch {
		case a.Status == http.StatusOK && sent > stale:
			c.t.Errorf("%v after the cut it decides still", sent)
		case a.Status != http.StatusOK && a.Status != http.StatusServiceUnavailable:
			c.t.Errorf("%v after the cut it answers a live token with %s", sent, a)
		case a.Status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") == "":
			c.t.Errorf("a 503 without Retry-After")
		case a.Status == http.StatusServiceUnavailable && sent < stale/2 && full():
			c.t.Errorf("%v after the cut it decides no more", sent)
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Logf("the dead token was accepted until %v after the cut; max_staleness is %v", last.Round(time.Millisecond), stale)
	if last > stale {
		c.t.Errorf("the dead token was accepted %v after the cut, later than %v", last, stale)
	}
}

// thaws sends requests to a replica that is frozen, and looks at the first that it answers when it goes on.
func (c *cluster) thaws(frozen *replica, dead string, cut time.Time, thaw func(*replica) error) {
	c.t.Helper()
	const waiting = 8
	answers := make(chan answer, waiting)
	for range waiting {
		go func() { answers <- c.call(frozen.url, dead) }()
	}
	time.Sleep(time.Until(cut.Add(stale + 200*time.Millisecond))) // the time in which nobody moves is the point
	must(c.t, thaw(frozen))
	for range waiting {
		if a := <-answers; a.Status != http.StatusUnauthorized && a.Status != http.StatusServiceUnavailable {
			c.t.Errorf("thawed, it answers the dead token with %s", a)
		}
	}
}

// within is the cluster for a part of the test.
func (c *cluster) within(t *testing.T) *cluster {
	part := *c
	part.t = t
	return &part
}

// With a wait above max_staleness nothing that was logged out is accepted anywhere from the moment the logout was answered,
// whatever befell a replica.
func TestNothingDeadAtAll(t *testing.T) {
	c := open(t, setting{
		YAML:     fmt.Sprintf("revocation: {max_staleness: %v, wait: %v}\n", stale, stale+time.Second),
		Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})}, Linked: true,
	})
	deaf := c.replicas[2]
	user := c.newUser("User")
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			c := c.within(t)
			p := c.mustLogin(c.replicas[0].url, user)
			if a := c.call(deaf.url, p.Access); a.Status != http.StatusOK {
				t.Fatalf("before: %s", a)
			}
			must(t, f.cut(deaf))
			out := c.logout(c.replicas[1].url, p.Access)
			if out.Status != http.StatusOK || out.Took > soon(stale+1500*time.Millisecond) {
				t.Errorf("the logout took %v: %s", out.Took, out)
			}
			t.Logf("the logout took %v", out.Took.Round(time.Millisecond))
			if f.decides {
				for range 100 {
					if a := c.call(deaf.url, p.Access); a.Status == http.StatusOK {
						t.Fatal("the dead token was accepted")
					}
				}
			} else {
				c.thaws(deaf, p.Access, time.Now().Add(-stale), f.mend) // at once
			}
			must(t, f.mend(deaf))
			eventually(t, soon(10*time.Second), "it decides again", func() error {
				_, err := c.login(deaf.url, user).pair()
				return err
			})
		})
	}
}
