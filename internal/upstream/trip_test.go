package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What may go on to another server, and what may not, by what became of it at the first.
func TestWhatGoesOn(t *testing.T) {
	gone := nowhere(t)
	clear := newFake(t, says("200 OK"))
	encrypted := clear.Server
	encrypted.Scheme = "https" // it speaks no TLS
	for name, first := range map[string]struct {
		server Server
		fake   *fake
		goesOn func(method, body string) bool // nil: never
	}{
		"nobody listens":         {gone, nil, func(string, string) bool { return true }},
		"no TLS":                 {encrypted, nil, func(string, string) bool { return true }},
		"breaks off at once":     {Server{}, newFake(t, breaksAfter("")), harmless},
		"breaks off in the head": {Server{}, newFake(t, breaksAfter("HTTP/1.1 2")), nil},
		"breaks off after a 103": {Server{}, newFake(t, breaksAfter("HTTP/1.1 103 Early Hints\r\n\r\n")), nil},
		"no HTTP":                {Server{}, newFake(t, breaksAfter("hello\r\n\r\n")), nil},
		"hangs":                  {Server{}, newFake(t, hangs), nil},
		"an error of the API":    {Server{}, newFake(t, says("503 Service Unavailable")), nil},
		"breaks off in the body": {Server{}, newFake(t, breaksAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")), nil},
	} {
		second := newFake(t, says("200 OK"))
		if first.fake != nil {
			first.server = first.fake.Server
		}
		p := newPool(t, Options{Timeouts: Timeouts{Answer: patience(name)}}, first.server, second.Server)
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "QUERY"} {
			for _, body := range []string{"", "text"} {
				p.first(0)
				before := p.retries.Load()
				status, _, err := send(p, newCall(t.Context(), method, "/a", body, "Idempotency-Key", "k"))
				goesOn := first.goesOn != nil && first.goesOn(method, body)
				if got := len(second.seen()); got == 1 != goesOn || goesOn && (status != 200 || err != nil) {
					t.Errorf("%s, %s %q: %d arrived at the second: %d, %v", name, method, body, got, status, err)
				}
				if retried := p.retries.Load() - before; retried == 1 != goesOn {
					t.Errorf("%s, %s %q: counted %d", name, method, body, retried)
				}
				if first.fake == nil {
					continue
				}
				got := first.fake.seen()
				for end := time.Now().Add(time.Minute); len(got) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
					got = first.fake.seen() // nobody waited for it, if it hangs
				}
				if len(got) != 1 {
					t.Errorf("%s, %s %q: the first got %q", name, method, body, got)
				}
			}
		}
		for i, m := range p.members {
			if n := m.calls.Load(); n != 0 {
				t.Errorf("%s: %d calls are still under way at server %d", name, n, i)
			}
		}
	}
	if got := clear.seen(); len(got) > 0 {
		t.Errorf("in clear text arrived %q", got)
	}
}

// patience is how long a test waits for an answer: not long for one that never comes, else for as long as a busy machine
// takes.
func patience(name string) time.Duration {
	if strings.HasPrefix(name, "hangs") {
		return 20 * time.Millisecond
	}
	return 10 * time.Second
}

// harmless calls change nothing, however often they are made.
func harmless(method, body string) bool {
	return body == "" && (method == "GET" || method == "HEAD" || method == "OPTIONS")
}

// A body that was begun does not go to a server that would miss its beginning, nor does one that cannot say.
func TestABodyThatWasBegunDoesNotGoOn(t *testing.T) {
	second := newFake(t, says("200 OK"))
	p := newPool(t, Options{}, nowhere(t), second.Server)
	begun := newCall(t.Context(), "PUT", "/a", "text")
	_, _ = begun.Body.Read(make([]byte, 1))
	silent := newCall(t.Context(), "PUT", "/a", "text")
	silent.Body = io.NopCloser(silent.Body)
	for _, req := range []*http.Request{begun, silent} {
		p.first(0)
		if _, _, err := send(p, req); err == nil {
			t.Error("it arrived")
		}
	}
	if got := second.seen(); len(got) > 0 {
		t.Errorf("%q arrived", got)
	}
}

// On a connection that was used before and has died meanwhile, net/http sends again what it takes for harmless. A client's
// header is no reason to.
func TestADeadConnectionIsNoReasonToSendTwice(t *testing.T) {
	for _, header := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			var keys []string
			f := newFake(t, nil)
			f.become(func(c net.Conn, req *http.Request) bool {
				keys = append(keys, req.Header.Get(header))
				f.become(breaksAfter(""))
				return says("200 OK")(c, req)
			})
			p := newPool(t, Options{}, f.Server)
			for range 2 {
				_, _, err := send(p, newCall(t.Context(), method, "/a", "", header, "k"))
				if sent := f.seen(); len(sent) != 1 {
					t.Errorf("%s with %s: sent %q, %v", method, header, sent, err)
				}
			}
			if !slices.Equal(keys, []string{"k"}) {
				t.Errorf("%s: the API got %q", header, keys)
			}
		}
	}
}

