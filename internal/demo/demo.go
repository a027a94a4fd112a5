// Package demo runs everything at once on throwaway data: a server, a sample API behind its gateway, a sample account with a
// credential of each kind; and prints the lines to try it with. What it runs is what gatehouse serve runs. It leaves to the
// command line when to stop.
//
// The invariants: every line that it prints works as it stands, in any sh with curl; it touches nothing outside its own
// folder, and leaves nothing behind unless it is asked to.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/server"
)

// DefaultListen is where customers reach the demo unless it is said otherwise.
const DefaultListen = "127.0.0.1:8000"

// defaultAdmin is where operators do, if nobody else is there.
const defaultAdmin = "127.0.0.1:9000"

// Config says how to run it.
type Config struct {
	Listen  string    // "": DefaultListen
	Dir     string    // a folder that is new or empty, and kept; "": a temporary one, removed at the end
	Fixed   bool      // a sandbox: with credentials that are the same everywhere, and some that misbehave
	Origins []string  // whose pages may call it from a browser; none: nobody's
	Program string    // how the lines it prints call this program
	Version string    // of the program
	Out     io.Writer // what it prints
}

// A taken error says that an address is in use.
type taken struct{ address string }

func (e taken) Error() string {
	return fmt.Sprintf("%s is taken by another program: gatehouse demo --listen 127.0.0.1:0 takes a free port", e.address)
}

// Run runs the demo until ctx ends.
func Run(ctx context.Context, c Config) (err error) {
	dir, discard, err := folder(c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, discard()) }()

	listen := c.Listen
	if listen == "" {
		listen = DefaultListen
	}
	// They stay open until the server has them, or another demo that starts now would take them.
	public, err := open(ctx, listen)
	if err != nil {
		return err
	}
	defer public.Close()
	admin, err := openAdmin(ctx, listen)
	if err != nil {
		return err
	}
	defer admin.Close()
	at := addresses{public: public.Addr().String(), admin: admin.Addr().String()}
	upstream, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the sample API: %w", err)
	}
	api := &http.Server{Handler: API(), ReadHeaderTimeout: 5 * time.Second}
	go api.Serve(upstream) //nolint:errcheck // it ends when it is closed
	defer api.Close()
	at.api = upstream.Addr().String()

	loaded, err := configure(dir, at, c)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "gatehouse.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	options, fill := server.Options{Log: log, Version: c.Version, Listener: public, AdminListener: admin}, seed
	if c.Fixed {
		options.Sandbox, fill = quirks(), seedFixed
	}
	made, err := prepare(ctx, loaded, fill)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, loaded, options)
	if err != nil {
		return err
	}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	told := make(chan error, 1)
	go func() {
		var err error
		select {
		case <-s.Ready():
			if err = tell(c.Out, c, dir, at, made); err != nil {
				giveUp()
			}
		case <-ctx.Done():
		}
		told <- err
	}()
	err = s.Run(ctx)
	giveUp() // if it was never ready
	return errors.Join(err, <-told)
}

// prepare makes the database, fills it and invites somebody to each dashboard, before anybody can find the server ready: a CI system asks as soon as it is.
func prepare(ctx context.Context, c *config.Config, fill func(context.Context, *registry.Registry) (sample, error)) (made sample, err error) {
	op, err := server.Open(ctx, c, server.OpenOptions{Create: true})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, op.Close()) }()
	if made, err = fill(ctx, op.Registry); err != nil {
		return sample{}, err
	}
	for _, p := range []struct {
		account auth.AccountID
		base    string
		link    *string
	}{{0, c.Dashboard.AdminURL, &made.operators}, {made.account.ID, c.PublicURL, &made.members}} {
		invited, err := op.Registry.InvitePerson(ctx, operator, p.account, registry.NewPerson{Email: "demo@example.com", Name: "Demo", Role: auth.RoleOwner}, 0)
		if err != nil {
			return sample{}, err
		}
		*p.link = invited.Link(p.base)
	}
	return made, nil
}

// addresses are where everything listens.
type addresses struct{ public, admin, api string }

// folder is the one that everything lies in, and what becomes of it at the end.
func folder(keep string) (dir string, discard func() error, err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "gatehouse-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("--keep: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("--keep: %w", err)
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("--keep %s: there is something in it already: name a new folder, or go on with what a demo left there by gatehouse serve --config %s", keep, filepath.Join(keep, configFile))
	}
	return dir, func() error { return nil }, nil
}

