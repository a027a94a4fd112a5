package listen_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A world is a server behind a Listener, and what came through to it.
type world struct {
	t        *testing.T
	addr     string
	listener *listen.Listener

	mu      sync.Mutex
	arrived []string // "POST /a hello"
	seen    []string // what the floor observed: "POST /a 200"
}

// serve starts a server with the floor and a handler that notes what comes.
func serve(t *testing.T, c listen.Config) *world {
	t.Helper()
	w := &world{t: t}
	floor, err := web.New(web.Config{
		Resolve: func(r *http.Request) (netip.Addr, netip.Addr, string) {
			ap, _ := netip.ParseAddrPort(r.RemoteAddr)
			return ap.Addr(), ap.Addr(), ""
		},
		Next: func(rw http.ResponseWriter, r *web.Request) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return &web.StatusError{Status: 400, Err: err}
			}
			w.mu.Lock()
			w.arrived = append(w.arrived, strings.TrimSpace(r.Method+" "+r.Path+" "+string(body)))
			w.mu.Unlock()
			return web.Reply(rw, 200, []byte(`{"from":"`+r.Caller.Address.String()+`","tls":"`+fmt.Sprint(r.TLS != nil)+`","proto":"`+r.Proto+`"}`))
		},
		Fallbacks: []web.Fallback{{Refuse: func(rw http.ResponseWriter, r *web.Request, err error) {
			_ = web.Reply(rw, web.Fail(rw.Header(), r, err).Status, []byte(`{"envelope":true}`))
		}}},
		Observe: func(o *auth.Observation) {
			w.mu.Lock()
			w.seen = append(w.seen, fmt.Sprintf("%s %s %d", o.Caller.Method, o.Caller.Path, o.Status))
			w.mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Refuse = func(remote, method, target string, why *listen.Refusal) []byte {
		return floor.Unparsed(remote, method, target, &web.StatusError{Status: why.Status, Err: why})
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen.New(inner, c)
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewServer(l.Handler(floor), nil)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	w.addr, w.listener = l.Addr().String(), l
	return w
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// send sends raw in pieces of so many bytes, 0 for one piece, ends its side, and returns the statuses of all answers.
func (w *world) send(raw string, piece int) (statuses []int) {
	w.t.Helper()
	c := w.dial()
	go func() {
		if piece == 0 {
			piece = len(raw)
		}
		for rest := raw; rest != ""; {
			n := min(piece, len(rest))
			if _, err := io.WriteString(c, rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	return w.answers(c)
}

// answers reads until the server closes. A last request that is good says Connection: close.
func (w *world) answers(c net.Conn) (statuses []int) {
	w.t.Helper()
	br := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(br, nil)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return statuses
		}
		if err != nil {
			w.t.Fatalf("after %v: %v", statuses, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		if resp.StatusCode >= 400 && (!bytes.Contains(body, []byte("envelope")) || resp.Header.Get("X-Request-Id") == "") {
			w.t.Errorf("a refusal is not in the contract's words: %v %s", resp.Header, body)
		}
		statuses = append(statuses, resp.StatusCode)
	}
}

const (
	host  = "Host: a.example.com\r\n"
	end   = "Connection: close\r\n\r\n"
	after = "GET /smuggled HTTP/1.1\r\n" + host + end // what follows a refused request is never served
	last  = "GET /last HTTP/1.1\r\n" + host + end     // what follows a good one is
)

func post(path, headers, body string) string {
	return "POST " + path + " HTTP/1.1\r\n" + host + headers + "\r\n" + body
}

const chunked = "Transfer-Encoding: chunked\r\n"

func framings() []framing {
	return []framing{
		// Two lengths.
		{"CL.TE", post("/x", "Content-Length: 6\r\n"+chunked, "0\r\n\r\nG") + after, "400", ""},
		{"TE.CL", post("/x", chunked+"Content-Length: 4\r\n", "5c\r\nGPOST / HTTP/1.1\r\n") + after, "400", ""},
		{"CL:0 and TE", post("/x", "Content-Length: 0\r\n"+chunked, "0\r\n\r\n") + after, "400", ""},
		{"two lengths that differ", post("/x", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!") + after, "400", ""},
		{"two lengths that agree", post("/x", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello") + after, "400", ""},
		{"a list of lengths", post("/x", "Content-Length: 5, 5\r\n", "hello") + after, "400", ""},
		{"+5", post("/x", "Content-Length: +5\r\n", "hello") + after, "400", ""},
		{"-5", post("/x", "Content-Length: -5\r\n", "hello") + after, "400", ""},
		{"0x5", post("/x", "Content-Length: 0x5\r\n", "hello") + after, "400", ""},
		{"5 and a space inside", post("/x", "Content-Length: 5 5\r\n", "hello") + after, "400", ""},
		{"5.0", post("/x", "Content-Length: 5.0\r\n", "hello") + after, "400", ""},
		{"an empty length", post("/x", "Content-Length:\r\n", "hello") + after, "400", ""},
		{"a length beyond int64", post("/x", "Content-Length: 18446744073709551621\r\n", "hello") + after, "400", ""},
		{"a length and a space before the colon", post("/x", "Content-Length : 5\r\n", "hello") + after, "400", ""},
		{"a length with a vertical tab", post("/x", "Content-Length:\v5\r\n", "hello") + after, "400", ""},
		{"two lengths on a GET", "GET /x HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + after, "400", ""},
		// Codings.
		{"two codings", post("/x", chunked+"Transfer-Encoding: identity\r\n", "0\r\n\r\n") + after, "400", ""},
		{"chunked twice", post("/x", chunked+chunked, "0\r\n\r\n") + after, "400", ""},
		{"gzip, chunked", post("/x", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") + after, "400", ""},
		{"chunked, identity", post("/x", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n") + after, "400", ""},
		{"identity", post("/x", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello") + after, "400", ""},
		{"xchunked", post("/x", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n") + after, "400", ""},
		{"quoted", post("/x", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n") + after, "400", ""},
		{"chunked;q=1", post("/x", "Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n") + after, "400", ""},
		{"an empty coding", post("/x", "Transfer-Encoding:\r\n", "0\r\n\r\n") + after, "400", ""},
		{"a coding and a space before the colon", post("/x", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n") + after, "400", ""},
		{"a coding with a vertical tab", post("/x", "Transfer-Encoding:\vchunked\r\n", "0\r\n\r\n") + after, "400", ""},
		{"a folded coding", post("/x", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n") + after, "400", ""},
		{"a coding of HTTP/1.0", "POST /x HTTP/1.0\r\n" + host + chunked + "\r\n0\r\n\r\n" + after, "400", ""},
		// Lines.
		{"bare LF everywhere", "GET /x HTTP/1.1\nHost: a\n\n" + after, "400", ""},
		{"bare LF in the request line", "GET /x HTTP/1.1\n" + host + "\r\n" + after, "400", ""},
		{"bare LF in a header", "GET /x HTTP/1.1\r\n" + host + "A: b\nC: d\r\n\r\n" + after, "400", ""},
		{"bare LF at the end", "GET /x HTTP/1.1\r\n" + host + "\n" + after, "400", ""},
		{"bare CR in a value", "GET /x HTTP/1.1\r\n" + host + "A: b\rContent-Length: 5\r\n\r\n" + after, "400", ""},
		{"CR CR LF", "GET /x HTTP/1.1\r\n" + host + "A: b\r\r\n\r\n" + after, "400", ""},
		{"obs-fold", "GET /x HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n" + after, "400", ""},
		{"obs-fold with a tab", "GET /x HTTP/1.1\r\n" + host + "A: b\r\n\tContent-Length: 5\r\n\r\n" + after, "400", ""},
		{"a fold before any header", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n" + after, "400", ""},
		{"NUL in a value", "GET /x HTTP/1.1\r\n" + host + "A: b\x00c\r\n\r\n" + after, "400", ""},
		{"DEL in a value", "GET /x HTTP/1.1\r\n" + host + "A: b\x7fc\r\n\r\n" + after, "400", ""},
		{"a name with a space", "GET /x HTTP/1.1\r\n" + host + "A B: c\r\n\r\n" + after, "400", ""},
		{"a name with a NUL", "GET /x HTTP/1.1\r\n" + host + "A\x00: c\r\n\r\n" + after, "400", ""},
		{"no name", "GET /x HTTP/1.1\r\n" + host + ": c\r\n\r\n" + after, "400", ""},
		{"no colon", "GET /x HTTP/1.1\r\n" + host + "abc\r\n\r\n" + after, "400", ""},
		{"an empty line first", "\r\nGET /x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		// The request line.
		{"/%zz", "GET /%zz HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"half an escape", "GET /% HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"two spaces", "GET  /x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a tab for a space", "GET\t/x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a space at the end", "GET /x HTTP/1.1 \r\n" + host + "\r\n" + after, "400", ""},
		{"a space in the target", "GET /x y HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a control character in the target", "GET /x\x01 HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a method that is no token", "G@T /x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a method that begins with a space", " GET /x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"HTTP/0.9", "GET /x\r\n" + after, "400", ""},
		{"HTTP/1.2", "GET /x HTTP/1.2\r\n" + host + "\r\n" + after, "400", ""},
		{"HTTP/2.0", "GET /x HTTP/2.0\r\n" + host + "\r\n" + after, "400", ""},
		{"http/1.1", "GET /x http/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"the preface of HTTP/2 in clear text", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + after, "400", ""},
		{"CONNECT", "CONNECT a.example.com:443 HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"CONNECT of a path", "CONNECT /x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"our own stand-in", "GATEHOUSE-REFUSED / HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a whole URL", "GET http://b.example.com/x HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"a star", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n" + after, "400", ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400", ""},
		{"a PROXY header, version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + after, "400", ""},
		{"a PROXY header, version 2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02" + after, "400", ""},
		// Hosts and others that net/http would answer by itself.
		{"no Host", "GET /x HTTP/1.1\r\n\r\n" + after, "400", ""},
		{"two Hosts", "GET /x HTTP/1.1\r\n" + host + host + "\r\n" + after, "400", ""},
		{"an empty Host", "GET /x HTTP/1.1\r\nHost:\r\n\r\n" + after, "400", ""},
		{"a Host with a slash", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n" + after, "400", ""},
		{"two Hosts of HTTP/1.0", "GET /x HTTP/1.0\r\n" + host + host + "\r\n" + after, "400", ""},
		{"Expect", post("/x", "Expect: 200-ok\r\nContent-Length: 1\r\n", "a") + after, "400", ""},
		{"a Trailer that frames", post("/x", chunked+"Trailer: A, Content-Length\r\n", "0\r\n\r\n") + after, "400", ""},
		// Size.
		{"a long header", "GET /x HTTP/1.1\r\n" + host + "A: " + strings.Repeat("b", 70_000) + "\r\n\r\n" + after, "431", ""},
		{"a long target", "GET /" + strings.Repeat("b", 70_000) + " HTTP/1.1\r\n" + host + "\r\n" + after, "431", ""},
		{"many headers", "GET /x HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", 200) + "\r\n" + after, "431", ""},
		// Chunks. The request is let in by its head; what is wrong with its body breaks it, and the connection.
		{"a chunk line with a bare LF", post("/x", chunked, "5\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"a chunk that ends in a bare LF", post("/x", chunked, "5\r\nhello\n0\r\n\r\n") + after, "400", ""},
		{"a chunk longer than it says", post("/x", chunked, "5\r\nhello!\r\n0\r\n\r\n") + after, "400", ""},
		{"0x5", post("/x", chunked, "0x5\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"a size with a sign", post("/x", chunked, "+5\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"a size with a space", post("/x", chunked, "5 \r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"no size", post("/x", chunked, "\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"a size beyond int64", post("/x", chunked, "10000000000000005\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"an extension with a bare LF", post("/x", chunked, "5;a\nGET /y HTTP/1.1\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"an extension without end", post("/x", chunked, "5;"+strings.Repeat("a", 200)+"\r\nhello\r\n0\r\n\r\n") + after, "400", ""},
		{"a trailer with a bare LF", post("/x", chunked, "0\r\nA: b\n\r\n") + after, "400", ""},
		{"a folded trailer", post("/x", chunked, "0\r\n A: b\r\n\r\n") + after, "400", ""},
		{"a trailer without end", post("/x", chunked, "0\r\nA: "+strings.Repeat("b", 3000)+"\r\n\r\n") + after, "400", ""},
		{"the last chunk without its empty line", post("/x", chunked, "0\r\n") + after, "400", ""},
		// What is good, and what comes after it.
		{"GET", "GET /x?a=%zz HTTP/1.1\r\n" + host + "\r\n" + last, "200 200", "GET /x, GET /last"},
		{"a length", post("/x", "Content-Length: 5\r\n", "hello") + last, "200 200", "POST /x hello, GET /last"},
		{"the length in other letters", post("/x", "cONTENT-lENGTH:\t5 \r\n", "hello") + last, "200 200", "POST /x hello, GET /last"},
		{"a body that looks like a request", post("/x", "Content-Length: 28\r\n", "GET /y HTTP/1.1\r\nHost: a\r\n\r\n") + last, "200 200", "POST /x GET /y HTTP/1.1\r\nHost: a, GET /last"},
		{"chunks", post("/x", chunked, "5\r\nhello\r\n06;a=\"b\"\r\n world\r\n0\r\n\r\n") + last, "200 200", "POST /x hello world, GET /last"},
		{"a trailer", post("/x", chunked+"Trailer: A\r\n", "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n") + last, "200 200", "POST /x hello, GET /last"},
		{"CHUNKED", post("/x", "transfer-encoding: CHUNKED\r\n", "0\r\n\r\n") + last, "200 200", "POST /x, GET /last"},
		{"HTTP/1.0 without a Host", "GET /x HTTP/1.0\r\n\r\n", "200", "GET /x"},
		{"HTTP/1.0 kept alive", "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + last, "200 200", "GET /x, GET /last"},
		{"HEAD, and a method of its own", "PURGE /x HTTP/1.1\r\n" + host + "\r\n" + last, "200 200", "PURGE /x, GET /last"},
		{"good ones before a bad one", "GET /1 HTTP/1.1\r\n" + host + "\r\n" + post("/2", "Content-Length: 2\r\n", "ab") + post("/3", chunked, "1\r\nc\r\n0\r\n\r\n") +
			post("/4", "Content-Length: 1\r\n"+chunked, "0\r\n\r\n") + after, "200 200 200 400", "GET /1, POST /2 ab, POST /3 c"},
		{"a large head that is not too large", "GET /x HTTP/1.1\r\n" + host + "A: " + strings.Repeat("b", 60_000) + "\r\n\r\n" + last, "200 200", "GET /x, GET /last"},
		{"a large body", post("/x", "Content-Length: 100000\r\n", strings.Repeat("b", 100_000)) + last, "200 200", "POST /x " + strings.Repeat("b", 100_000) + ", GET /last"},
		{"a large chunk", post("/x", chunked, "186A0\r\n"+strings.Repeat("b", 100_000)+"\r\n0\r\n\r\n") + last, "200 200", "POST /x " + strings.Repeat("b", 100_000) + ", GET /last"},
	}
}

type framing struct{ name, raw, statuses, arrived string }

// What arrives is what was let in, however it is spelled and cut into pieces; what is refused is answered in the contract's
// words after all that was good before it, and nothing behind it is served.
func TestFraming(t *testing.T) {
	w := serve(t, listen.Config{})
	for _, f := range framings() {
		for _, piece := range []int{0, 1, 7} { // as it may be cut by the network
			if piece == 1 && len(f.raw) > 10_000 {
				continue
			}
			w.mu.Lock()
			w.arrived, w.seen = nil, nil
			w.mu.Unlock()
			statuses := strings.Trim(fmt.Sprint(w.send(f.raw, piece)), "[]")
			if statuses != f.statuses {
				t.Errorf("%s, in pieces of %d: got %q, want %q", f.name, piece, statuses, f.statuses)
			}
			w.mu.Lock()
			if got := strings.Join(w.arrived, ", "); got != f.arrived {
				t.Errorf("%s, in pieces of %d: %.200q arrived, want %.200q", f.name, piece, got, f.arrived)
			}
			if got, want := len(w.seen), len(strings.Fields(f.statuses)); got != want {
				t.Errorf("%s, in pieces of %d: %d requests were observed, want %d: %q", f.name, piece, got, want, w.seen)
			}
			w.mu.Unlock()
		}
	}
}
