package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

var asWebSocket = []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}

// switching is an API that says 101, to websocket unless it is told otherwise, and then gives back what it gets.
func switching(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+to+"\r\nX-From: API\r\nX-Request-Id: mine\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	}
}

// handshake sends a call that asks to become a WebSocket, and returns the connection and the head of the answer.
func (h *house) handshake(target string, headers ...string) (net.Conn, *bufio.Reader, *http.Response) {
	h.t.Helper()
	conn := h.dial()
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: api.example.com\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"); err != nil {
		h.t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return conn, br, res
}

// socket is an open WebSocket through the route "/".
func (h *house) socket() (net.Conn, *bufio.Reader) {
	h.t.Helper()
	conn, br, res := h.handshake("/", append(asWebSocket, withToken)...)
	if res.StatusCode != http.StatusSwitchingProtocols {
		h.t.Fatalf("got %s", res.Status)
	}
	h.echoes(conn, br)
	return conn, br
}

func (h *house) echoes(conn net.Conn, br *bufio.Reader) {
	h.t.Helper()
	got := make([]byte, 5)
	if _, err := io.WriteString(conn, "\x81\x03abc"); err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "\x81\x03abc" {
		h.t.Fatalf("%q came back, %v", got, err)
	}
}

func TestACallBecomesAWebSocket(t *testing.T) {
	h := newHouse(t, newAPI(t, switching("WebSocket")), []Route{protected("/ws")})
	conn, br, res := h.handshake("/ws/chat?room=7", append(asWebSocket, withToken, "X-Auth-Account: 1", "Origin: https://shop.example.com")...)
	id := res.Header["X-Request-Id"]
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("X-From") != "API" || len(id) != 1 || id[0] == "mine" {
		t.Errorf("got %s %v", res.Status, res.Header)
	}
	want := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
		"Origin":         {"https://shop.example.com"},
		"X-Auth-Account": {"100001"}, "X-Auth-Account-Ref": {"C-1"}, "X-Auth-Credential": {"cred00000001"}, "X-Auth-Type": {"B2B_ACCESS"},
		"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {"api.example.com"}, "X-Forwarded-Proto": {"http"}, "X-Request-Id": id,
	}
	if diff := cmp.Diff(want, h.api.only(t).Header); diff != "" {
		t.Errorf("what arrived (-want +got):\n%s", diff)
	}
	h.echoes(conn, br)
	h.nothingMoreObserved() // it is one call, and not over
	_ = conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("at its end came %q, %v", rest, err)
	}
	if o := h.observed(); o.Status != 101 || o.Route != "/ws" || o.Subject.Account != 100001 || o.Reason != "" || o.Err != nil || o.Upstream <= 0 {
		t.Errorf("observed %+v", o)
	}
	h.nothingMoreObserved()
}

// What is not asked for as everybody understands it, or is another protocol, does not reach the API.
func TestWhatIsNoWebSocket(t *testing.T) {
	h := newHouse(t, newAPI(t, switching("websocket")), []Route{protected("/")})
	for name, raw := range map[string]string{
		"h2c":               "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"a list":            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"two":               "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"none":              "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade:\r\n",
		"a version":         "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket/13\r\n",
		"no Connection":     "GET / HTTP/1.1\r\nUpgrade: websocket\r\n",
		"another one":       "GET / HTTP/1.1\r\nConnection: keep-alive, Upgraded\r\nUpgrade: websocket\r\n",
		"POST":              "POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
		"a body":            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
		"chunks":            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
		"HTTP/1.0":          "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
		"TLS within HTTP":   "OPTIONS / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
		"HTTP/2 of another": "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
	} {
		answer := h.raw("GET", raw+"Host: api.example.com\r\n"+withToken+"\r\n\r\n0\r\n\r\n")
		if answer.StatusCode != http.StatusBadRequest || !strings.Contains(answer.body, "malformed") {
			t.Errorf("%s: got %d %s", name, answer.StatusCode, answer.body)
		}
	}
	h.refused(h.do("GET", "/", "", asWebSocket[1:]...), "b2b", http.StatusBadRequest, auth.ReasonMalformed)
	if n := len(h.api.arrivals()); n != 0 {
		t.Errorf("%d arrived", n)
	}
	_, _, res := h.handshake("/", asWebSocket...)
	if res.StatusCode != http.StatusUnauthorized || len(h.api.arrivals()) != 0 {
		t.Errorf("without a token: %s, %d arrived", res.Status, len(h.api.arrivals()))
	}
}

// An API that does not want a WebSocket says so, and the connection is one for calls as before: each is judged.
func TestAnAPIThatDoesNotSwitch(t *testing.T) {
	for _, status := range []int{200, 403, 426} {
		h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "no")
		}), []Route{protected("/")})
		conn, br, res := h.handshake("/", append(asWebSocket, withToken)...)
		if body, _ := io.ReadAll(res.Body); res.StatusCode != status || string(body) != "no" {
			t.Errorf("got %s %s, want %d", res.Status, body, status)
		}
		_, _ = io.WriteString(conn, "GET /next HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
		if next := h.read("GET", br); next.StatusCode != http.StatusUnauthorized {
			t.Errorf("a call without a token behind it: %d", next.StatusCode)
		}
		h.api.only(t)
	}
}

