package listen

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A scripted connection gives what it has, in pieces of so many bytes.
type scripted struct {
	net.Conn
	rest  []byte
	piece int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(s.piece, 1))], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// What passes, net/http takes apart at the same places: behind each of its requests it has read nothing of the next one,
// and it has found as many as were let through. Pieces change nothing.
func FuzzFraming(f *testing.F) {
	for _, raw := range []string{
		"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n0\r\nA: b\r\n\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n.",
		"POST /%41?%zz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /x HTTP/1.1\nHost: a\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(raw), 1<<16)
		f.Add([]byte(raw), 1)
		f.Add([]byte(raw), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		found, passed := follow(t, raw, piece)
		whole, passedWhole := follow(t, raw, 1<<16)
		if found != whole || passed != passedWhole {
			t.Errorf("in pieces of %d: %d found and %d let through, in one: %d and %d", piece, found, passed, whole, passedWhole)
		}
	})
}

// follow lets net/http read what passes, and returns how many requests it found whole, and how many heads were let through.
func follow(t *testing.T, raw []byte, piece int) (found, passed int64) {
	t.Helper()
	c := &conn{Conn: &scripted{rest: bytes.Clone(raw), piece: piece}, listener: &Listener{headTime: time.Hour, stall: time.Hour}}
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err == nil && r.Method == refusedMethod && c.refusal != nil {
			return found, c.heads
		}
		if err != nil {
			if c.heads != found {
				t.Fatalf("net/http does not take the head of request %d: %v", found, err)
			}
			return found, c.heads
		}
		found++
		if c.heads != found {
			t.Fatalf("net/http found %d requests, %d were let through", found, c.heads)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			// Cut off, refused in its middle, or with more about its chunks than net/http puts up with. It closes then.
			return found, c.heads
		}
		if c.state != inHead && c.state != asking && c.state != refused && c.state != over || br.Buffered() != 0 {
			t.Fatalf("behind request %d: state %d, and net/http has %d bytes of what follows", found, c.state, br.Buffered())
		}
		if c.state == asking { // net/http looks whether the client leaves; the answer is no 101
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Fatalf("before the answer to request %d, net/http is handed %d bytes, %v", found, n, err)
			}
		}
	}
}

// forever repeats a request without end.
type forever struct {
	net.Conn
	raw []byte
}

func (f *forever) Read(p []byte) (int, error)      { return copy(p, f.raw), nil }
func (f *forever) SetReadDeadline(time.Time) error { return nil }

// BenchmarkRead is what judging costs, for a request as a client with a token sends it.
func BenchmarkRead(b *testing.B) {
	head := "Host: auth.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n" +
		"Authorization: Bearer " + string(bytes.Repeat([]byte("a"), 400)) + "\r\nX-Forwarded-For: 192.0.2.7\r\n"
	for name, raw := range map[string]string{
		"get":    "GET /api/v1/products?page=2 HTTP/1.1\r\n" + head + "\r\n",
		"length": "POST /api/v1/products HTTP/1.1\r\n" + head + "Content-Length: 20\r\n\r\n{\"name\":\"something\"}",
		"chunks": "POST /api/v1/products HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n14\r\n{\"name\":\"something\"}\r\n0\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			c := &conn{Conn: &forever{raw: []byte(raw)}, listener: &Listener{headTime: time.Hour, stall: time.Hour}}
			p := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if n, err := c.Read(p); err != nil || n != len(raw) {
					b.Fatal(n, err, errors.New(c.refusal.why.Why))
				}
			}
		})
	}
}
