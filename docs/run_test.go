package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/server"
)

// binary is the program that the pages are about, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "../cmd/gatehouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build ../cmd/gatehouse:", err)
		return 1
	}
	return m.Run()
}

// TestCommandsThatAreShownRun runs every block of a page that is marked sh, one after the other in one shell that ends at
// the first failure, on the configuration that the page shows as gatehouse.yaml. A block marked "sh sqlite3" is left out
// where there is no sqlite3. What a page says of a machine stands for something of the test's: the folders below /etc, /var
// and /tmp, the two ports, and systemctl, which starts and stops the real server.
func TestCommandsThatAreShownRun(t *testing.T) {
	for _, p := range pages(t) {
		if !slices.ContainsFunc(p.blocks, func(b block) bool { return b.lang == "sh" }) {
			continue
		}
		t.Run(filepath.Base(p.name), func(t *testing.T) {
			t.Parallel()
			beside.Need(t, "curl", "curl")
			m := newMachine(t, p)
			switch p.name {
			case "README.md": // which starts it itself
				m.run(t, p, m.endBackground)
				return
			case "docs/production.md": // which does so too, on PostgreSQL
				m.onPostgres(t)
				m.run(t, p, nil)
				return
			}
			if err := m.start(); err != nil {
				t.Fatal(err)
			}
			m.run(t, p, nil)
		})
	}
}

// A machine is what a page believes to be on.
type machine struct {
	dir  string
	env  []string          // complete before anything runs
	here *strings.Replacer // what stands for what

	mu     sync.Mutex    // for what follows
	server *exec.Cmd     // nil: it does not run
	log    bytes.Buffer  // of all its runs; while one runs it is written to
	read   chan struct{} // closed when the log of this run has ended
}