func TestAnAPIThatSwitchesToSomethingElse(t *testing.T) {
	h := newHouse(t, newAPI(t, switching("h2c")), []Route{protected("/")})
	_, _, res := h.handshake("/", append(asWebSocket, withToken)...)
	if o := h.observed(); res.StatusCode != http.StatusBadGateway || o.Reason != auth.ReasonUpstream {
		t.Errorf("got %s, observed %+v", res.Status, o)
	}
}

// A WebSocket ends when its call would not be let in any more, and no client holds that up.
func TestAWebSocketEndsWithItsToken(t *testing.T) {
	revoked := auth.ErrBadToken.Because(auth.ReasonTokenRevoked)
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, c := range []struct {
		name   string
		exp    time.Time
		still  error
		move   time.Duration
		reason auth.Reason
	}{
		{"revoked", exp, revoked, 0, auth.ReasonTokenRevoked},
		{"fewer scopes", exp, auth.ErrInsufficientScope, 0, auth.ReasonInsufficientScope},
		{"another allowlist", exp, auth.ErrAddressNotAllowed, 0, auth.ReasonAddressNotAllowed},
		{"nobody can know", exp, auth.ErrOverloaded, 0, auth.ReasonOverloaded},
		{"at exp, not a leeway later", exp, nil, time.Hour + 2*time.Second, auth.ReasonTokenExpired},
		{"begun in the leeway", time.Now().Add(-time.Second), nil, verify.Leeway, auth.ReasonTokenExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var offset atomic.Int64
			h := newHouse(t, newAPI(t, switching("websocket")), []Route{protected("/")}, func(c *Config) {
				c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			})
			h.gate.exp = c.exp
			_, br := h.socket()
			deaf, _ := h.socket()
			_ = deaf.(*net.TCPConn).SetReadBuffer(1024)
			flooded := make(chan struct{})
			go func() { // until nothing moves any more
				defer close(flooded)
				for {
					_ = deaf.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
					if _, err := deaf.Write(make([]byte, 1<<20)); err != nil {
						return
					}
				}
			}()
			<-flooded
			h.nothingMoreObserved()
			h.gate.mu.Lock()
			h.gate.still = c.still
			h.gate.mu.Unlock()
			offset.Store(int64(c.move))
			for range 2 {
				if o := h.observed(); o.Status != 101 || o.Reason != c.reason {
					t.Errorf("observed %d %s %v", o.Status, o.Reason, o.Err)
				}
			}
			if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
				t.Errorf("at its end came %q, %v", rest, err)
			}
		})
	}
}

// Where a route is only observed, what it will refuse one day lasts until that day.
func TestAWebSocketThatIsOnlyObserved(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	r := protected("/")
	r.ObserveUntil = time.Now().Add(2 * time.Hour)
	h := newHouse(t, newAPI(t, switching("websocket")), []Route{r}, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	h.gate.exp = time.Now().Add(time.Hour)
	conn, br := h.socket()
	stranger, sbr, _ := h.handshake("/", asWebSocket...)
	offset.Store(int64(90 * time.Minute))
	time.Sleep(judgedEvery + judgedEvery/2)
	h.echoes(conn, br)
	h.echoes(stranger, sbr)
	h.nothingMoreObserved()
	offset.Store(int64(3 * time.Hour))
	reasons := map[auth.Reason]int{h.observed().Reason: 1}
	reasons[h.observed().Reason]++
	if reasons[auth.ReasonTokenExpired] != 1 || reasons[auth.ReasonNoCredential] != 1 {
		t.Errorf("cut for %v", reasons)
	}
}

// A WebSocket of a public route is nobody's, and ends with its client, its API or the server.
func TestAPublicWebSocket(t *testing.T) {
	t.Parallel()
	h := newHouse(t, newAPI(t, switching("websocket")), []Route{open("/")})
	h.gate.still = auth.ErrOverloaded
	conn, br := h.socket()
	time.Sleep(judgedEvery + judgedEvery/2) // longer than judgements would take
	h.echoes(conn, br)
}

// Whoever stops the server cuts what net/http knows nothing of, and waits until it was observed; what would begin then does
// not.
func TestWebSocketsEndWithTheServer(t *testing.T) {
	var upgraded Upgraded
	h := newHouse(t, newAPI(t, switching("websocket")), []Route{protected("/")}, func(c *Config) { c.Upgraded = &upgraded })
	var open []*bufio.Reader
	for range 3 {
		_, br := h.socket()
		open = append(open, br)
	}
	upgraded.Close()
	for _, br := range open {
		if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
			t.Errorf("at its end came %q, %v", rest, err)
		}
		if o := h.observed(); o.Status != 101 || o.Reason != "" {
			t.Errorf("observed %+v", o)
		}
	}
	conn := h.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\n"+strings.Join(asWebSocket, "\r\n")+"\r\n\r\n")
	if answer, _ := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("when it had stopped: %q", answer)
	}
	upgraded.Close() // once more is no more
}
