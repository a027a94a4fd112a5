package e2e

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to check the file from outside

	"github.com/gatehouse/gatehouse/e2e/ledger"
	"github.com/gatehouse/gatehouse/e2e/program"
)

const killConfig = wideLimits + `
tokens:
  b2b: {reuse_leeway: 60s}
` + b2bRoute

// The server is killed at random moments, again and again, while users log in, refresh, log out and are revoked. Nothing that
// was acknowledged may be lost, nothing that was ended may come back, and no session may end that nobody ended.
//
// GATEHOUSE_KILLS is how often, 30 by default; GATEHOUSE_SEED repeats a run as far as the machine's own timing lets it.
func TestKillsLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	kills, seed := number(t, "GATEHOUSE_KILLS", 30), uint64(number(t, "GATEHOUSE_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("%d kills, GATEHOUSE_SEED=%d", kills, seed)
	up := newUpstream(t, func(call) string { return `{}` })
	in := install(t, strings.ReplaceAll(killConfig, "%UPSTREAM%", up.URL))
	s := in.start(t)
	defer func() { s.Kill() }()
	l := &load{installation: in, random: rand.New(rand.NewPCG(seed, 0))}
	for i := range 8 {
		id := in.newAccount(t, fmt.Sprintf("Account %d", i))
		l.owners = append(l.owners, &ledger.Owner{
			Account: id, User: in.newCredential(t, id, "login"), Servers: []string{in.URL}, Path: "/api/v1/products", Counts: make(map[string]int),
		})
	}
	var ready []time.Duration
	for i := range kills {
		l.begin(seed, uint64(i))
		time.Sleep(time.Duration(20+l.random.IntN(500)) * time.Millisecond) // when is the point of it
		l.killed.Store(true)
		s.Kill()
		l.killCommands()
		if l.random.IntN(6) == 0 { // now and then it does not even come up before it is killed again
			s = in.launch(t)
			time.Sleep(time.Duration(l.random.IntN(120)) * time.Millisecond)
			s.Kill()
		}
		s = in.start(t)
		ready = append(ready, s.Ready)
		if err := errors.Join(l.end(), l.audit(), integrity(in.data())); err != nil {
			t.Fatalf("after kill %d of seed %d: %v\nthe server said:\n%s", i+1, seed, err, s.Said.Tail())
		}
		up.take()
	}
	total := make(map[string]int)
	for _, o := range l.owners {
		for what, n := range o.Counts {
			total[what] += n
		}
	}
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%7d %s", total[what], what)
	}
	slices.Sort(ready)
	t.Logf("ready again after %v (median), %v (99th percentile)", ready[len(ready)/2].Round(time.Millisecond),
		ready[len(ready)*99/100].Round(time.Millisecond))
	// A kill that catches nothing in flight proves nothing.
	for _, what := range []string{"logins", "refreshes", "logouts", "revocations", "thefts", "refreshes settled"} {
		if total[what] == 0 {
			t.Errorf("no %s in the whole run", what)
		}
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number", variable, text)
	}
	return n
}

// A load is the users at work, each owner in a goroutine of its own, until the server is killed.
type load struct {
	*installation
	random *rand.Rand // of the test's goroutine
	owners []*ledger.Owner
	killed atomic.Bool
	wg     sync.WaitGroup
	errs   []error // of each owner

	mu       sync.Mutex
	commands map[*exec.Cmd]bool // that run; true for those that were killed
}

// begin starts round i.
func (l *load) begin(seed, i uint64) {
	l.killed.Store(false)
	l.errs = make([]error, len(l.owners))
	l.commands = make(map[*exec.Cmd]bool)
	l.connect()
	for j, o := range l.owners {
		random := rand.New(rand.NewPCG(seed, i<<16|uint64(j)+1))
		l.wg.Go(func() { l.errs[j] = l.work(o, random) })
	}
}

// connect gives everybody fresh connections.
func (l *load) connect() {
	transport := &http.Transport{MaxIdleConnsPerHost: len(l.owners)}
	for _, o := range l.owners {
		if o.Client != nil {
			o.Client.CloseIdleConnections()
		}
		o.Client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	}
}