// No more than three servers see a call, and none twice.
func TestTriesAreFew(t *testing.T) {
	var servers []Server
	var fakes []*fake
	for range 5 {
		f := newFake(t, breaksAfter(""))
		fakes, servers = append(fakes, f), append(servers, f.Server)
	}
	for n := 1; n <= len(servers); n++ {
		p := newPool(t, Options{}, servers[:n]...)
		if _, _, err := send(p, newCall(t.Context(), "GET", "/a", "")); err == nil {
			t.Error("no error")
		}
		sum := 0
		for _, f := range fakes {
			got := len(f.seen())
			if got > 1 {
				t.Errorf("of %d servers one got it %d times", n, got)
			}
			sum += got
		}
		if sum != min(n, 3) {
			t.Errorf("of %d servers %d got it", n, sum)
		}
	}
}

// A client that has left is not sent on.
func TestALostClientIsNotSentOn(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	first := newFake(t, func(net.Conn, *http.Request) bool { leave(); return false })
	second := newFake(t, says("200 OK"))
	p := newPool(t, Options{}, first.Server, second.Server)
	if _, _, err := send(p, newCall(ctx, "GET", "/a", "")); err == nil {
		t.Error("no error")
	}
	if got := second.seen(); len(got) > 0 {
		t.Errorf("%q arrived", got)
	}
}

func TestEachServerHasItsOwnPath(t *testing.T) {
	a, b := newFake(t, breaksAfter("")), newFake(t, says("200 OK"))
	p := newPool(t, Options{}, a.under("/v1"), b.under("/v%202"), b.Server)
	req := newCall(t.Context(), "GET", "/x%2Cy", "")
	req.URL.Path, req.URL.RawQuery = "/x,y", "q=1"
	if _, _, err := send(p, req); err != nil {
		t.Fatal(err)
	}
	if got := a.seen(); !slices.Equal(got, []string{"GET /v1/x%2Cy?q=1"}) {
		t.Errorf("the first got %q", got)
	}
	if got := b.seen(); !slices.Equal(got, []string{"GET /v%202/x%2Cy?q=1"}) {
		t.Errorf("the second got %q", got)
	}
	p.first(2)
	if _, _, err := send(p, newCall(t.Context(), "GET", "/x", "")); err != nil {
		t.Fatal(err)
	}
	if got := b.seen(); !slices.Equal(got, []string{"GET /x"}) {
		t.Errorf("the third got %q", got)
	}
}

// The one with the fewest calls under way is next, and of equals each in turn. A call is under way until its answer has been
// read.
func TestTheLeastBusyIsNext(t *testing.T) {
	var servers []Server
	for range 3 {
		servers = append(servers, newFake(t, says("200 OK")).Server)
	}
	p := newPool(t, Options{}, servers...)
	under := func() (got [3]int64) {
		for i, m := range p.members {
			got[i] = m.calls.Load()
		}
		return got
	}
	var trips []*Trip
	for i, want := range [][3]int64{{1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {2, 1, 1}, {2, 2, 1}, {2, 2, 2}} {
		trip := &Trip{Pool: p}
		res, err := trip.RoundTrip(newCall(t.Context(), "GET", "/", ""))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		trips = append(trips, trip)
		if got := under(); got != want {
			t.Errorf("after call %d: %d are under way, want %d", i, got, want)
		}
	}
	for _, trip := range []*Trip{trips[1], trips[4], trips[4]} { // both of the second; to end twice is to end once
		trip.End()
	}
	for _, want := range [][3]int64{{2, 1, 2}, {2, 2, 2}} {
		trip := &Trip{Pool: p}
		if _, err := trip.RoundTrip(newCall(t.Context(), "GET", "/", "")); err != nil {
			t.Fatal(err)
		}
		if got := under(); got != want {
			t.Errorf("%d are under way, want %d", got, want)
		}
	}
	new(Trip).End()
}

// Whatever becomes of calls, a call that may change something is seen once, and every end is counted.
func TestManyCallsAtOnce(t *testing.T) {
	fakes := []*fake{newFake(t, says("200 OK")), newFake(t, breaksAfter("")), newFake(t, says("500 Oh"))}
	p := newPool(t, Options{Health: everyMillisecond, Breaking: Breaking{Failures: 2, OpenFor: time.Millisecond}},
		fakes[0].Server, nowhere(t), fakes[1].Server, fakes[2].Server)
	var wg, watching sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	watching.Go(func() { _ = p.set.Run(ctx) })
	for worker := range 16 {
		wg.Go(func() {
			for i := range 30 {
				method, body := "GET", ""
				if i%2 == 0 {
					method, body = "POST", "text"
				}
				_, _, err := send(p, newCall(t.Context(), method, fmt.Sprintf("/%s/%d/%d", method, worker, i), body))
				if method == "GET" && err != nil {
					t.Errorf("GET: %v", err)
				}
			}
		})
	}
	wg.Wait()
	stop()
	watching.Wait()
	times := map[string]int{}
	for _, f := range fakes {
		for _, call := range f.seen() {
			times[call]++
		}
	}
	for call, n := range times {
		if call[0] == 'P' && n > 1 {
			t.Errorf("%s was seen %d times", call, n)
		}
	}
	for _, m := range p.members {
		if n := m.calls.Load(); n != 0 {
			t.Errorf("%s: %d under way", m.name, n)
		}
	}
}

func TestAnErrorNamesTheServer(t *testing.T) {
	f := newFake(t, hangs)
	p := newPool(t, Options{Timeouts: Timeouts{Answer: time.Millisecond}}, f.Server)
	_, _, err := send(p, newCall(t.Context(), "GET", "/secret", ""))
	var wait net.Error
	if !errors.As(err, &wait) || !wait.Timeout() || err.Error()[:len(f.String())] != f.String() {
		t.Errorf("got %v", err)
	}
}
