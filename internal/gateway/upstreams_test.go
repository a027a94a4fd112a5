package gateway

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/upstream"
)

// nowhere is a URL that nobody listens at.
func nowhere(t *testing.T) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return parse(t, "http://"+l.Addr().String())
}

// Every server is asked below its own path, and what was sent nowhere goes on with all that belongs to it.
func TestSeveralUpstreams(t *testing.T) {
	api := newAPI(t, nil)
	r := protected("/api/orders")
	r.StripPrefix = "/api"
	r.Upstreams = []*url.URL{parse(t, api.URL+"/v2"), nowhere(t), parse(t, api.URL+"/b/"), nowhere(t), parse(t, api.URL)}
	h := newHouse(t, api, []Route{r})
	arrived := map[string]int{}
	for range 10 {
		if answer := h.do("POST", "/api/orders/7?a=1", `{"n":1}`, withToken); answer.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", answer.StatusCode, answer.body)
		}
		one := api.only(t)
		arrived[one.Target]++
		if one.Body != `{"n":1}` || !slices.Equal(one.Header["X-Auth-Account"], []string{"100001"}) || "http://"+one.Host != api.URL {
			t.Errorf("arrived %+v", one)
		}
		if o := h.observed(); o.Err != nil || o.Status != 200 || o.Upstream <= 0 {
			t.Errorf("observed %+v", o)
		}
	}
	for _, target := range []string{"/v2/orders/7?a=1", "/b/orders/7?a=1", "/orders/7?a=1"} {
		if arrived[target] == 0 {
			t.Errorf("nothing came to %s: %v", target, arrived)
		}
	}
}

// Once every server has failed too often, the API is not asked, and the client is told when to come back, in its words.
func TestAnAPIThatHasItsRest(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	var well atomic.Bool
	api := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r := protected("/")
	r.Breaking = upstream.Breaking{Failures: 2, OpenFor: 9500 * time.Millisecond}
	h := newHouse(t, api, []Route{r}, func(c *Config) { c.Now = func() time.Time { return time.Unix(0, now.Load()) } })
	for range 2 {
		h.refused(h.do("POST", "/", "hi", withToken), "b2b", http.StatusBadGateway, auth.ReasonUpstream)
		h.observed()
	}
	answer := h.do("POST", "/", "hi", withToken)
	h.refused(answer, "b2b", http.StatusServiceUnavailable, auth.ReasonUpstream)
	if got := answer.Header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After: %q", got)
	}
	if o := h.observed(); o.Upstream != 0 || o.Err == nil || o.Subject.Account != 100001 {
		t.Errorf("observed %+v", o)
	}
	if got := len(api.arrivals()); got != 2 {
		t.Errorf("%d calls arrived", got)
	}
	well.Store(true)
	now.Add(int64(10 * time.Second))
	for range 3 {
		if answer := h.do("POST", "/", "hi", withToken); answer.StatusCode != http.StatusNoContent {
			t.Errorf("got %d", answer.StatusCode)
		}
	}
}

// The calls to a server are under way until their answers have ended, and no longer.
func TestCallsUnderWayAreCounted(t *testing.T) {
	release := make(chan struct{})
	slow := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	quick := newAPI(t, nil)
	r := open("/")
	r.Upstreams = []*url.URL{parse(t, slow.URL), parse(t, quick.URL)}
	h := newHouse(t, nil, []Route{r})
	conn := h.dial()
	for len(slow.arrivals()) == 0 { // one call, to whomever it goes, until the slow one has it
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		time.Sleep(5 * time.Millisecond)
	}
	before := len(quick.arrivals())
	for range 5 {
		h.do("GET", "/", "")
	}
	if got := len(quick.arrivals()) - before; got != 5 || len(slow.arrivals()) != 1 {
		t.Errorf("the one without a call got %d, the busy one %d", got, len(slow.arrivals())-1)
	}
	close(release)
	_ = conn.Close()
	for end := time.Now().Add(time.Minute); len(slow.arrivals()) == 1; {
		if h.do("GET", "/", ""); time.Now().After(end) {
			t.Fatal("its call never ends")
		}
	}
}

func TestAnUpstreamTwice(t *testing.T) {
	r := open("/")
	r.Upstreams = []*url.URL{parse(t, "http://a/x"), parse(t, "http://b"), parse(t, "http://a/x/")}
	if _, err := NewTable([]Route{r}); err == nil || !strings.Contains(err.Error(), "http://a/x is there twice") {
		t.Errorf("got %v", err)
	}
}
