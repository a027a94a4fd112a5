package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/gate"
	"github.com/gatehouse/gatehouse/internal/gateway"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A setup is all that follows from one configuration and can be replaced while the server runs. It never changes: a request
// that began under one ends under it. What must outlive a configuration (facts, rings, limits' buckets, listeners) is the
// [Server]'s own.
type setup struct {
	config  *config.Config
	level   slog.Level
	proxies limit.Proxies
	gate    *gate.Gate
	gateway *gateway.Gateway // nil: there are no routes
	floor   *web.Floor       // of the public listener
	admin   *web.Floor       // of the one for operators

	parts []part             // what runs while it is in force
	end   context.CancelFunc // ends them; nil: they do not run
}

// A part runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// newSetup makes what follows from c. Nothing of it is in force yet.
func (s *Server) newSetup(c *config.Config) (*setup, error) {
	u := &setup{config: c}
	if err := u.level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	var err error
	if u.proxies, err = limit.ParseProxies(c.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted_proxies: %w", err)
	}
	var former *gate.Gate
	if now := s.current.Load(); now != nil {
		former = now.gate
	}
	if u.gate, err = s.newGate(c, former); err != nil {
		return nil, err
	}
	if u.floor, err = s.buildWeb(u); err != nil {
		return nil, err
	}
	hooks, err := s.newWebhooks(c)
	if err != nil {
		return nil, err
	}
	if hooks != nil {
		u.parts = append(u.parts, part{"webhooks", hooks.Run})
	}
	if u.admin, err = s.buildAdmin(u); err != nil {
		return nil, err
	}
	return u, nil
}

// install puts u in force and returns what was.
func (s *Server) install(u *setup) (former *setup) {
	former = s.current.Swap(u)
	s.level.Set(u.level)
	return former
}

// begin lets the parts of u run, if the server does. Whoever calls it holds reloading.
func (s *Server) begin(u *setup) {
	if s.background == nil {
		return
	}
	var ctx context.Context
	ctx, u.end = context.WithCancel(s.background)
	for _, p := range u.parts {
		s.start(ctx, p)
	}
}

// config is the configuration in force.
func (s *Server) config() *config.Config { return s.current.Load().config }

// errNoReload is the answer of a server that was given a configuration and not where to find it.
var errNoReload = errors.New("this server was started without a configuration that can be read again")

// Reload reads the configuration anew and puts it in force: requests under way end under the former one, and none is lost.
// If it is no good the former one stays, and the error, which is logged too, holds every [*config.Problem]. Keys that a
// running server cannot change keep their value and are named in the log.
func (s *Server) Reload(ctx context.Context) error { return s.reloadLogged(ctx, slog.LevelInfo) }

// reloadLogged is Reload. That nothing has changed is told at the level idle.
func (s *Server) reloadLogged(ctx context.Context, idle slog.Level) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	for _, certificates := range []*listen.Certificates{s.certificates, s.adminCertificates} {
		if certificates != nil {
			certificates.Look()
		}
	}
	changed, waiting, err := s.reload(ctx)
	s.metrics.Reloaded(err)
	if err != nil {
		for _, problem := range parts(err) {
			s.log.Error("the configuration is no good; the former one stays in force", "error", problem)
		}
		return err
	}
	if len(waiting) > 0 {
		s.log.Warn("some changes of the configuration wait for a restart of the server", "keys", waiting)
	}
	if len(changed) == 0 {
		s.log.Log(ctx, idle, "the configuration was read again, and nothing has changed")
		return nil
	}
	s.log.Info("a new configuration is in force", "keys", changed)
	return nil
}

func (s *Server) reload(ctx context.Context) (changed, waiting []string, err error) {
	if s.options.Load == nil {
		return nil, nil, errNoReload
	}
	c, err := s.options.Load()
	if err != nil {
		return nil, nil, err
	}
	if changed, waiting = c.Follow(s.config()); len(changed) == 0 {
		return nil, waiting, nil
	}
	u, err := s.newSetup(c)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(changed, isLifetime) {
		if err := s.opened.Rings.SetLifetimes(ctx, lifetimes(c)); err != nil {
			return nil, nil, err
		}
		s.tellLifetimes(ctx, c)
	}
	former := s.install(u)
	s.begin(u)
	if former.end != nil {
		former.end()
	}
	if former.gateway != nil {
		former.gateway.Close()
	}
	return changed, waiting, nil
}

// isLifetime says whether a key says how long tokens live.
func isLifetime(key string) bool {
	return slices.Contains([]string{
		"tokens.access_token.lifetime", "tokens.order_api.lifetime", "tokens.b2b.access_lifetime", "tokens.b2b.refresh_lifetime", "tokens.oauth.lifetime",
	}, key)
}

// parts are the errors that err joins.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // not what is wrapped, but what it is
		return joined.Unwrap()
	}
	return []error{err}
}
