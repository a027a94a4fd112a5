package listen_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// closes waits until the server has closed, and fails if that takes as long as no bound of these tests is.
func closes(t *testing.T, c net.Conn, doing string) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection is still there", doing)
	}
}

func TestSlowConnectionsAreCut(t *testing.T) {
	bounds := listen.Config{HeadTime: 50 * time.Millisecond, Stall: 50 * time.Millisecond}
	w := serve(t, bounds)
	const good = "GET /x HTTP/1.1\r\n" + host + "\r\n"
	for name, raw := range map[string]string{
		"half a head":                      "GET /x HTTP/1.1\r\n",
		"half a head on a used connection": good + "GET /y HTTP/1.1\r\n",
		"half a body":                      post("/x", "Content-Length: 5\r\n", "he"),
		"half a chunk":                     post("/x", chunked, "5\r\nhe"),
		"no body at all":                   post("/x", "Content-Length: 5\r\n", ""),
	} {
		c := w.dial()
		if _, err := io.WriteString(c, raw); err != nil {
			t.Fatal(err)
		}
		closes(t, c, name)
	}
	bounds.Certificates = newFolder(t, newPair(t, 1, time.Now().Add(time.Hour))).Certificates
	closes(t, serve(t, bounds).dial(), "a handshake that does not begin")
}

// A late head on a connection that is in use is told so, after the answers before it.
func TestLateHeadIsAnswered(t *testing.T) {
	w := serve(t, listen.Config{HeadTime: 50 * time.Millisecond})
	c := w.dial()
	if _, err := io.WriteString(c, "GET /1 HTTP/1.1\r\n"+host+"\r\nGET /2 HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := w.answers(c); len(got) != 2 || got[0] != 200 || got[1] != 408 {
		t.Errorf("got %v, want 200 408", got)
	}
}

// pipes is a listener of connections in memory, whose deadlines follow the time of synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// What moves, however slowly, goes on, both ways; when nothing does any more, it ends.
func TestWhatMovesIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := make(pipes, 1)
		l, err := listen.New(inner, listen.Config{Refuse: func(string, string, string, *listen.Refusal) []byte { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		server := web.NewServer(l.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(rw).EnableFullDuplex()
			_, _ = io.Copy(rw, r.Body)
		})), nil)
		go func() { _ = server.Serve(l) }()
		ours, theirs := net.Pipe()
		inner <- theirs
		began := time.Now()
		if _, err := io.WriteString(ours, post("/x", "Content-Length: 100000\r\n", "")); err != nil {
			t.Fatal(err)
		}
		var answer atomic.Int64
		go func() {
			b := make([]byte, 10)
			for {
				n, err := ours.Read(b)
				if answer.Add(int64(n)); err != nil {
					return
				}
				time.Sleep(time.Second / 10)
			}
		}()
		for range 60 { // twenty minutes of it
			time.Sleep(20 * time.Second)
			if _, err := ours.Write(make([]byte, 1000)); err != nil {
				t.Fatalf("cut after %v, though it moved: %v", time.Since(began), err)
			}
		}
		moved := time.Now()
		time.Sleep(2 * time.Minute) // and now it does not, but for the rest of the answer
		if answer.Load() < 60_000 {
			t.Errorf("%d bytes came back after %v", answer.Load(), time.Since(moved))
		}
		if _, err := ours.Write(make([]byte, 1000)); err == nil {
			t.Error("it stands still and is still there")
		}
		_ = ours.Close()
		close(inner)
		_ = server.Close()
	})
}

// What is bad and comes while the one before it is still being served waits for its answer, and does not disturb it.
func TestBadOneBehindOneThatTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := make(pipes, 1)
		l, err := listen.New(inner, listen.Config{Refuse: func(_, method, target string, why *listen.Refusal) []byte {
			return fmt.Appendf(nil, "HTTP/1.1 %d %s %s\r\nContent-Length: 0\r\n\r\n", why.Status, method, target)
		}})
		if err != nil {
			t.Fatal(err)
		}
		server := web.NewServer(l.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour)
			if err := r.Context().Err(); err != nil {
				t.Errorf("%s was cancelled: %v", r.URL, err)
			}
			_, _ = io.WriteString(rw, r.URL.Path)
		})), nil)
		go func() { _ = server.Serve(l) }()
		ours, theirs := net.Pipe()
		inner <- theirs
		go func() { // net/http is slower to read than we are to write
			_, _ = io.WriteString(ours, "GET /1 HTTP/1.1\r\n"+host+"\r\n")
			_, _ = io.WriteString(ours, post("/2", "Content-Length: 1\r\n"+chunked, ""))
			_, _ = io.WriteString(ours, after)
		}()
		answers, _ := io.ReadAll(ours)
		got := string(answers)
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "\r\n\r\n/1HTTP/1.1 400 POST /2\r\n") || strings.Contains(got, "smuggled") {
			t.Errorf("got %q", got)
		}
		_ = ours.Close()
		close(inner)
		_ = server.Close()
	})
}