func newMachine(t *testing.T, p page) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse-docs-") // short: the path of a socket has at most a hundred letters
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, folder := range []string{"bin", "etc", "data", "backups", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	public, admin := beside.FreeAddress(t), beside.FreeAddress(t)
	m := &machine{dir: dir}
	m.here = strings.NewReplacer(
		"/etc/gatehouse", dir+"/etc", "/var/lib/gatehouse", dir+"/data", "/var/backups/gatehouse", dir+"/backups", "/tmp/", dir+"/tmp/",
		"127.0.0.1:8000", public, "127.0.0.1:9000", admin,
	)
	system := httptest.NewServer(http.HandlerFunc(m.systemctl))
	t.Cleanup(func() {
		system.Close()
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "gatehouse")); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nexec curl -sS -f -X POST \"" + system.URL + "/$1/$2\"\n"
	if err := os.WriteFile(filepath.Join(dir, "bin", "systemctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "GATEHOUSE_") {
			m.env = append(m.env, entry)
		}
	}
	m.env = append(m.env, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "no_proxy=*",
		"GATEHOUSE_LISTEN="+public, "GATEHOUSE_ADMIN_LISTEN="+admin)
	for _, b := range p.blocks {
		if b.lang != "yaml" || !slices.Contains(b.words, "gatehouse.yaml") {
			continue
		}
		file := filepath.Join(dir, "etc", "gatehouse.yaml")
		if err := os.WriteFile(file, []byte(m.here.Replace(b.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, "GATEHOUSE_CONFIG="+file)
	}
	return m
}

// onPostgres puts the URL of an empty database where the page has put it, and has the server look there and for the master
// key, as its unit does.
func (m *machine) onPostgres(t *testing.T) {
	t.Helper()
	database := pgtest.Start(t, pgtest.Config{Fsync: true}) // or doctor would find fault with it
	name, err := database.CreateDatabase()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.dir, "etc", "database")
	if err := os.WriteFile(file, []byte(database.URL(name)), 0o600); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock() // the server that starts with it does so on behalf of a program of the page
	defer m.mu.Unlock()
	m.env = append(m.env, "GATEHOUSE_DATABASE_FILE="+file, "GATEHOUSE_MASTER_KEY_FILE="+filepath.Join(m.dir, "etc", "master.key"))
}

// systemctl does what the script of that name was asked for.
func (m *machine) systemctl(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/start/gatehouse":
		err = m.start()
	case "/stop/gatehouse":
		err = m.stop()
	default:
		err = errors.New("systemctl: start or stop gatehouse, and nothing else here")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// start starts the server and waits until it says that it serves.
func (m *machine) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server != nil {
		return errors.New("the server runs already")
	}
	cmd := exec.Command(binary, "serve")
	cmd.Dir, cmd.Env = m.dir, m.env
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	serving, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		said := false
		for lines := bufio.NewReader(stderr); ; {
			line, err := lines.ReadString('\n')
			m.log.WriteString(line)
			if !said && strings.Contains(line, `"msg":"serving"`) {
				said = true
				close(serving)
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-serving:
		m.server, m.read = cmd, read
		return nil
	case <-read:
		return errors.Join(errors.New("the server ended"), cmd.Wait(), errors.New(m.log.String()))
	}
}

// stop stops the server as a service manager would, and waits for it.
func (m *machine) stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil {
		return nil
	}
	cmd := m.server
	m.server = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-m.read
	return cmd.Wait()
}

// run runs the blocks of a page, and then, if it is not nil, after, with the process group that they ran in.
func (m *machine) run(t *testing.T, p page, after func(*testing.T, int)) {
	t.Helper()
	var script strings.Builder
	for _, b := range p.blocks {
		if b.lang != "sh" {
			continue
		}
		if i := slices.IndexFunc(b.words, func(program string) bool { _, err := exec.LookPath(program); return err != nil }); i >= 0 {
			t.Logf("%s:%d is left out: there is no %s here", p.name, b.line, b.words[i])
			continue
		}
		fmt.Fprintf(&script, "echo '--- %s:%d' >&2\n%s", p.name, b.line, m.here.Replace(b.text))
	}
	// Into a file, not a pipe: a server in the background would hold it open.
	out, err := os.Create(filepath.Join(m.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	sh := exec.Command("sh", "-eu", "-c", script.String())
	sh.Dir, sh.Env, sh.Stdout, sh.Stderr = m.dir, m.env, out, out
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it leaves in the background
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	if after != nil {
		defer after(t, sh.Process.Pid)
	}
	if err := sh.Wait(); err != nil {
		said, _ := os.ReadFile(out.Name())
		t.Errorf("the commands of %s: %v; the last of this is where it ended:\n%s\nthe server's log:\n%s", p.name, err, said, m.stopAndLog())
	}
}

// endBackground ends what the page's shell started with &, and waits until no server holds its data directory.
func (m *machine) endBackground(t *testing.T, group int) {
	t.Helper()
	if err := syscall.Kill(-group, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	for end := time.Now().Add(time.Minute); server.Running(filepath.Join(m.dir, "gatehouse-data")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("a server that the page started does not end")
			return
		}
	}
}

func (m *machine) stopAndLog() string {
	if err := m.stop(); err != nil {
		return err.Error()
	}
	return m.log.String()
}

// A page says what is wrong with itself; this is for the tests.
func TestAPageIsTakenApart(t *testing.T) {
	p := parse(t, "x.md", "a `b\n  c` d\n\n    indented\n\n    on\nprose\n```sh curl\nrun\n```\n# T\n| a |\n|---|\n| `x` |\n")
	if len(p.blocks) != 2 || p.blocks[0].text != "indented\n\non\n" || p.blocks[1].text != "run\n" || !slices.Equal(p.blocks[1].words, []string{"curl"}) {
		t.Errorf("blocks: %+v", p.blocks)
	}
	p.spans(func(number int, code string) {
		if code != "b c" && code != "x" {
			t.Errorf("line %d: %q", number, code)
		}
	})
}
