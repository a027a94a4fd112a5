package cluster

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/verify"
	"github.com/gatehouse/gatehouse/verify/remote"
)

// A backup is taken, more is handed out and revoked, and the backup is restored. No token and no session of before opens
// anything any more, at no replica and at no service that checks tokens by itself: not those that the revocations of after
// the backup had killed, nor those that lived. A replica that slept through it all, and wakes up, is no exception.
func TestNothingOfBeforeOutlivesARestore(t *testing.T) {
	c := open(t, setting{
		YAML:     fmt.Sprintf("revocation: {max_staleness: %v, wait: 2s}\n", stale),
		Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})},
	})
	key := c.newCredential(c.newAccount("Keys"), "api-key").Key
	client := c.newCredential(c.newAccount("Our own services"), "oauth", "--scope", "gatehouse:revocations")
	user, leaver := c.newUser("User"), c.newUser("Leaver")
	tokens := map[string]string{
		"of before the backup": c.mustExchange(c.replicas[0].url, key),
	}
	early := c.mustLogin(c.replicas[1].url, user)
	tokens["of a login before the backup"] = early.Access
	ended := c.mustLogin(c.replicas[1].url, leaver)

	elsewhere := c.checkElsewhere(client.ClientID, client.ClientSecret)
	for what, token := range tokens {
		eventually(t, 20*time.Second, "a service knows a token "+what, func() error { return elsewhere(token) })
	}

	file := filepath.Join(t.TempDir(), "cluster.backup")
	c.run(nil, "backup", file)
	if a := c.logout(c.replicas[2].url, ended.Access); a.Status != http.StatusOK {
		t.Fatalf("logout: %s", a)
	}
	c.run(nil, "credential", "revoke", leaver.ID)
	tokens["that a logout after the backup had killed"] = ended.Access
	late := c.mustLogin(c.replicas[0].url, user)
	tokens["of a login after the backup"] = late.Access
	tokens["of after the backup"] = c.mustExchange(c.replicas[2].url, key)

	sleeper := c.replicas[2]
	must(t, sleeper.Signal(syscall.SIGSTOP))
	frozen := time.Now()
	must(t, c.replicas[0].Stop(), c.replicas[1].Stop())
	c.run(nil, "restore", file, "--replace-database", "--accept-revived-credentials", "--under-running-servers")
	asleep := make(chan answer, len(tokens))
	for _, token := range tokens {
		go func() { asleep <- c.call(sleeper.url, token) }()
	}
	must(t, c.replicas[0].start(), c.replicas[1].start())
	time.Sleep(time.Until(frozen.Add(stale))) // until then it may go by what it knew
	must(t, sleeper.Signal(syscall.SIGCONT))
	for range tokens {
		if a := <-asleep; a.Status == http.StatusOK {
			t.Error("the replica that slept accepts a token of before")
		}
	}
	eventually(t, 20*time.Second, "the replica that slept has found out", func() error {
		_, err := c.login(sleeper.url, user).pair()
		return err
	})
	for _, r := range c.replicas {
		for what, token := range tokens {
			if a := c.call(r.url, token); a.Status != http.StatusUnauthorized {
				t.Errorf("%s: a token %s is answered with %s", r.name, what, a)
			}
		}
		for what, p := range map[string]pair{"before": early, "after": late, "before, and out after": ended} {
			if a := c.refresh(r.url, p.Refresh, ""); a.Status != http.StatusUnauthorized {
				t.Errorf("%s: a refresh token of a login %s the backup is answered with %s", r.name, what, a)
			}
		}
	}
	fresh := c.mustExchange(sleeper.url, key)
	for _, r := range c.replicas {
		if a := c.call(r.url, fresh); a.Status != http.StatusOK {
			t.Errorf("%s: a token of after the restore is answered with %s", r.name, a)
		}
	}
	took := eventually(t, 60*time.Second, "a service elsewhere knows a token of after the restore", func() error { return elsewhere(fresh) })
	t.Logf("a service elsewhere had found out %v after the replicas", took.Round(time.Millisecond))
	for what, token := range tokens {
		if err := elsewhere(token); err == nil {
			t.Errorf("a service elsewhere accepts a token %s", what)
		}
	}
	if _, err := c.inAndOut(user); err != nil {
		t.Error(err)
	}
}

// checkElsewhere starts what a service has that checks tokens by itself, and returns how it judges one.
func (c *cluster) checkElsewhere(id, secret string) (judge func(token string) error) {
	t := c.t
	t.Helper()
	tokens, err := remote.New(remote.Config{
		URL: c.replicas[0].url, Issuers: []string{"http://cluster.test"}, Audiences: []string{"http://cluster.test"}, MaxStaleness: time.Minute,
		Credentials: func() (string, string, error) { return id, secret, nil },
	})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tokens.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return func(token string) error {
		_, err := tokens.Verify(token, []verify.Type{verify.AccessToken, verify.B2BAccess})
		return err
	}
}
