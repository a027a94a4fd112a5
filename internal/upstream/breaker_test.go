package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// A clock stands still until it is moved.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.ns.Load()) }
func (c *clock) move(d time.Duration) { c.ns.Add(int64(d)) }

// timed is a pool whose time the test moves.
func timed(t testing.TB, o Options, servers ...Server) (*Pool, *clock) {
	t.Helper()
	c := newClock()
	p := newPool(t, o, servers...)
	p.set.now = c.now
	for _, m := range p.members {
		m.breaker.now = c.now
	}
	return p, c
}

// healthy is what the standings say of a pool's server.
func (p *Pool) healthy(i int) bool {
	for _, s := range p.set.Standings() {
		if s.Route == p.route {
			return s.Healthy[p.members[i].name]
		}
	}
	panic("no such pool")
}

func get(t *testing.T) *http.Request { return newCall(t.Context(), "GET", "/a", "") }

// A server that fails three calls in a row gets no more; after a rest it gets one, and all again once it answers that.
func TestABreaker(t *testing.T) {
	f := newFake(t, breaksAfter(""))
	p, clock := timed(t, Options{Route: "/a", Breaking: Breaking{Failures: 3, OpenFor: 10 * time.Second}}, f.Server)
	call := func(arrives bool) error {
		t.Helper()
		_, _, err := send(p, newCall(t.Context(), "POST", "/a", "")) // a GET net/http may send twice by itself
		if got := len(f.seen()); got == 1 != arrives {
			t.Fatalf("%d arrived: %v", got, err)
		}
		return err
	}
	refused := func(after time.Duration) {
		t.Helper()
		var u *Unavailable
		if err := call(false); !errors.As(err, &u) || u.RetryAfter != after {
			t.Errorf("got %v, want to be told to come in %s", err, after)
		}
	}

	_ = call(true)
	_ = call(true)
	f.become(says("500 Internal Server Error"))
	_ = call(true) // an answer: what was counted is forgotten
	f.become(breaksAfter(""))
	for range 3 {
		if !p.healthy(0) {
			t.Error("it is out too early")
		}
		_ = call(true)
	}
	if p.healthy(0) {
		t.Error("it is not out")
	}
	refused(10 * time.Second)
	clock.move(9500 * time.Millisecond)
	refused(500 * time.Millisecond)
	clock.move(500 * time.Millisecond)
	_ = call(true) // which fails
	refused(10 * time.Second)
	clock.move(10 * time.Second)
	f.become(says("200 OK"))
	if err := call(true); err != nil {
		t.Error(err)
	}
	if !p.healthy(0) {
		t.Error("it is out still")
	}
	f.become(breaksAfter(""))
	_ = call(true)
	_ = call(true) // it has all its lives again
	_ = call(true)
	refused(10 * time.Second)
}

// What counts against a server, and what does not.
func TestWhatCounts(t *testing.T) {
	for name, c := range map[string]struct {
		does   behaviour
		method string
		body   string
		counts bool
	}{
		"hangs":                  {hangs, "GET", "", true},
		"hangs behind the body":  {hangs, "POST", "text", true},
		"breaks off":             {breaksAfter(""), "POST", "", true},
		"breaks off in the head": {breaksAfter("HTTP/1.1 2"), "GET", "", true},
		"an error of the API":    {says("503 Service Unavailable"), "GET", "", false},
		"breaks off in the body": {breaksAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "GET", "", false},
	} {
		p, _ := timed(t, Options{Breaking: Breaking{Failures: 1, OpenFor: time.Second}, Timeouts: Timeouts{Answer: patience(name)}}, newFake(t, c.does).Server)
		_, _, _ = send(p, newCall(t.Context(), c.method, "/a", c.body))
		if p.healthy(0) == c.counts {
			t.Errorf("%s: it counts is %v", name, !c.counts)
		}
	}
	p, _ := timed(t, Options{Breaking: Breaking{Failures: 1, OpenFor: time.Second}}, nowhere(t))
	_, _, _ = send(p, get(t))
	if p.healthy(0) {
		t.Error("that nobody listens does not count")
	}
}

