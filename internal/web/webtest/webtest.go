// Package webtest puts a floor on a real socket and speaks HTTP to it byte by byte, for tests of contracts. It leaves what
// is said to them.
//
// The invariant: an answer that [Server.Send] returns has a good X-Request-Id, a Date and a length, was observed once with
// the same status, and is one that the OpenAPI document has for its address, if that is in there.
package webtest

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/apitest"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Address is where every caller is, unless the test's own Resolve says otherwise.
var Address = netip.MustParseAddr("192.0.2.7")

// A Server listens on an address of this machine until its test ends.
type Server struct {
	Addr string
	own  []web.Address

	mu   sync.Mutex
	seen []auth.Observation
}

// Serve starts a server. Resolve and Observe of c may be nil.
func Serve(t testing.TB, c web.Config) *Server {
	t.Helper()
	s := &Server{own: c.Own}
	if c.Resolve == nil {
		c.Resolve = func(*http.Request) (netip.Addr, netip.Addr, string) { return Address, Address, "" }
	}
	observe := c.Observe
	c.Observe = func(o *auth.Observation) {
		s.mu.Lock()
		s.seen = append(s.seen, *o)
		s.mu.Unlock()
		if observe != nil {
			observe(o)
		}
	}
	floor, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = listener.Addr().String()
	server := web.NewServer(floor, log.New(io.Discard, "", 0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return s
}

// An Answer is what came back.
type Answer struct {
	Status    int
	RequestID string
	// Header has neither X-Request-Id nor Date nor Content-Length: Send has looked at them.
	Header http.Header
	Body   string
	Closed bool // the answer said that the connection ends with it
	Seen   auth.Observation
}

// Is wants a to have this status, this body and these headers, and no others.
func (a Answer) Is(t testing.TB, what string, status int, body string, headers http.Header) {
	t.Helper()
	if a.Status != status || a.Body != body {
		t.Errorf("%s: %d %s\nwant %d %s", what, a.Status, a.Body, status, body)
	}
	if diff := cmp.Diff(headers, a.Header); diff != "" {
		t.Errorf("%s: headers (-want +got)\n%s", what, diff)
	}
}

// JSON are the headers of an answer in JSON that no limit and no challenge has anything to say about, and more of them: a name
// and its value, and so on.
func JSON(more ...string) http.Header {
	h := http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
	}
	for i := 0; i < len(more); i += 2 {
		h[http.CanonicalHeaderKey(more[i])] = []string{more[i+1]}
	}
	return h
}

// Post is a request with a body, for [Server.Send].
func Post(media, path, body string, headers ...string) string {
	return fmt.Sprintf("POST %s\nContent-Type: %s\nContent-Length: %d%s\n\n%s", path, media, len(body), strings.Join(append([]string{""}, headers...), "\n"), body)
}

var goodID = regexp.MustCompile(`^reqid_[a-z0-9]{11}$`)

// Send sends one request and returns its answer. Each line of the head ends in a line feed alone, for the reader's sake, and
// goes out with a carriage return before it; what follows the first empty line goes out as it is. Host is added.
func (s *Server) Send(t testing.TB, request string) Answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))

	head, body, _ := strings.Cut(request, "\n\n")
	line, headers, more := strings.Cut(strings.TrimSuffix(head, "\n"), "\n")
	lines := []string{line + " HTTP/1.1", "Host: api.example.org"}
	if more {
		lines = append(lines, strings.Split(headers, "\n")...)
	}
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(line, " ")
	got, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer got.Body.Close()
	all, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	s.document(t, line, got, all)
	a := Answer{Status: got.StatusCode, RequestID: got.Header.Get("X-Request-Id"), Header: got.Header, Body: string(all), Closed: got.Close}
	s.check(t, line, &a)
	return a
}

// document holds an answer to the OpenAPI document if it is an own address's. What is wrong at an address without words of its
// own is told in those of the test's fallbacks, which need not be the server's.
func (s *Server) document(t testing.TB, line string, got *http.Response, body []byte) {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	path, _, _ := strings.Cut(target, "?")
	for i := range s.own {
		at := s.own[i].Path == path || s.own[i].Prefix && strings.HasPrefix(path, s.own[i].Path+"/")
		if at && (s.own[i].Refuse != nil || got.StatusCode < http.StatusBadRequest) {
			apitest.Check(t, apitest.Answer{Method: method, Target: target, Status: got.StatusCode, Header: got.Header, Body: body})
		}
	}
}

func (s *Server) check(t testing.TB, line string, a *Answer) {
	t.Helper()
	if !goodID.MatchString(a.RequestID) || len(a.Header["X-Request-Id"]) != 1 {
		t.Errorf("%s: X-Request-Id %q", line, a.Header["X-Request-Id"])
	}
	if _, err := http.ParseTime(a.Header.Get("Date")); err != nil {
		t.Errorf("%s: Date %q", line, a.Header["Date"])
	}
	streamed := a.Header.Get("Content-Type") == "application/x-ndjson" // whose length nobody knows at its beginning
	if n := a.Header.Get("Content-Length"); n != strconv.Itoa(len(a.Body)) && !streamed && !strings.HasPrefix(line, "HEAD ") &&
		a.Status != http.StatusNotModified && a.Status != http.StatusNoContent {
		t.Errorf("%s: Content-Length %q, but the body has %d bytes", line, n, len(a.Body))
	}
	for _, name := range []string{"X-Request-Id", "Date", "Content-Length"} {
		a.Header.Del(name)
	}
	n := 0
	// A long answer has arrived before its handler is done with it.
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if n = s.observed(a); n > 0 || time.Now().After(until) {
			break
		}
	}
	if n != 1 || a.Seen.Status != a.Status {
		t.Errorf("%s: observed %d times, with status %d, want once with %d", line, n, a.Seen.Status, a.Status)
	}
}

// observed counts how often a request was observed.
func (s *Server) observed(a *Answer) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.seen {
		if s.seen[i].Caller.RequestID == a.RequestID {
			a.Seen = s.seen[i]
			n++
		}
	}
	return n
}
