package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A fake is a server on a socket that does with each request as it is told, and counts them.
type fake struct {
	Server
	l    net.Listener
	mu   sync.Mutex
	got  []string // method and target of each request
	does behaviour
}

// A behaviour gets a request's head and its connection, and says whether the connection goes on.
type behaviour func(c net.Conn, req *http.Request) bool

func newFake(t testing.TB, does behaviour) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{Server: Server{Scheme: "http", Host: l.Addr().String()}, l: l, does: does}
	t.Cleanup(func() { _ = l.Close() })
	go f.serve()
	return f
}

func (f *fake) serve() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				f.mu.Lock()
				f.got = append(f.got, req.Method+" "+req.RequestURI)
				does := f.does
				f.mu.Unlock()
				if !does(c, req) {
					return
				}
			}
		}()
	}
}

func (f *fake) become(does behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does = does
}

// seen returns what arrived since it was asked last.
func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

func (f *fake) under(path string) Server {
	s := f.Server
	s.Path = path
	return s
}

func says(status string) behaviour {
	return func(c net.Conn, req *http.Request) bool {
		_, _ = io.Copy(io.Discard, req.Body)
		answer := "HTTP/1.1 " + status + "\r\nContent-Length: 2\r\n\r\nhi"
		if req.Method == http.MethodHead || status[:3] == "204" {
			answer = "HTTP/1.1 " + status + "\r\n\r\n"
		}
		_, err := io.WriteString(c, answer)
		return err == nil
	}
}

// breaksAfter writes this much of an answer.
func breaksAfter(start string) behaviour {
	return func(c net.Conn, req *http.Request) bool {
		_, _ = io.Copy(io.Discard, req.Body)
		head, _, whole := strings.Cut(start, "Content-Length: 9\r\n\r\n")
		if whole && req.Method == http.MethodHead {
			start = head + "Connection: close\r\n\r\n" // which has no body to break off in
		}
		_, _ = io.WriteString(c, start)
		return false
	}
}

// hangs says nothing until the other side has had enough.
func hangs(c net.Conn, _ *http.Request) bool {
	_, _ = io.Copy(io.Discard, c)
	return false
}

// nowhere is a server that nobody listens at.
func nowhere(t testing.TB) Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return Server{Scheme: "http", Host: l.Addr().String()}
}

// newPool is a pool whose next call goes to the first of these servers, if all are free.
func newPool(t testing.TB, o Options, servers ...Server) *Pool {
	t.Helper()
	s := New(Config{})
	t.Cleanup(s.Close)
	if o.Timeouts.Connect == 0 {
		o.Timeouts.Connect = 5 * time.Second
	}
	o.Servers = servers
	p := s.Add(o)
	p.first(0)
	return p
}

// first lets the next call go to server i, if all are free.
func (p *Pool) first(i int) { p.next.Store(uint32(i + len(p.members) - 1)) }

// A text is a body that says how far it was read.
type text struct {
	io.Reader
	progress atomic.Uint32
}

func (b *text) Read(p []byte) (int, error) {
	b.progress.Store(uint32(Underway))
	n, err := b.Reader.Read(p)
	switch {
	case err == io.EOF:
		b.progress.Store(uint32(Ended))
	case err != nil:
		b.progress.Store(uint32(Failed))
	}
	return n, err
}

func (b *text) Close() error       { return nil }
func (b *text) Progress() Progress { return Progress(b.progress.Load()) }

func newCall(ctx context.Context, method, path, body string, header ...string) *http.Request {
	req := &http.Request{Method: method, URL: &url.URL{Path: path, RawPath: path}, Header: make(http.Header)}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	if body != "" {
		req.Body, req.ContentLength = &text{Reader: strings.NewReader(body)}, int64(len(body))
	}
	return req.WithContext(ctx)
}

// send sends a call and reads its answer.
func send(p *Pool, req *http.Request) (status int, body string, err error) {
	trip := &Trip{Pool: p}
	defer trip.End()
	res, err := trip.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
