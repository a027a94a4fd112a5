package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
)

// needDescriptors makes sure that the process may have so many files open.
func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur, limit.Max = n, max(n, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		beside.Lack(t, "%d file descriptors are needed: %v", n, err)
	}
}

// honest are clients with a key and a token who do as one should, while others do not.
type honest struct {
	w    *world
	stop chan struct{}
	all  sync.WaitGroup

	mu    sync.Mutex
	took  []time.Duration // each call
	wrong []string
}

// clients is how many of them there are. Each has a connection that it keeps, and one for each other call.
const clients = 3

// honestly has them exchange a key and call /api/x, until end is called.
func honestly(w *world, scheme string) *honest {
	w.t.Helper()
	key := w.holder(auth.APIKey)
	h := &honest{w: w, stop: make(chan struct{})}
	for range clients {
		h.all.Go(func() {
			keeping := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			defer keeping.CloseIdleConnections()
			fresh := &http.Transport{TLSClientConfig: keeping.TLSClientConfig.Clone(), DisableKeepAlives: true}
			for i := 0; ; i++ {
				transport := []*http.Transport{keeping, fresh}[i%2]
				h.call(transport, scheme+"://"+w.Addr()+"/authentication", "X-LIQUID-API-KEY", key.identifier, http.StatusCreated)
				h.call(transport, scheme+"://"+w.Addr()+"/api/x", "Authorization", "Bearer "+key.access, http.StatusOK)
				select {
				case <-h.stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return h
}

func (h *honest) call(transport *http.Transport, url, name, value string, want int) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set(name, value)
	began := time.Now()
	res, err := transport.RoundTrip(req)
	said := ""
	if err != nil {
		said = err.Error()
	} else {
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want || err != nil {
			said = fmt.Sprintf("%d %.200s, %v", res.StatusCode, body, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took = append(h.took, time.Since(began))
	if said != "" {
		h.wrong = append(h.wrong, url+": "+said)
	}
}

// calls is how many there were.
func (h *honest) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.took)
}

// end stops them, fails if one call did not succeed, and says how long they took.
func (h *honest) end() string {
	h.w.t.Helper()
	close(h.stop)
	h.all.Wait()
	if len(h.wrong) > 0 {
		h.w.t.Errorf("%d of %d honest calls failed, for instance %s", len(h.wrong), len(h.took), h.wrong[0])
	}
	slices.Sort(h.took)
	at := func(share float64) time.Duration {
		return h.took[int(share*float64(len(h.took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d honest calls: p50 %v, p99 %v, the slowest %v", len(h.took), at(0.5), at(0.99), at(1))
}

// narrow dials for those who read nothing: little is on its way to them.
var narrow = net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	return errors.Join(failed, err)
}}

// Thousands who connect and then take their time, each in another way, are all cut, and those who do not take it are served
// meanwhile. Of those who read nothing the client can see no end before it reads: who is still there the server itself says.
func TestSlowConnections(t *testing.T) {
	t.Parallel()
	needDescriptors(t, 16_000)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/api/long" {
			_, _ = w.Write(make([]byte, 8<<20))
		}
	}))
	defer api.Close()
	config := unlimited + "max_connections_per_address: 0\nlog: {level: error}\n" +
		"routes:\n- {path: /api/, accepts: [ACCESS_TOKEN], upstream: '" + api.URL + "'}\n"
	const headTime, stall = 9 * time.Second, 3 * time.Second // the first is long enough for an honest handshake on a busy machine
	clear := newWorldOf(t, config, headTime, stall)
	secure := newWorldOf(t, config+newCertificate(t, time.Now().Add(time.Hour)), headTime, stall)
	token := "Authorization: Bearer " + clear.holder(auth.APIKey).access + "\r\n"
	honestOnes := []*honest{honestly(clear, "http"), honestly(secure, "https")}

	began := time.Now()
	var mu sync.Mutex
	var slow, drips []net.Conn // of the latter each gets a byte a second
	var opening sync.WaitGroup
	for _, kind := range []struct {
		n     int
		to    *world
		first string
		drips bool
	}{
		{1300, clear, "", false},
		{1300, clear, "GET /api/x HTTP/1.1\r\nHost: a\r\nX-Slow: ", true},
		{500, secure, "", false},
		{500, secure, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true},
		{500, clear, "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", false},
		{500, clear, "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", true},
		{100, clear, "POST /api/x HTTP/1.1\r\nHost: a\r\n" + token + "Content-Length: 100\r\n\r\n{", false},
		{100, clear, "POST /api/x HTTP/1.1\r\nHost: a\r\n" + token + "Content-Length: 100\r\n\r\n{", true},
		{200, clear, "GET /api/long HTTP/1.1\r\nHost: a\r\n" + token + "\r\n", false},
	} {
		opening.Go(func() {
			for range kind.n {
				c, err := narrow.DialContext(t.Context(), "tcp", kind.to.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.WriteString(c, kind.first); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if slow = append(slow, c); kind.drips {
					drips = append(drips, c)
				}
				mu.Unlock()
			}
		})
	}
	opening.Wait()
	opened := time.Since(began)
	for tick := time.NewTicker(100 * time.Millisecond); clear.listener.Open() > 2*clients || secure.listener.Open() > 2*clients; <-tick.C {
		if now := time.Since(began); now/time.Second != (now-100*time.Millisecond)/time.Second {
			for _, c := range drips {
				_, _ = io.WriteString(c, "x") // an error is what there is to be
			}
		}
	}
	cut := time.Since(began)
	for i, scheme := range []string{"clear text", "TLS"} {
		t.Logf("%s: %s", scheme, honestOnes[i].end())
	}
	t.Logf("%d slow connections were opened in %v; the last was cut after %v", len(slow), opened.Round(time.Millisecond), cut.Round(time.Millisecond))
	left := 0
	for _, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_ = c.(*net.TCPConn).SetReadBuffer(1 << 20)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			left++
		}
		_ = c.Close()
	}
	if left > 0 || len(slow) != 5000 {
		t.Errorf("%d of %d slow connections are still there", left, len(slow))
	}
	if log := clear.log.String() + secure.log.String(); strings.Contains(log, "panic") {
		t.Errorf("the log tells of a panic:\n%s", log)
	}
}
