package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wideLimits are looked at and never reached.
const wideLimits = `
limits:
  exchange_per_address:    {rate: 1000000/s, burst: 1000000}
  exchange_per_credential: {rate: 1000000/s, burst: 1000000}
  failures_per_address:    {rate: 1000000/s, burst: 1000000}
  failures_per_identifier: {rate: 1000000/s, burst: 1000000}
`

// An installation is a data directory and a configuration: what is left of a server when it is not running.
type installation struct {
	dir    string // of the configuration
	Listen string // host:port
	Admin  string
	URL    string // http://Listen
}

// install writes a configuration: yaml, and before it where to listen (free ports) and where the data is.
func install(t *testing.T, yaml string) *installation {
	t.Helper()
	in := &installation{dir: t.TempDir(), Listen: freeAddress(t), Admin: freeAddress(t)}
	in.URL = "http://" + in.Listen
	text := fmt.Sprintf("listen: %s\nadmin_listen: %s\ndata_dir: data\n%s", in.Listen, in.Admin, yaml)
	if err := os.WriteFile(in.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *installation) config() string { return filepath.Join(in.dir, "gatehouse.yaml") }
func (in *installation) data() string   { return filepath.Join(in.dir, "data") }

// freeAddress finds a port of the loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A server is a running child process.
type server struct {
	*installation
	cmd   *exec.Cmd
	said  *said
	ended chan struct{} // closed when it has ended
	Ready time.Duration // from before it was executed until /readyz said yes
}

// said keeps what a server logged.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

// tail is the end of it.
func (s *said) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// startServer installs and starts a server that is stopped when the test is over.
func startServer(t *testing.T, yaml string) *server {
	t.Helper()
	s := install(t, yaml).start(t)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server stopped with %v; it said:\n%s", err, s.said.tail())
		}
	})
	return s
}

// start starts a server and waits until it is ready. Whoever calls it ends it.
func (in *installation) start(t *testing.T) *server {
	t.Helper()
	began := time.Now()
	s := in.launch(t)
	if err := s.waitReady(); err != nil {
		s.kill()
		t.Fatalf("%v; it said:\n%s", err, s.said.tail())
	}
	s.Ready = time.Since(began)
	return s
}

// launch starts a server and waits for nothing.
func (in *installation) launch(t *testing.T) *server {
	t.Helper()
	s := &server{installation: in, said: new(said), ended: make(chan struct{})}
	s.cmd = in.command("serve")
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	return s
}

// waitReady returns when /readyz says yes.
func (s *server) waitReady() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	late := time.After(30 * time.Second)
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		if res, err := client.Get("http://" + s.Admin + "/readyz"); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended before it was ready: %v", s.cmd.ProcessState)
		case <-late:
			return errors.New("the server is not ready after 30 s")
		case <-again.C:
		}
	}
}

// stop ends the server in an orderly way.
func (s *server) stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return errors.New(s.cmd.ProcessState.String())
	}
	return nil
}

// kill ends the server as a power cut would, and returns when it is gone.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// command prepares a command of the binary on this installation.
func (in *installation) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append(args, "--config", in.config())...)
	// The tests' own settings are none of the program's, and it refuses what it does not know.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GATEHOUSE_") })
	return cmd
}

// run runs a command and reads its answer in JSON into answer, unless that is nil.
func (in *installation) run(answer any, args ...string) error {
	cmd := in.command(args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("gatehouse %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, said.String())
	}
	return decode(out, answer)
}

// decode reads what a command printed, unless nobody asked.
func decode(out []byte, answer any) error {
	if answer == nil {
		return nil
	}
	return json.Unmarshal(out, answer)
}

// A credential is what `credential create` prints: its id, and of the rest what belongs to its kind.
type credential struct {
	ID           string
	Account      json.Number
	Key          string // api-key
	UserID       string `json:"user_id"` // basic
	Username     string // login
	Password     string // basic, login
	ClientID     string `json:"client_id"`     // oauth
	ClientSecret string `json:"client_secret"` // oauth
}

// newAccount makes an account and returns its number.
func (in *installation) newAccount(t *testing.T, name string) string {
	t.Helper()
	var made struct{ ID json.Number }
	if err := in.run(&made, "account", "create", "--name", name, "--json"); err != nil {
		t.Fatal(err)
	}
	return made.ID.String()
}

// newCredential makes a credential for an account, with more flags of the command, if any.
func (in *installation) newCredential(t *testing.T, account, kind string, more ...string) credential {
	t.Helper()
	var made credential
	args := []string{"credential", "create", "--account", account, "--kind", kind, "--json"}
	if err := in.run(&made, append(args, more...)...); err != nil {
		t.Fatal(err)
	}
	return made
}
