package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestAnswersPassAsTheyAre(t *testing.T) {
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"] = nil
		h.Set("X-Request-Id", "theirs")
		h.Set("RateLimit", "theirs")
		h.Set("RateLimit-Policy", "theirs")
		h.Set("Retry-After", "7")
		h.Set("WWW-Authenticate", "Custom")
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		h.Set("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
		w.WriteHeader(http.StatusUnauthorized)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "<html>\x00\xff")
		}
	}), []Route{protected("/limited"), open("/public")})
	h.gate.limit = auth.Limit{Name: "calls", Quota: 10, Window: time.Minute, Remaining: 9, Reset: time.Second}

	for _, method := range []string{"GET", "HEAD", "POST", "PROPFIND"} {
		answer := h.do(method, "/limited", "", withToken)
		o := h.observed()
		want := http.Header{
			"Content-Length": {"8"}, "Date": {"Mon, 01 Jan 2001 00:00:00 GMT"}, "Retry-After": {"7"},
			"Ratelimit": {`"calls";r=9;t=1`}, "Ratelimit-Policy": {`"calls";q=10;w=60`},
			"Set-Cookie": {"a=1", "b=2"}, "Www-Authenticate": {"Custom"}, "X-Request-Id": {o.Caller.RequestID},
		}
		body := "<html>\x00\xff"
		if method == "HEAD" {
			body = ""
			delete(want, "Content-Length")
		}
		if diff := cmp.Diff(want, answer.Header); diff != "" || answer.StatusCode != 401 || answer.body != body {
			t.Errorf("%s: got %d %q (-want +got):\n%s", method, answer.StatusCode, answer.body, diff)
		}
		if o.Reason != "" || o.Status != 401 || o.Limit != h.gate.limit {
			t.Errorf("observed %+v", o)
		}
	}
	// Where we have nothing to say of limits, the API may.
	if answer := h.do("GET", "/public", ""); answer.Header.Get("RateLimit") != "theirs" || answer.Header.Get("X-Request-Id") == "theirs" {
		t.Errorf("got %v", answer.Header)
	}
}

func TestEarlyHints(t *testing.T) {
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Request-Id", "theirs")
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
	}), []Route{open("/")})
	for _, target := range []string{"/", "/broken"} {
		conn := h.dial()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)
		r := bufio.NewReader(conn)
		if early := h.read("GET", r); early.StatusCode != http.StatusEarlyHints || early.Header.Get("Link") == "" {
			t.Errorf("got %d %v", early.StatusCode, early.Header)
		}
		answer, o := h.read("GET", r), h.observed()
		if diff := cmp.Diff([]string{o.Caller.RequestID}, answer.Header["X-Request-Id"]); diff != "" || o.Status != answer.StatusCode {
			t.Errorf("%d, observed %d, request id (-want +got):\n%s", answer.StatusCode, o.Status, diff)
		}
	}
}

func TestTrailers(t *testing.T) {
	h := newHouse(t, newAPI(t, nil), []Route{open("/")})
	h.raw("POST", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Auth-Account\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Auth-Account, X-Sum\r\n\r\n"+
		"2\r\nhi\r\n0\r\nX-Auth-Account: 1\r\nX-Sum: 2\r\nX-Auth-Type: 3\r\n\r\n")
	if got := h.api.only(t); got.Body != "hi" || len(got.Trailer) != 0 || got.Header.Get("Te") != "trailers" {
		t.Errorf("arrived %+v", got)
	}

	h = newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "hi")
		w.Header().Set("X-Sum", "2")
		w.Header().Set(http.TrailerPrefix+"X-Late", "3")
	}), []Route{open("/")})
	answer := h.do("GET", "/", "")
	if diff := cmp.Diff(http.Header{"X-Sum": {"2"}, "X-Late": {"3"}}, answer.Trailer); diff != "" || answer.body != "hi" {
		t.Errorf("got %q and trailers (-want +got):\n%s", answer.body, diff)
	}
}

// Neither direction waits for the other, or for its own end.
func TestStreams(t *testing.T) {
	for _, length := range []int{-1, 6} {
		t.Run(fmt.Sprintf("length %d", length), func(t *testing.T) {
			h := newHouse(t, newAPI(t, func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				_ = rc.EnableFullDuplex()
				if length >= 0 {
					w.Header().Set("Content-Length", fmt.Sprint(length))
				}
				_ = rc.Flush()
				buf := make([]byte, 2)
				for {
					if _, err := io.ReadFull(r.Body, buf); err != nil {
						return
					}
					_, _ = w.Write(buf)
					_ = rc.Flush()
				}
			}), []Route{open("/")})

			body, write := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/", body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultTransport.RoundTrip(req) // the head comes before the request has a body
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			for _, word := range []string{"ab", "cd", "ef"} {
				if _, err := io.WriteString(write, word); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 2)
				if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != word {
					t.Fatalf("got %q, %v, want %q", got, err, word)
				}
			}
			_ = write.Close()
			if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
				t.Errorf("then came %q, %v", rest, err)
			}
		})
	}
}

