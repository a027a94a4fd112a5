// Package pgtest starts PostgreSQL servers for tests and benchmarks: each in a folder and on ports of its own, alone or as a
// primary with standbys, to be killed, frozen, promoted and restarted at will. It knows nothing of what is stored in them,
// and needs the server's own programs, of version 15 or later, and no library.
//
// Nothing is left behind: a server and its folder go when the test is over, and also when the program that started it is
// killed, for a guard process beside it waits for just that. Programs are run as the user postgres if we are root, whom
// PostgreSQL refuses, and else as ourselves.
package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// oldest is the version of PostgreSQL that is the least we support.
const oldest = 15

// Config says what a server is to be like. The zero Config is a quick one for tests of what is stored and not of how it
// lasts.
type Config struct {
	// Name is what standbys call themselves to their primary, and what stands in errors; "" means by its port.
	Name string
	// Fsync has each commit reach the disk. Without it a commit survives the death of every process, and not that of the
	// machine.
	Fsync bool
	// Settings are more lines of postgresql.conf.
	Settings map[string]string
}

// programs is where PostgreSQL's are.
var programs = sync.OnceValues(func() (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("servers for tests are started on Linux alone")
	}
	found, newest := "", oldest-1
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	for _, dir := range dirs { // Debian has one for each version
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if _, missing := os.Stat(filepath.Join(dir, "postgres")); err == nil && missing == nil && version > newest {
			found, newest = dir, version
		}
	}
	if found != "" {
		return found, nil
	}
	server, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL %d or later is needed, from the package postgresql", oldest)
	}
	return filepath.Dir(server), nil
})

// Need skips the test where there is no PostgreSQL, and fails it in CI, where there has to be one.
func Need(t testing.TB) {
	t.Helper()
	if _, err := programs(); err != nil {
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

// shared is the server that all tests of the program use, which the guard ends.
var shared = sync.OnceValues(func() (*Server, error) { return New(Config{Name: "shared"}) })

// Database returns the URL of an empty database for the test alone, on a server that all tests of the program share. It is
// dropped when the test is over.
func Database(t testing.TB) string {
	t.Helper()
	return database(t, func(s *Server) (string, error) { return s.CreateDatabase() })
}

// A Template is a database that is filled once, on the shared server, and of which each test has a copy.
type Template struct {
	// Fill puts into an empty database what every copy has, and leaves no connection open.
	Fill func(url string) error

	once sync.Once
	name string
	err  error
}

// Database is [Database], filled.
func (p *Template) Database(t testing.TB) string {
	t.Helper()
	return database(t, func(s *Server) (string, error) {
		p.once.Do(func() {
			if p.name, p.err = s.CreateDatabase(); p.err == nil {
				p.err = p.Fill(s.URL(p.name))
			}
		})
		if p.err != nil {
			return "", p.err
		}
		return s.createLike(p.name)
	})
}

// database has create make a database on the shared server, and drops it when the test is over.
func database(t testing.TB, create func(*Server) (string, error)) string {
	t.Helper()
	Need(t)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name, err := create(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.DropDatabase(name); err != nil {
			t.Error(err)
		}
	})
	return s.URL(name)
}