// A client that leaves, or whose body breaks, or which is still sending, says nothing of the server.
func TestAClientsFaultsDoNotCount(t *testing.T) {
	for name, call := range map[string]func(t *testing.T) (behaviour, *http.Request){
		"leaves": func(t *testing.T) (behaviour, *http.Request) {
			ctx, leave := context.WithCancel(t.Context())
			return func(net.Conn, *http.Request) bool { leave(); return false }, newCall(ctx, "GET", "/a", "")
		},
		"sends too little": func(t *testing.T) (behaviour, *http.Request) {
			req := newCall(t.Context(), "POST", "/a", "text")
			req.Body = &text{Reader: io.MultiReader(strings.NewReader("te"), iotest.ErrReader(errors.New("broken")))}
			return breaksAfter(""), req
		},
		"is not read": func(t *testing.T) (behaviour, *http.Request) {
			req := newCall(t.Context(), "POST", "/a", "text")
			req.Body, req.ContentLength = &text{Reader: zeros{}}, -1
			return func(c net.Conn, _ *http.Request) bool { _ = c.(*net.TCPConn).SetLinger(0); return false }, req
		},
	} {
		does, req := call(t)
		p, clock := timed(t, Options{Breaking: Breaking{Failures: 1, OpenFor: 10 * time.Second}}, newFake(t, does).Server)
		if _, _, err := send(p, req); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !p.healthy(0) {
			t.Errorf("%s: it counts", name)
		}

		// Nor does it, if that call was the one to try: the next one tries.
		p.members[0].breaker.failed(0)
		clock.move(10 * time.Second)
		does, req = call(t)
		p.members[0].server = newFake(t, does).Server
		_, _, _ = send(p, req)
		if rest := p.members[0].breaker.rest(); rest != 0 || p.healthy(0) {
			t.Errorf("%s: the next call waits %s, healthy %v", name, rest, p.healthy(0))
		}
	}
}

// Zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestABreakerThatIsOff(t *testing.T) {
	p, _ := timed(t, Options{}, nowhere(t))
	for range 100 {
		var u *Unavailable
		if _, _, err := send(p, get(t)); err == nil || errors.As(err, &u) {
			t.Fatalf("got %v", err)
		}
	}
}

// Of those who wait for a server to come back, one tries.
func TestOneTries(t *testing.T) {
	release := make(chan struct{})
	f := newFake(t, func(c net.Conn, req *http.Request) bool { <-release; return says("200 OK")(c, req) })
	p, clock := timed(t, Options{Breaking: Breaking{Failures: 1, OpenFor: time.Second}}, f.Server)
	p.members[0].breaker.failed(0)
	clock.move(time.Second)
	var wg sync.WaitGroup
	var answered, refused atomic.Int32
	for range 16 {
		wg.Go(func() {
			_, _, err := send(p, get(t))
			var u *Unavailable
			switch {
			case err == nil:
				answered.Add(1)
			case errors.As(err, &u):
				if refused.Add(1) == 15 {
					close(release)
				}
			}
		})
	}
	wg.Wait()
	if answered.Load() != 1 || refused.Load() != 15 || len(f.seen()) != 1 {
		t.Errorf("%d were answered and %d refused", answered.Load(), refused.Load())
	}
	// One that takes long does not keep others from trying, each after a rest.
	p.members[0].breaker.failed(0)
	clock.move(time.Second)
	for range 3 {
		if trial, in := p.members[0].breaker.enter(); !in || trial == 0 {
			t.Error("nobody tries")
		}
		if _, in := p.members[0].breaker.enter(); in {
			t.Error("two try")
		}
		clock.move(time.Second)
	}
	// And an answer that comes after all closes it, from whichever of them.
	if !p.members[0].breaker.answered() || p.members[0].breaker.answered() || !p.healthy(0) {
		t.Error("an answer did not close it, once")
	}
}

// Calls go to the others while one has its rest, and to it again when it is back.
func TestOthersTakeOver(t *testing.T) {
	a, b := newFake(t, breaksAfter("")), newFake(t, says("200 OK"))
	p, clock := timed(t, Options{Breaking: Breaking{Failures: 2, OpenFor: time.Second}}, a.Server, b.Server)
	for range 10 {
		if _, _, err := send(p, get(t)); err != nil {
			t.Error(err)
		}
	}
	if got := len(a.seen()); got != 2 {
		t.Errorf("the one that fails got %d", got)
	}
	if got := len(b.seen()); got != 10 {
		t.Errorf("the other got %d", got)
	}
	a.become(says("200 OK"))
	clock.move(time.Second)
	for range 10 {
		if _, _, err := send(p, get(t)); err != nil {
			t.Error(err)
		}
	}
	if a, b := len(a.seen()), len(b.seen()); a != 5 || b != 5 {
		t.Errorf("they got %d and %d", a, b)
	}
}
