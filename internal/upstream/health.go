package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Health says how servers are asked whether they are well. Any answer of 2xx or 3xx says that one is.
type Health struct {
	Path     string        // on the server's host, whatever path its calls get; "": it is not asked
	Interval time.Duration // between two questions, give or take a tenth
	Timeout  time.Duration // for each
}

// failuresOut is how many questions in a row must fail for a server to count as unwell. One that succeeds makes it well.
const failuresOut = 2

// A check asks one server. Whoever has the same question shares it.
type check struct {
	url       *url.URL
	health    Health
	log       *slog.Logger
	transport http.RoundTripper // of its own: each question comes over a new connection, as a new client would
	shared    []http.RoundTripper

	failures int // in a row; the asking goroutine's own
	unwell   atomic.Bool
}

// A question is what checks must have in common to be one.
type question struct {
	scheme, host string
	health       Health
	connect      time.Duration
	tls          TLS
}

// check returns the check of a server, nil if it is not asked.
func (s *Set) check(server Server, o Options, transport http.RoundTripper) *check {
	if o.Health.Path == "" {
		return nil
	}
	key := question{server.Scheme, server.Host, o.Health, o.Timeouts.Connect, o.TLS}
	c := s.checks[key]
	if c == nil {
		own := NewTransport(Timeouts{Connect: o.Timeouts.Connect}, o.TLS)
		own.DisableKeepAlives = true
		c = &check{
			url: &url.URL{Scheme: server.Scheme, Host: server.Host, Path: o.Health.Path}, health: o.Health, log: s.log, transport: own,
		}
		s.checks[key] = c
	}
	c.shared = append(c.shared, transport)
	return c
}

// Run asks the servers whether they are well, until ctx ends. Calls go on without it, by what was known last.
func (s *Set) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	for _, c := range s.checks {
		asking.Go(func() { c.run(ctx) })
	}
	asking.Wait()
	return nil
}

func (c *check) run(ctx context.Context) {
	for {
		c.ask(ctx)
		// Give or take: many gateways that were started at once do not ask at once for ever.
		wait := time.NewTimer(c.health.Interval*9/10 + rand.N(c.health.Interval/5+1))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// ask asks once and notes the answer.
func (c *check) ask(ctx context.Context) {
	err := c.question(ctx)
	if ctx.Err() != nil {
		return // it is we who broke off
	}
	if err == nil {
		c.failures = 0
		if c.unwell.CompareAndSwap(true, false) {
			c.log.Info("an upstream is well again", "upstream", c.url.String())
		}
		return
	}
	if c.failures++; c.failures >= failuresOut && c.unwell.CompareAndSwap(false, true) {
		c.log.Warn("an upstream is not well: others get its calls, if there are any", "upstream", c.url.String(), "error", err)
		for _, t := range c.shared {
			closeIdle(t) // a connection from before it failed may be dead, and nobody has noticed
		}
	}
}

func (c *check) question(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.health.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "gatehouse-health")
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("it answers %s", strings.TrimSpace(res.Status))
	}
	return nil
}
