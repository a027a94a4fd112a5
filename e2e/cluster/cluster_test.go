package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/fault"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// usual is the configuration of every cluster: limits that are looked at and never reached, and one route that every kind of
// token opens.
const usual = `
public_url: http://cluster.test
log: {level: warn}
limits:
  exchange_per_address:    {rate: 1000000/s, burst: 1000000}
  exchange_per_credential: {rate: 1000000/s, burst: 1000000}
  failures_per_address:    {rate: 1000000/s, burst: 1000000}
  failures_per_identifier: {rate: 1000000/s, burst: 1000000}
routes:
  - path: /api/
    upstream: %UPSTREAM%
    accepts: [ACCESS_TOKEN, ORDER_API, B2B_ACCESS, OAUTH_ACCESS]
`

// path is of the API behind the route.
const path = "/api/v1/products"

// setting is how a cluster is to be. The zero setting is three replicas on a PostgreSQL of their own, at which they are
// connected without anything between.
type setting struct {
	YAML     string // instead of the usual limits, and more
	Postgres []*pgtest.Server
	Redis    string // its URL
	// Linked puts a line between each replica and each server of PostgreSQL, which can be cut.
	Linked bool
	Fewer  int // replicas than three
}

// A cluster is the replicas and what they share.
type cluster struct {
	t        *testing.T
	postgres []*pgtest.Server
	database string // its name
	master   string // key
	redis    string
	client   *http.Client
	replicas []*replica
}

// A replica is one server, which can end and begin again.
type replica struct {
	*program.Server // nil before its first start
	name            string
	url             string
	listen, admin   string
	config          string // its file
	variables       []string
	links           []*fault.Link // to the servers of PostgreSQL
}

// open starts a cluster and ends it with the test.
func open(t *testing.T, s setting) *cluster {
	t.Helper()
	c := &cluster{t: t, postgres: s.Postgres, redis: s.Redis}
	if c.postgres == nil {
		c.postgres = []*pgtest.Server{pgtest.Start(t, pgtest.Config{Fsync: true})}
	}
	var err error
	if c.database, err = c.postgres[0].CreateDatabase(); err != nil {
		t.Fatal(err)
	}
	c.master, c.client = masterKey(t), newClient(t)
	api := startAPI(t)
	yaml := s.YAML
	if !strings.Contains(yaml, "limits:") {
		yaml += usual
	}
	for i := range 3 - s.Fewer {
		c.replicas = append(c.replicas, c.newReplica(i, strings.ReplaceAll(yaml, "%UPSTREAM%", api), s.Linked))
	}
	// All at once, on a database that holds nothing yet.
	c.each(func(r *replica) error { return r.start() })
	return c
}

// masterKey draws one.
func masterKey(t *testing.T) string {
	t.Helper()
	key, err := program.Command(binary, nil, "master-key", "generate").Output()
	must(t, err)
	return strings.TrimSpace(string(key))
}

func (c *cluster) newReplica(i int, yaml string, linked bool) *replica {
	t := c.t
	t.Helper()
	r := &replica{name: fmt.Sprintf("replica %c", 'A'+i), listen: beside.FreeAddress(t), admin: beside.FreeAddress(t)}
	r.url = "http://" + r.listen
	var addresses []string
	for _, server := range c.postgres {
		addresses = append(addresses, server.Addr())
		if linked {
			link, err := fault.Listen(server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { link.Close() })
			r.links = append(r.links, link)
			addresses[len(addresses)-1] = link.Addr()
		}
	}
	dir := t.TempDir()
	r.config = filepath.Join(dir, "gatehouse.yaml")
	text := fmt.Sprintf("listen: %s\nadmin_listen: %s\ndata_dir: %s\n%s", r.listen, r.admin, filepath.Join(dir, "data"), yaml)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.variables = []string{
		"GATEHOUSE_MASTER_KEY=" + c.master,
		"GATEHOUSE_DATABASE=" + pgtest.URL(c.database, c.postgres[0].Password(), addresses...),
	}
	if c.redis != "" {
		r.variables = append(r.variables, "GATEHOUSE_REDIS="+c.redis)
	}
	t.Cleanup(func() {
		if r.Server == nil {
			return
		}
		_ = r.Signal(syscall.SIGCONT) // it may have been left frozen
		r.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", r.name, r.Said.Tail())
		}
	})
	return r
}

func (r *replica) command(args ...string) *exec.Cmd {
	return program.Command(binary, r.variables, append(args, "--config", r.config)...)
}

// start starts a replica that does not run, and waits until it is ready.
func (r *replica) start() error {
	started, err := program.Serve(r.command("serve"), r.admin)
	if err != nil {
		return err
	}
	r.Server = started
	if err := r.WaitReady(); err != nil {
		return fmt.Errorf("%s: %w; it said:\n%s", r.name, err, r.Said.Tail())
	}
	return nil
}

// each does something with all replicas at once.
func (c *cluster) each(do func(r *replica) error) {
	c.t.Helper()
	errs := make([]error, len(c.replicas))
	var all sync.WaitGroup
	for i, r := range c.replicas {
		all.Go(func() { errs[i] = do(r) })
	}
	all.Wait()
	must(c.t, errs...)
}

// urls are those of the replicas.
func (c *cluster) urls() []string {
	var urls []string
	for _, r := range c.replicas {
		urls = append(urls, r.url)
	}
	return urls
}

// run runs a command beside the first replica and reads its answer in JSON into answer, unless that is nil.
func (c *cluster) run(answer any, args ...string) {
	c.t.Helper()
	must(c.t, program.Run(c.replicas[0].command(args...), answer))
}

// newAccount makes an account and returns its number.
func (c *cluster) newAccount(name string) string {
	c.t.Helper()
	var made struct{ ID int64 }
	c.run(&made, "account", "create", "--name", name, "--json")
	return fmt.Sprint(made.ID)
}

// newCredential makes a credential for an account, with more flags of the command, if any.
func (c *cluster) newCredential(account, kind string, more ...string) program.Credential {
	c.t.Helper()
	var made program.Credential
	c.run(&made, append([]string{"credential", "create", "--account", account, "--kind", kind, "--json"}, more...)...)
	return made
}

// newUser makes an account with one login.
func (c *cluster) newUser(name string) program.Credential {
	c.t.Helper()
	return c.newCredential(c.newAccount(name), "login")
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
