// Package redistest starts Redis servers for tests: each in a folder and on a port of its own, alone or as a cluster, in clear
// text or with TLS, to be killed, frozen, flushed and restarted at will. It knows nothing of what is kept in them. It needs
// the program redis-server, or valkey-server where that is all there is.
//
// Nothing is left behind: a server and its folder go when the test is over, and also when the program that started it is
// killed, for a guard process beside it waits for just that. Nothing is kept on disk, so a server that was killed comes back
// empty.
package redistest

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// Config says what a server is to be like. The zero Config is one that anybody on this machine can use, in clear text.
type Config struct {
	Password string   // of the user "default"; "": none is asked for
	TLS      bool     // its certificate is of an authority of its own, [Server.CAFile], and for 127.0.0.1
	Args     []string // more of the command line: "--maxmemory", "4mb"

	cluster bool
	like    *Server // whose certificates it has; nil: its own
}

var program = sync.OnceValues(func() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("redis-server is needed, from the package redis-server")
})

// Need skips the test where there is no Redis, and fails it in CI, where there has to be one.
func Need(t testing.TB) {
	t.Helper()
	if _, err := program(); err != nil {
		beside.Lack(t, "%v", err)
	}
}

// Start starts a server of the test's own.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	Need(t)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", s, err)
		}
	})
	return s
}

// slots is how many a cluster has.
const slots = 16384

// StartCluster starts a cluster of three masters without standbys, which share the keys evenly, and returns when each knows
// of the others.
func StartCluster(t testing.TB, c Config) []*Server {
	t.Helper()
	c.cluster = true
	var all []*Server
	for range 3 {
		all = append(all, Start(t, c))
		c.like = all[0]
	}
	do := func(s *Server, args ...any) {
		t.Helper()
		if _, err := s.Do(args...); err != nil {
			t.Fatalf("%s: %v: %v", s, args, err)
		}
	}
	for i, s := range all {
		do(s, "CLUSTER", "ADDSLOTSRANGE", slots*i/len(all), slots*(i+1)/len(all)-1)
		do(s, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			do(s, "CLUSTER", "MEET", "127.0.0.1", all[0].port, all[0].bus())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, s := range all {
		if err := s.until(ctx, s.whole); err != nil {
			t.Fatalf("%s: the cluster does not come together: %v", s, err)
		}
	}
	return all
}

// patience is how long we wait for what Redis does at once, on a machine that is busy.
const patience = 60 * time.Second