// An API that answers without reading is heard at once, and the connection does not carry the rest as a next request.
func TestAnAnswerBeforeTheBody(t *testing.T) {
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), []Route{open("/")})
	conn := h.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	r := bufio.NewReader(conn)
	if answer := h.read("POST", r); answer.StatusCode != http.StatusForbidden {
		t.Errorf("got %d", answer.StatusCode)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r); len(rest) != 0 {
		t.Errorf("then came %q, %v", rest, err)
	}
	h.api.only(t)
}

// One request on the wire is at most one call at the API, and none if it was refused.
func TestFraming(t *testing.T) {
	h := newHouse(t, newAPI(t, nil), []Route{protected("/api/")})
	head := "POST /api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + withToken + "\r\n"
	for name, request := range map[string]string{
		"a chunk without length":   head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhi\r\n0\r\n\r\n",
		"a negative chunk":         head + "Transfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n",
		"a chunk of bare LF":       head + "Transfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n",
		"a chunk that is too long": head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
		"an endless chunk length":  head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 10000) + "1\r\nh\r\n0\r\n\r\n",
	} {
		answer := h.raw("POST", request)
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", name, answer.StatusCode, answer.body)
		}
		if o := h.observed(); o.Status != 400 || o.Reason != auth.ReasonMalformed {
			t.Errorf("%s: observed %+v", name, o)
		}
	}
	for _, got := range h.api.arrivals() {
		if got.Target != "/api/x" {
			t.Errorf("%s arrived", got.Target)
		}
	}
}

func TestNoAPI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := parse(t, "http://"+l.Addr().String())
	_ = l.Close()
	refuses, breaks := protected("/refuses"), protected("/breaks")
	refuses.Upstreams = []*url.URL{gone}
	h := newHouse(t, newAPI(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), []Route{refuses, breaks})
	h.gate.limit = auth.Limit{Name: "calls", Quota: 10, Window: time.Minute, Remaining: 9, Reset: time.Second}
	for _, target := range []string{"/refuses", "/breaks"} {
		answer := h.do("POST", target, "hi", withToken)
		h.refused(answer, "b2b", http.StatusBadGateway, auth.ReasonUpstream)
		if answer.Header.Get("RateLimit") == "" {
			t.Error("the limit is not told")
		}
		if o := h.observed(); o.Status != 502 || o.Reason != auth.ReasonUpstream || o.Err == nil || o.Upstream == 0 || o.Subject.Account != 100001 {
			t.Errorf("observed %+v", o)
		}
	}
}

func TestAnAPIThatDoesNotAnswer(t *testing.T) {
	done := make(chan struct{})
	h := newHouse(t, newAPI(t, func(http.ResponseWriter, *http.Request) { <-done }), []Route{
		func() Route { r := protected("/"); r.Timeouts.Answer = 20 * time.Millisecond; return r }(),
	})
	t.Cleanup(func() { close(done) })
	h.refused(h.do("GET", "/", "", withToken), "b2b", http.StatusGatewayTimeout, auth.ReasonUpstream)
	if o := h.observed(); o.Status != 504 || o.Reason != auth.ReasonUpstream || o.Err == nil {
		t.Errorf("observed %+v", o)
	}
}

func TestAnAPIThatBreaksOff(t *testing.T) {
	for name, head := range map[string]string{"length": "Content-Length: 100\r\n\r\n", "chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\n"} {
		h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+head+"half")
			_ = conn.Close()
		}), []Route{protected("/")})
		res, err := http.DefaultTransport.RoundTrip(func() *http.Request {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL, nil)
			r.Header.Set("Authorization", "Bearer good")
			return r
		}())
		if err == nil {
			var body []byte
			body, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil {
				t.Errorf("%s: %q passes for a whole answer", name, body)
			}
		}
		if o := h.observed(); o.Reason != auth.ReasonUpstream || o.Err == nil || o.Status != 200 {
			t.Errorf("%s: observed %+v", name, o)
		}
		h.nothingMoreObserved()
	}
}

// An API cannot make the connection something else: nobody would judge what then goes through it.
func TestAnAPIThatSwitches(t *testing.T) {
	for _, upgrade := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n"+upgrade+"\r\n")
			_ = conn.Close()
		}), []Route{protected("/")})
		h.refused(h.do("GET", "/", "", withToken), "b2b", http.StatusBadGateway, auth.ReasonUpstream)
	}
}

// A client that leaves is nobody's fault.
func TestAClientThatLeaves(t *testing.T) {
	for name, request := range map[string]string{
		"waiting":       "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"while sending": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
		"in a chunk":    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
	} {
		asked := make(chan struct{})
		left := make(chan struct{})
		h := newHouse(t, newAPI(t, func(_ http.ResponseWriter, r *http.Request) {
			close(asked)
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // it learns that nobody waits
			close(left)
		}), []Route{open("/")})
		conn := h.dial()
		_, _ = io.WriteString(conn, request)
		<-asked
		_ = conn.Close()
		<-left
		if o := h.observed(); o.Status != 0 || o.Reason != "" || o.Err != nil {
			t.Errorf("%s: observed %+v", name, o)
		}
		h.nothingMoreObserved()
	}
}

func TestAClientThatLeavesInTheAnswer(t *testing.T) {
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}), []Route{open("/")})
	conn := h.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if o := h.observed(); o.Status != 200 || o.Reason != "" || o.Err != nil {
		t.Errorf("observed %+v", o)
	}
}
