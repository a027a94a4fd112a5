package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
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
	in := &installation{dir: t.TempDir(), Listen: beside.FreeAddress(t), Admin: beside.FreeAddress(t)}
	in.URL = "http://" + in.Listen
	text := fmt.Sprintf("listen: %s\nadmin_listen: %s\ndata_dir: data\n%s", in.Listen, in.Admin, yaml)
	if err := os.WriteFile(in.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *installation) config() string { return filepath.Join(in.dir, "gatehouse.yaml") }
func (in *installation) data() string   { return filepath.Join(in.dir, "data") }

// configure adds lines to the configuration.
func (in *installation) configure(t *testing.T, yaml string) {
	t.Helper()
	file, err := os.OpenFile(in.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(yaml)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// A server is a running child process.
type server struct {
	*installation
	*program.Server
	Ready time.Duration // from before it was executed until /readyz said yes
}

// startServer installs and starts a server that is stopped when the test is over.
func startServer(t *testing.T, yaml string) *server {
	t.Helper()
	s := install(t, yaml).start(t)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server stopped with %v; it said:\n%s", err, s.Said.Tail())
		}
	})
	return s
}

// start starts a server and waits until it is ready. Whoever calls it ends it.
func (in *installation) start(t *testing.T) *server {
	t.Helper()
	began := time.Now()
	s := in.launch(t)
	if err := s.WaitReady(); err != nil {
		s.Kill()
		t.Fatalf("%v; it said:\n%s", err, s.Said.Tail())
	}
	s.Ready = time.Since(began)
	return s
}

// launch starts a server and waits for nothing.
func (in *installation) launch(t *testing.T) *server {
	t.Helper()
	started, err := program.Serve(in.command("serve"), in.Admin)
	if err != nil {
		t.Fatal(err)
	}
	own.Store(in.Listen, true)
	return &server{installation: in, Server: started}
}

// command prepares a command of the binary on this installation.
func (in *installation) command(args ...string) *exec.Cmd {
	return program.Command(binary, nil, append(args, "--config", in.config())...)
}

// run runs a command and reads its answer in JSON into answer, unless that is nil.
func (in *installation) run(answer any, args ...string) error {
	return program.Run(in.command(args...), answer)
}

// A credential is what `credential create` prints.
type credential = program.Credential

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
