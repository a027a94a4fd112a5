// Package gatehousetest starts a real Gatehouse inside a test: its own database in a temporary folder, its own free ports,
// a clock that the test moves, accounts and credentials at hand. It is for those who build on Gatehouse and want their tests
// to meet the thing itself.
//
// What is started is what gatehouse serve starts. It stops, and its data is gone, when the test ends.
package gatehousetest

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/server"
)

// Config says what to start. Its zero value is a server with the default configuration on free ports.
type Config struct {
	// YAML is a configuration as in gatehouse.yaml. listen, admin_listen and data_dir are set for the test, unless they are
	// in here.
	YAML string
	// Listen is the address of the public listener; "" takes a free port of 127.0.0.1.
	Listen string
	// Dir is the data directory; "" is a new temporary one. With one of your own a second server can go on where a first
	// one stopped.
	Dir string
	// Clock is the time of the server; nil is a new one that shows the machine's time.
	Clock *Clock
}

// A Server is a running Gatehouse.
type Server struct {
	URL      string // of the public listener, without a slash at its end
	AdminURL string // of the listener for operators
	Dir      string // the data directory
	Clock    *Clock

	t       testing.TB
	server  *server.Server
	stop    context.CancelFunc
	stopped chan struct{}
	once    sync.Once
	log     *beside.Said
}

// operator is who does what the test does.
var operator = auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}

// Start starts a server and waits until it answers. Any error fails the test.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "gatehouse")
	}
	if c.Clock == nil {
		c.Clock = new(Clock)
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	file := filepath.Join(t.TempDir(), "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(c.YAML), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := map[string]string{"listen": c.Listen, "admin_listen": "127.0.0.1:0", "data_dir": c.Dir}
	loaded, err := config.Load(config.Options{Path: file, Flags: flags})
	if err != nil {
		t.Fatalf("the configuration of the test server: %v", err)
	}
	s := &Server{t: t, Dir: c.Dir, Clock: c.Clock, stopped: make(chan struct{}), log: new(beside.Said)}
	s.server, err = server.New(context.Background(), loaded, server.Options{Log: s.log, Now: c.Clock.Now, Version: "test"})
	if err != nil {
		t.Fatalf("start the test server: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.stopped)
		if err := s.server.Run(ctx); err != nil {
			t.Errorf("the test server: %v", err)
		}
	}()
	<-s.server.Ready()
	s.URL, s.AdminURL = "http://"+s.server.Addr(), "http://"+s.server.AdminAddr()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("the log of the test server:\n%s", s.log)
		}
	})
	return s
}

// Stop stops the server in order, as SIGTERM would, and waits for it. The test's end does it too.
func (s *Server) Stop() {
	s.once.Do(func() {
		s.stop()
		<-s.stopped
	})
}

// Log is what the server has logged so far. The last tenth of a second may be missing.
func (s *Server) Log() string { return s.log.String() }

// NewAccount makes an account and returns its number.
func (s *Server) NewAccount(name string) int64 {
	s.t.Helper()
	a, err := s.registry().CreateAccount(s.t.Context(), operator, name, "")
	if err != nil {
		s.t.Fatalf("make the account %q: %v", name, err)
	}
	return int64(a.ID)
}

// A Credential is a credential with its secret.
type Credential struct {
	ID         string // its id, the claim "cid" of its tokens
	Identifier string // the API key itself, or user ID, username, client id
	Secret     string // the password or client secret; "" for an API key
}

// NewAPIKey makes an API key with these scopes.
func (s *Server) NewAPIKey(account int64, scopes ...string) Credential {
	s.t.Helper()
	return s.newCredential(auth.APIKey, account, scopes)
}

// NewBasic makes a user ID and a password for order tokens.
func (s *Server) NewBasic(account int64, scopes ...string) Credential {
	s.t.Helper()
	return s.newCredential(auth.Basic, account, scopes)
}

// NewLogin makes a username and a password.
func (s *Server) NewLogin(account int64, scopes ...string) Credential {
	s.t.Helper()
	return s.newCredential(auth.Login, account, scopes)
}

// NewOAuthClient makes a client id and a client secret.
func (s *Server) NewOAuthClient(account int64, scopes ...string) Credential {
	s.t.Helper()
	return s.newCredential(auth.OAuth, account, scopes)
}

// NewSigningClient makes a client id for a client that signs in place of a secret (private_key_jwt). keys is the JWK set of its
// public keys.
func (s *Server) NewSigningClient(account int64, keys []byte, scopes ...string) Credential {
	s.t.Helper()
	return s.credential(registry.NewCredential{Account: auth.AccountID(account), Kind: auth.OAuth, Scopes: scopes, Keys: keys})
}

func (s *Server) registry() *registry.Registry { return s.server.Registry() }

func (s *Server) newCredential(kind auth.Kind, account int64, scopes []string) Credential {
	s.t.Helper()
	return s.credential(registry.NewCredential{Account: auth.AccountID(account), Kind: kind, Scopes: scopes})
}

func (s *Server) credential(wanted registry.NewCredential) Credential {
	s.t.Helper()
	issued, err := s.registry().CreateCredential(s.t.Context(), operator, wanted)
	if err != nil {
		s.t.Fatalf("make a credential of account %d: %v", wanted.Account, err)
	}
	identifier, secret := issued.Reveal()
	return Credential{ID: string(issued.Credential.ID), Identifier: identifier, Secret: secret}
}

// RevokeCredential ends a credential, its tokens and its sessions, and returns when the server has applied it.
func (s *Server) RevokeCredential(id string) {
	s.t.Helper()
	if _, err := s.registry().RevokeCredential(s.t.Context(), operator, auth.CredentialID(id)); err != nil {
		s.t.Fatalf("revoke credential %s: %v", id, err)
	}
}

// SuspendAccount refuses everything of an account, and returns when the server has applied it.
func (s *Server) SuspendAccount(account int64) {
	s.t.Helper()
	if _, err := s.registry().SuspendAccount(s.t.Context(), operator, auth.AccountID(account), false); err != nil {
		s.t.Fatalf("suspend account %d: %v", account, err)
	}
}

// ResumeAccount ends a suspension.
func (s *Server) ResumeAccount(account int64) {
	s.t.Helper()
	if _, err := s.registry().ResumeAccount(s.t.Context(), operator, auth.AccountID(account)); err != nil {
		s.t.Fatalf("resume account %d: %v", account, err)
	}
}

// AllowIP puts addresses or CIDRs on the account's allowlist; every other address is shut out from then on.
func (s *Server) AllowIP(account int64, cidrs ...string) {
	s.t.Helper()
	for _, cidr := range cidrs {
		prefix, err := auth.ParsePrefix(cidr)
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = s.registry().AllowIP(s.t.Context(), operator, auth.AccountID(account), []netip.Prefix{prefix}, "", time.Time{})
		if err != nil {
			s.t.Fatalf("allow %s for account %d: %v", cidr, account, err)
		}
	}
}
