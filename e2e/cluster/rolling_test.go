package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// Replicas end and begin again, one after the other, behind nginx and under load: by turns as an upgrade ends them, and as a
// power cut does. A client that tries a second time where no good answer came sees nothing of it.
func TestReplicasComeAndGo(t *testing.T) {
	turns := size(6, 50)
	c := open(t, setting{
		// A replica that was killed is waited for until its row is too old.
		YAML:     "revocation: {max_staleness: 3s, wait: 1s}\ntokens: {b2b: {reuse_leeway: 60s}}\n",
		Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})},
	})
	const pause = 100 * time.Millisecond // before a second try, as clients have it: a process that is killed takes a moment to be gone
	front := c.balance()
	key := c.newCredential(c.newAccount("Keys"), "api-key").Key
	var w crowd
	var asked, again atomic.Int64
	// twice is how the client asks.
	twice := func(want int, what string, ask func() answer) (answer, error) {
		asked.Add(1)
		a := ask()
		if a.Status == 0 || a.Status >= 500 {
			again.Add(1)
			time.Sleep(pause)
			a = ask()
		}
		if a.Status != want {
			return a, fmt.Errorf("%s, after a second try: got %s, want %d", what, a, want)
		}
		return a, nil
	}
	for i := range 6 {
		user := c.newUser(fmt.Sprintf("User %d", i))
		n := 0
		w.join(func() error {
			a, err := twice(200, "login", func() answer { return c.login(front, user) })
			if err != nil {
				return err
			}
			for range 5 {
				p, err := a.pair()
				if err != nil {
					return err
				}
				if _, err := twice(200, "call", func() answer { return c.call(front, p.Access) }); err != nil {
					return err
				}
				if _, err := twice(200, "slow call", func() answer {
					return ask(c.client, "GET", front+path+"?slow", "", "Authorization", "Bearer "+p.Access)
				}); err != nil {
					return err
				}
				if _, err := twice(201, "exchange", func() answer { return c.exchange(front, key) }); err != nil {
					return err
				}
				n++
				if a, err = twice(200, "refresh", func() answer { return c.refresh(front, p.Refresh, fmt.Sprintf("the-key-of-refresh-%d-%d", i, n)) }); err != nil {
					return err
				}
			}
			p, err := a.pair()
			if err != nil {
				return err
			}
			// A second try finds the token dead if the first had been heard.
			if a := c.logout(front, p.Access); a.Status != http.StatusOK {
				again.Add(1)
				time.Sleep(pause)
				if a = c.logout(front, p.Access); a.Status != http.StatusOK && a.Status != http.StatusUnauthorized {
					return fmt.Errorf("logout, after a second try: %s", a)
				}
			}
			_, err = twice(401, "a call after logout", func() answer { return c.call(front, p.Access) })
			return err
		})
	}
	var drained, ready times
	for turn := range turns {
		r := c.replicas[turn%3]
		began := time.Now()
		if turn%2 == 0 {
			if err := r.Stop(); err != nil {
				t.Errorf("%s was told to stop: %v; it said:\n%s", r.name, err, r.Said.Tail())
			}
			drained.add(time.Since(began))
		} else {
			r.Kill()
		}
		began = time.Now()
		must(t, r.start())
		ready.add(time.Since(began))
		if w.stop.Load() {
			break // somebody saw a failure
		}
		// It serves. And a logout that was cut off has time for its second try, which waits for the one that was killed.
		time.Sleep(1500 * time.Millisecond)
	}
	must(t, w.end())
	t.Logf("%d replicas ended; %d requests, %d of them tried a second time", turns, asked.Load(), again.Load())
	t.Logf("orderly ends took, %v; starts, %v", &drained, &ready)
	if drained.at(100) > soon(10*time.Second) {
		t.Errorf("an orderly end took %v, want 10 s at most", drained.at(100))
	}
}

// balance starts nginx in front of the replicas and returns its URL.
func (c *cluster) balance() string {
	c.t.Helper()
	dir, address := c.t.TempDir(), beside.FreeAddress(c.t)
	var text strings.Builder
	fmt.Fprintf(&text, "daemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr crit;\nevents {}\nhttp {\naccess_log off;\n", dir)
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "%s_temp_path %s/%[1]s;\n", temp, dir)
	}
	text.WriteString("upstream replicas {\n")
	for _, r := range c.replicas {
		// Each is tried every time: one that is gone refuses at once, and one that has just come back is not to be shunned.
		fmt.Fprintf(&text, "server %s max_fails=0;\n", r.listen)
	}
	fmt.Fprintf(&text, `keepalive 16;
}
server {
	listen %s;
	location / {
		proxy_pass http://replicas;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
	}
}
}
`, address)
	file := filepath.Join(dir, "nginx.conf")
	must(c.t, os.WriteFile(file, []byte(text.String()), 0o600))
	front := "http://" + address
	program.Other(c.t, dir, func() error { return ask(c.client, "GET", front+"/healthz", "").Err }, "nginx", "-p", dir, "-e", "stderr", "-c", file)
	return front
}