// open listens at an address.
func open(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, taken{address}
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", address, err)
	}
	return l, nil
}

// openAdmin listens where operators reach a demo that customers reach at listen: at a free port, if it is at one too, or if
// somebody else is at [defaultAdmin].
func openAdmin(ctx context.Context, listen string) (net.Listener, error) {
	if _, port, _ := net.SplitHostPort(listen); port != "0" {
		if l, err := open(ctx, defaultAdmin); err == nil {
			return l, nil
		}
	}
	return open(ctx, "127.0.0.1:0")
}

// url is how this machine reaches an address that is listened on.
func url(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		listen = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + listen
}

// configFile is the demo's configuration, with which serve and the commands work on what it left.
const configFile = "gatehouse.yaml"

const configuration = `# Written by gatehouse demo.
listen: "%[1]s"
admin_listen: "%[2]s"
public_url: "%[4]s"
data_dir: data
environment: %[5]s
shutdown_grace: 2s

# The sample API, which stands behind the gateway.
routes:
  - path: /api/v1
    upstream: http://%[3]s
    accepts: [B2B_ACCESS, OAUTH_ACCESS]
  - path: /api/orders
    upstream: http://%[3]s
    accepts: [ORDER_API]
  - path: /api/cart
    upstream: http://%[3]s
    accepts: [ACCESS_TOKEN]
  - path: /api/whoami
    upstream: http://%[3]s
    accepts: [ACCESS_TOKEN, ORDER_API, B2B_ACCESS, OAUTH_ACCESS]
`

// wide is the part of a sandbox's configuration that no other demo has.
const wide = `
# All that is tested comes from one address. A test is not to be refused for what others tried before it.
limits:
  exchange_per_address:    {rate: 60000/min, burst: 10000}
  exchange_per_credential: {rate: 60000/min, burst: 10000}
  failures_per_address:    {rate: 60000/min, burst: 10000}
  failures_per_identifier: {rate: 60000/min, burst: 10000}
`

// configure writes the configuration and reads it as any other. The environment is not looked at: what is set there is meant
// for another server.
func configure(dir string, at addresses, c Config) (*config.Config, error) {
	path := filepath.Join(dir, configFile)
	environment, more := auth.Live, ""
	if c.Fixed {
		environment, more = auth.Test, wide
	}
	text := fmt.Appendf(nil, configuration, at.public, at.admin, at.api, url(at.public), environment)
	text = append(text, more...)
	if len(c.Origins) > 0 {
		origins, err := json.Marshal(c.Origins) // which is YAML too
		if err != nil {
			return nil, err
		}
		text = fmt.Appendf(text, "\n# Whose pages may call from a browser.\ncors:\n  allowed_origins: %s\n", origins)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return config.Load(config.Options{Path: path})
}

// A sample is a customer with everything he has.
type sample struct {
	account             auth.Account
	key                 string
	basic, login, oauth pair
	operators, members  string // links to the dashboards, which let one person in each
}

type pair struct{ identifier, secret string }

// take notes a credential.
func (s *sample) take(kind auth.Kind, identifier, secret string) {
	switch kind {
	case auth.APIKey:
		s.key = identifier
	case auth.Basic:
		s.basic = pair{identifier, secret}
	case auth.Login:
		s.login = pair{identifier, secret}
	case auth.OAuth:
		s.oauth = pair{identifier, secret}
	}
}

// operator is who makes the sample account.
var operator = auth.Actor{Name: "demo", Role: auth.RoleOwner, Machine: true}

// seed makes the sample account, with a credential of each kind.
func seed(ctx context.Context, r *registry.Registry) (sample, error) {
	var s sample
	var err error
	if s.account, err = r.CreateAccount(ctx, operator, "Sample Customer", "DEMO-1"); err != nil {
		return s, err
	}
	for _, kind := range auth.Kinds {
		issued, err := r.CreateCredential(ctx, operator, registry.NewCredential{Account: s.account.ID, Kind: kind, Name: "demo"})
		if err != nil {
			return s, err
		}
		identifier, secret := issued.Reveal()
		s.take(kind, identifier, secret)
	}
	return s, nil
}
