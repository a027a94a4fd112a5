package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// ask returns the answer to a statement in the superuser's database.
func ask(t *testing.T, s *Server, statement string) string {
	t.Helper()
	var answer string
	must(t, s.Query(&answer, "", statement))
	return answer
}

// What a synchronous standby was told outlives its primary, whose place it takes, and the other then follows.
func TestFailover(t *testing.T) {
	one := Start(t, Config{Name: "one"})
	two, err := one.Standby(Config{Name: "two"})
	must(t, err)
	t.Cleanup(func() { must(t, two.Close()) })
	must(t, one.Synchronous(two))
	ask(t, one, "CREATE TABLE said (what TEXT)")
	for i, pair := range [][2]*Server{{one, two}, {two, one}} {
		primary, standby := pair[0], pair[1]
		ask(t, primary, "INSERT INTO said VALUES ('kept')")
		if err := standby.Query(new(string), "", "INSERT INTO said VALUES ('no')"); err == nil {
			t.Error("a standby takes writes")
		}
		must(t, primary.Kill(), standby.Promote())
		if got, want := ask(t, standby, "SELECT count(*) FROM said"), []string{"1", "2"}[i]; got != want {
			t.Errorf("after %s was killed: got %s rows, want %s", primary, got, want)
		}
		must(t, primary.Follow(standby), standby.Synchronous(primary))
	}
}

func TestFrozenKilledStopped(t *testing.T) {
	s := Start(t, Config{Fsync: true, Settings: map[string]string{"work_mem": "5MB"}})
	if got := ask(t, s, "SHOW fsync") + ask(t, s, "SHOW work_mem"); got != "on5MB" {
		t.Errorf("got %s", got)
	}
	ask(t, s, "CREATE TABLE kept (what TEXT)")
	must(t, s.Freeze())
	answered := make(chan error)
	go func() { answered <- s.Query(new(string), "", "SELECT 1") }()
	select {
	case err := <-answered:
		t.Errorf("frozen, it answered: %v", err)
	case <-time.After(200 * time.Millisecond): // nothing else shows that nothing comes
	}
	must(t, s.Thaw(), <-answered)
	address := s.Addr()
	must(t, s.Kill())
	if err := s.Query(new(string), "", "SELECT 1"); err == nil {
		t.Error("killed, it answered")
	}
	must(t, s.Restart(), s.Stop(), s.Restart())
	ask(t, s, "SELECT * FROM kept")
	if s.Addr() != address {
		t.Errorf("it moved from %s to %s", address, s.Addr())
	}
}

// Databases are each test's own, opened over TCP with a password, by a role that is none of the mighty.
func TestDatabases(t *testing.T) {
	a, b := Database(t), Database(t)
	if a == b {
		t.Fatal("two tests share a database")
	}
	found, err := programs()
	must(t, err)
	psql := func(url, statement string) (string, error) {
		out, err := exec.Command(found+"/psql", "-XAtc", statement, url).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	for _, url := range []string{a, b} {
		got, err := psql(url, "CREATE TABLE mine (what TEXT); SELECT current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)")
		if err != nil || !strings.HasSuffix(got, "gatehouse|f") {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if got, err := psql(strings.Replace(a, ":", ":x", 2), "SELECT 1"); err == nil {
		t.Errorf("with a wrong password: got %s", got)
	}
}

// A program that dies without a word leaves no server and no folder.
func TestNothingIsLeftBehind(t *testing.T) {
	if os.Getenv("PGTEST_ORPHAN") != "" {
		s, err := New(Config{})
		must(t, err)
		must(t, s.Freeze()) // the hardest to get rid of
		os.Stdout.WriteString("dir=" + s.dir + "\n")
		os.Exit(7)
	}
	Need(t)
	cmd := exec.Command(os.Args[0], "-test.run=TestNothingIsLeftBehind")
	cmd.Env = append(os.Environ(), "PGTEST_ORPHAN=1")
	out, err := cmd.Output()
	_, dir, found := strings.Cut(string(out), "dir=")
	dir, _, _ = strings.Cut(dir, "\n")
	if cmd.ProcessState.ExitCode() != 7 || !found {
		t.Fatalf("%v: %s", err, out)
	}
	s := &Server{name: "the orphan", dir: dir}
	must(t, s.until("gone", func() (bool, error) {
		left, err := s.processes()
		_, there := os.Stat(dir)
		return len(left) == 0 && errors.Is(there, os.ErrNotExist), err
	}))
}
