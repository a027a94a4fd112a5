package upstream

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var everyMillisecond = Health{Path: "/healthz", Interval: time.Millisecond, Timeout: 10 * time.Second}

// asked asks the checks of a pool's set once, each.
func (p *Pool) asked(t *testing.T) {
	t.Helper()
	for _, c := range p.set.checks {
		c.ask(t.Context())
	}
}

// patient sets how long the checks wait.
func (p *Pool) patient(d time.Duration) {
	for _, c := range p.set.checks {
		c.health.Timeout = d
	}
}

// Two failures in a row put a server out, and one success brings it back.
func TestHealth(t *testing.T) {
	well, other := newFake(t, says("200 OK")), newFake(t, says("200 OK"))
	ill := newFake(t, says("200 OK"))
	p := newPool(t, Options{Route: "/a", Health: everyMillisecond}, ill.under("/base"), well.Server, other.Server)
	var log bytes.Buffer
	for _, c := range p.set.checks {
		c.log = slog.New(slog.NewTextHandler(&log, nil))
	}
	for _, c := range []struct {
		does    behaviour
		timeout time.Duration
		well    bool
		log     string
	}{
		{says("200 OK"), 10 * time.Second, true, ""},
		{says("503 Service Unavailable"), 10 * time.Second, true, ""},
		{says("301 Moved Permanently"), 10 * time.Second, true, ""}, // nobody goes there
		{says("404 Not Found"), 10 * time.Second, true, ""},
		{breaksAfter(""), 10 * time.Second, false, "not well"},
		{breaksAfter(""), 10 * time.Second, false, ""},
		{says("204 No Content"), 10 * time.Second, true, "well again"},
		{hangs, 200 * time.Millisecond, true, ""},
		{hangs, 200 * time.Millisecond, false, "not well"},
		{says("400 What"), 10 * time.Second, false, ""},
		{says("399 What"), 10 * time.Second, true, "well again"},
	} {
		ill.become(c.does)
		p.patient(c.timeout)
		p.asked(t)
		if got := p.healthy(0); got != c.well || !p.healthy(1) {
			t.Errorf("well is %v, want %v", got, c.well)
		}
		if got := log.String(); c.log == "" && got != "" || !strings.Contains(got, c.log) {
			t.Errorf("logged %q, want %q", got, c.log)
		}
		log.Reset()
		if got := ill.seen(); !slices.Equal(got, []string{"GET /healthz"}) {
			t.Errorf("it was asked %q", got)
		}
		ill.become(says("200 OK"))
		for range 6 {
			if _, _, err := send(p, get(t)); err != nil {
				t.Error(err)
			}
		}
		if got := ill.seen(); len(got) == 2 != c.well || len(got) > 0 && got[0] != "GET /base/a" {
			t.Errorf("it got %q", got)
		}
	}
}

// A broken address of checks does not take an API down.
func TestAllUnwell(t *testing.T) {
	f := newFake(t, says("404 Not Found"))
	other := newFake(t, says("404 Not Found"))
	p := newPool(t, Options{Health: everyMillisecond, Breaking: Breaking{Failures: 1, OpenFor: time.Hour}}, f.Server, other.Server)
	p.asked(t)
	p.asked(t)
	if p.healthy(0) || p.healthy(1) {
		t.Fatal("they count as well")
	}
	f.become(says("200 OK"))
	other.become(says("200 OK"))
	if status, _, err := send(p, get(t)); status != 200 {
		t.Errorf("got %d, %v", status, err)
	}
	// Of the two kinds of being out, the breaker's is the stronger.
	other.become(breaksAfter(""))
	p.first(1)
	if status, _, err := send(p, get(t)); status != 200 {
		t.Errorf("got %d, %v", status, err)
	}
	if got := p.members[1].breaker.rest(); got == 0 {
		t.Error("its breaker is closed")
	}
	f.become(breaksAfter(""))
	_, _, _ = send(p, get(t))
	if _, _, err := send(p, get(t)); err == nil || !strings.Contains(err.Error(), "no server of the API") {
		t.Errorf("got %v", err)
	}
}

// The connections that wait for a call are closed when a server is found to be unwell.
func TestIdleConnectionsOfTheUnwellAreClosed(t *testing.T) {
	closed := make(chan struct{})
	f := newFake(t, nil)
	f.become(func(c net.Conn, req *http.Request) bool {
		if req.URL.Path == "/healthz" {
			return false
		}
		_ = says("200 OK")(c, req)
		_, _ = c.Read(make([]byte, 1))
		close(closed)
		return false
	})
	p := newPool(t, Options{Health: everyMillisecond}, f.Server)
	if _, _, err := send(p, get(t)); err != nil {
		t.Fatal(err)
	}
	p.asked(t)
	p.asked(t)
	<-closed
}

// Routes that ask a server the same thing ask it once.
func TestChecksAreShared(t *testing.T) {
	s := New(Config{})
	server := newFake(t, says("200 OK")).Server
	for i, o := range []Options{
		{Health: everyMillisecond},
		{Health: everyMillisecond, Breaking: Breaking{Failures: 1}, Timeouts: Timeouts{Answer: time.Second}},
		{Health: Health{Path: "/other", Interval: time.Second, Timeout: time.Second}},
		{},
	} {
		o.Route = string(rune('a' + i))
		o.Servers = []Server{server, {Scheme: "http", Host: server.Host, Path: "/v2"}}
		s.Add(o)
	}
	if n := len(s.checks); n != 2 {
		t.Errorf("there are %d checks", n)
	}
}

// Checks go on by themselves, for as long as Run does.
func TestRun(t *testing.T) {
	f := newFake(t, hangs)
	p := newPool(t, Options{Health: Health{Path: "/healthz", Interval: time.Millisecond, Timeout: 50 * time.Millisecond}}, f.Server)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.set.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	until := func(well bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); p.healthy(0) != well; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it never becomes %v", well)
			}
		}
	}
	until(false)
	f.become(says("200 OK"))
	until(true)
	f.become(hangs)
	until(false)
	stop()
	running.Wait()
	f.seen()
	if got := f.seen(); len(got) > 0 {
		t.Errorf("then it was asked %q", got)
	}
	if err := New(Config{}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// Routes of one name are one in the standings, for metrics have no other.
func TestStandings(t *testing.T) {
	s := New(Config{})
	server := nowhere(t)
	first := s.Add(Options{Route: "/a", Servers: []Server{server}})
	second := s.Add(Options{Route: "/a", Servers: []Server{server}, Breaking: Breaking{Failures: 1, OpenFor: time.Hour}})
	s.Add(Options{Route: "/b", Servers: []Server{server}})
	first.retries.Add(2)
	second.retries.Add(3)
	second.members[0].breaker.failed(0)
	got := s.Standings()
	if len(got) != 2 || got[0].Route != "/a" || got[0].Retries != 5 || got[0].Healthy[server.String()] || !got[1].Healthy[server.String()] {
		t.Errorf("got %+v", got)
	}
}