// Whoever does not read his answer is cut.
func TestAnswerThatNobodyReads(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen.New(inner, listen.Config{Stall: 50 * time.Millisecond, Refuse: func(string, string, string, *listen.Refusal) []byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	server := web.NewServer(l.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := rw.Write(make([]byte, 1<<16)); err != nil {
				ended <- err
				return
			}
		}
	})), nil)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\n"+host+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}

// served says whether a request on c is answered.
func served(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\n"+host+"\r\n"); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil && resp.StatusCode == 200
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	w := serve(t, listen.Config{MaxPerAddress: 2})
	first, second := w.dial(), w.dial()
	if !served(first) || !served(second) {
		t.Fatal("the first two are not served")
	}
	if served(w.dial()) {
		t.Error("a third was served")
	}
	if _, err := io.WriteString(first, "GET /x HTTP/1.1\r\n"+host+end); err != nil {
		t.Fatal(err)
	}
	closes(t, first, "the first")
	if !served(w.dial()) {
		t.Error("the place of a closed one is still taken")
	}
	if inAll, ofOne := w.listener.TurnedAway(); inAll != 0 || ofOne != 1 {
		t.Errorf("%d and %d are counted as turned away, want 0 and 1", inAll, ofOne)
	}
	trusted := serve(t, listen.Config{MaxPerAddress: 1, Trusts: netip.Addr.IsLoopback})
	for range 3 {
		if !served(trusted.dial()) {
			t.Error("a proxy's connections are bounded")
		}
	}
}

// Whoever they are from, there are so many and no more; what came before goes on, and the log says so once.
func TestAllConnectionsAreBounded(t *testing.T) {
	for name, certificates := range map[string]*listen.Certificates{
		"clear text": nil, "TLS": newFolder(t, newPair(t, 1, time.Now().Add(time.Hour))).Certificates,
	} {
		var log bytes.Buffer
		w := serve(t, listen.Config{
			Max: 3, Trusts: netip.Addr.IsLoopback, Certificates: certificates, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		dial := func() net.Conn {
			c := w.dial()
			if certificates != nil {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			return c
		}
		idle, first, second := w.dial(), dial(), dial()
		if !served(first) || !served(second) {
			t.Fatalf("%s: the first three are not served", name)
		}
		for range 5 {
			if served(dial()) {
				t.Errorf("%s: a fourth was served", name)
			}
		}
		if !served(first) || !served(second) {
			t.Errorf("%s: those before it do not go on", name)
		}
		if inAll, ofOne := w.listener.TurnedAway(); inAll != 5 || ofOne != 0 || w.listener.Open() != 3 {
			t.Errorf("%s: %d and %d are counted as turned away, %d are open", name, inAll, ofOne, w.listener.Open())
		}
		_ = idle.Close()
		for w.listener.Open() > 2 {
			time.Sleep(time.Millisecond)
		}
		if !served(dial()) {
			t.Errorf("%s: the place of a closed one is still taken", name)
		}
		if n := strings.Count(log.String(), "max_connections=3"); n != 1 {
			t.Errorf("%s: the log says it %d times:\n%s", name, n, log.String())
		}
	}
}

func proxyHeader(command, family byte, addresses ...byte) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
	return string(append(b, addresses...))
}

func TestProxyProtocol(t *testing.T) {
	four := []byte{192, 0, 2, 7, 192, 0, 2, 8, 0x12, 0x34, 0, 80}
	six := append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::8").AsSlice()...), 0x12, 0x34, 0, 80)
	trusting := listen.Config{ProxyProtocol: true, Trusts: netip.Addr.IsLoopback, HeadTime: time.Second}
	nobody := listen.Config{ProxyProtocol: true, Trusts: func(netip.Addr) bool { return false }}
	for _, c := range []struct {
		name, header string
		of           listen.Config
		want         string // part of the answer; "" for none
	}{
		{"IPv4", proxyHeader(0x21, 0x11, four...), trusting, `"from":"192.0.2.7"`},
		{"IPv6", proxyHeader(0x21, 0x21, six...), trusting, `"from":"2001:db8::7"`},
		{"more than addresses", proxyHeader(0x21, 0x11, append(four, 4, 0, 1, 0)...), trusting, `"from":"192.0.2.7"`},
		{"LOCAL", proxyHeader(0x20, 0), trusting, `"from":"127.0.0.1"`},
		{"none", "", trusting, ""},
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.8 1 80\r\n", trusting, ""},
		{"UDP", proxyHeader(0x21, 0x12, four...), trusting, ""},
		{"too short", proxyHeader(0x21, 0x11, four[:8]...), trusting, ""},
		{"version 3", proxyHeader(0x31, 0x11, four...), trusting, ""},
		{"too long", proxyHeader(0x21, 0x11, make([]byte, 5000)...), trusting, ""},
		{"one who is not trusted", proxyHeader(0x21, 0x11, four...), nobody, "400 Bad Request"},
		{"one who is not trusted and says nothing", "", nobody, `"from":"127.0.0.1"`},
	} {
		conn := serve(t, c.of).dial()
		if _, err := io.WriteString(conn, c.header+last); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if !strings.Contains(string(answer), c.want) || c.want == "" && len(answer) > 0 {
			t.Errorf("%s: got %q, want %q", c.name, answer, c.want)
		}
	}
}
