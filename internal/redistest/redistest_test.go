package redistest

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, s *Server, args ...any) {
	t.Helper()
	_, err := s.Do(append([]any{"SET"}, args...)...)
	must(t, err)
}

// A server dies and comes back, on the port it had, and has forgotten.
func TestKillAndRestart(t *testing.T) {
	for _, c := range []Config{{}, {Password: "p@ss/word"}, {TLS: true, Password: "secret"}} {
		s := Start(t, c)
		before := s.URL()
		set(t, s, "k", "v")
		must(t, s.Freeze(), s.Thaw(), s.Kill(), s.Kill())
		if _, err := s.Do("PING"); err == nil {
			t.Error("a dead server answered")
		}
		must(t, s.Restart())
		if _, err := s.Do("GET", "k"); !errors.Is(err, redis.Nil) {
			t.Errorf("after a restart: got %v, want nothing", err)
		}
		if s.URL() != before {
			t.Errorf("got %s, before it was %s", s.URL(), before)
		}
		must(t, s.Freeze(), s.Kill())
	}
}

func TestLastingKeys(t *testing.T) {
	s := Start(t, Config{})
	set(t, s, "short", "v", "EX", 60)
	set(t, s, "long", "v")
	lasting, all, err := s.Lasting()
	must(t, err)
	if all != 2 || len(lasting) != 1 || lasting[0] != "long" {
		t.Errorf("got %v of %d, want long of 2", lasting, all)
	}
	must(t, s.Flush())
	if _, all, err := s.Lasting(); err != nil || all != 0 {
		t.Errorf("after a flush: got %d keys, %v", all, err)
	}
}

// Three servers are one cluster: each sends those it does not serve elsewhere.
func TestCluster(t *testing.T) {
	for _, c := range []Config{{}, {TLS: true}} {
		all := StartCluster(t, c)
		served := 0
		for _, s := range all {
			if _, err := s.Do("SET", "k", "v"); err == nil {
				served++
			}
		}
		if len(all) != 3 || served != 1 {
			t.Errorf("%d of %d members took a key, want 1 of 3", served, len(all))
		}
	}
}