// end waits until everybody has noticed that the server is gone. A command that runs beside it waits for the next one.
func (l *load) end() error {
	l.wg.Wait()
	return errors.Join(l.errs...)
}

// audit compares the restarted server with every ledger.
func (l *load) audit() error {
	l.connect()
	errs := make([]error, len(l.owners))
	var wg sync.WaitGroup
	for j, o := range l.owners {
		random := rand.New(rand.NewPCG(l.random.Uint64(), 0))
		wg.Go(func() {
			if errs[j] = o.Audit(random); errs[j] == nil && o.User.ID == "" {
				errs[j] = l.newUser(o)
			}
			if errs[j] != nil {
				errs[j] = fmt.Errorf("account %s: %w", o.Account, errs[j])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// work does one random act after the other.
func (l *load) work(o *ledger.Owner, random *rand.Rand) error {
	for !l.killed.Load() {
		err := l.act(o, random)
		var lost ledger.Lost
		switch {
		case err == nil:
		case errors.As(err, &lost) && l.killed.Load():
			return nil
		case errors.As(err, &lost):
			return fmt.Errorf("account %s: no answer from a server that lives: %w", o.Account, err)
		default:
			return fmt.Errorf("account %s: %w", o.Account, err)
		}
	}
	return nil
}

func (l *load) act(o *ledger.Owner, random *rand.Rand) error {
	if o.User.ID == "" {
		return l.newUser(o)
	}
	if len(o.Alive) > 0 && random.IntN(1000) < 8 {
		return l.revoke(o)
	}
	return o.Act(random)
}

// revoke revokes the user's credential by a command beside the server, and with it everything that came of it.
func (l *load) revoke(o *ledger.Owner) error {
	err := l.runCommand(nil, "credential", "revoke", o.User.ID)
	if errors.Is(err, errKilled) {
		o.Doubt = "revoke"
		return nil
	}
	if err != nil {
		return err
	}
	tokens := o.Alive
	o.User = credential{}
	o.BuryAll()
	o.Counts["revocations"]++
	for _, s := range tokens {
		for _, token := range s.Known() {
			if err := o.Call(token, false, "an access token after its credential was revoked"); err != nil {
				return err
			}
		}
	}
	return nil
}

// newUser gives the account another user.
func (l *load) newUser(o *ledger.Owner) error {
	var made credential
	err := l.runCommand(&made, "credential", "create", "--account", o.Account, "--kind", "login", "--json")
	if errors.Is(err, errKilled) {
		return nil // a user that nobody knows
	}
	o.User = made
	return err
}

// errKilled is a command that killCommands has ended.
var errKilled = errors.New("killed")

// runCommand runs a command, which the end of the server may end as well.
func (l *load) runCommand(answer any, args ...string) error {
	cmd := l.command(args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	l.mu.Lock()
	err := cmd.Start()
	l.commands[cmd] = false
	l.mu.Unlock()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	l.mu.Lock()
	killed := l.commands[cmd]
	delete(l.commands, cmd)
	l.mu.Unlock()
	switch {
	case err != nil && killed:
		return errKilled
	case err != nil:
		return fmt.Errorf("gatehouse %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return program.Decode(out.Bytes(), answer)
}

// killCommands kills every other command that runs beside the server.
func (l *load) killCommands() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for cmd := range l.commands {
		if l.random.IntN(2) == 0 {
			l.commands[cmd] = true
			cmd.Process.Kill()
		}
	}
}

// integrity has SQLite check its file, beside the running server.
func integrity(dir string) error {
	file, err := database(dir)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer db.Close()
	var said string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		return fmt.Errorf("integrity_check of %s: %s, %v", file, said, err)
	}
	rows, err := db.Query("PRAGMA foreign_key_check")
	if err != nil {
		return err
	}
	defer rows.Close()
	if rows.Next() {
		return fmt.Errorf("foreign_key_check of %s found a row that points nowhere", file)
	}
	return rows.Err()
}

// database finds the database in a data directory by its first bytes.
func database(dir string) (found string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, 16)
		if n, _ := io.ReadFull(f, head); string(head[:n]) == "SQLite format 3\x00" {
			found = path
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("no database in %s", dir)
	}
	return found, err
}
