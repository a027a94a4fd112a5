package listen_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

const upgrade = "GET /echo HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// switches is a server in memory whose handler says 101 to /echo and then what take does; it answers everything else with
// 200 and its path. It returns the client's side of a connection.
func switches(t *testing.T, c listen.Config, take func(net.Conn)) net.Conn {
	t.Helper()
	c.Refuse = func(_, method, target string, why *listen.Refusal) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %d %s %s\r\nContent-Length: 0\r\n\r\n", why.Status, method, target)
	}
	inner := make(pipes, 1)
	l, err := listen.New(inner, c)
	if err != nil {
		t.Fatal(err)
	}
	floor, err := web.New(web.Config{
		Resolve:   func(*http.Request) (a, p netip.Addr, forwarded string) { return },
		Fallbacks: []web.Fallback{{Refuse: func(rw http.ResponseWriter, _ *web.Request, _ error) { rw.WriteHeader(500) }}},
		Next: func(rw http.ResponseWriter, r *web.Request) error {
			if r.Path != "/echo" {
				select {
				case <-r.Context().Done():
					panic(http.ErrAbortHandler)
				case <-time.After(time.Second): // an API that takes its time
				}
				return web.Reply(rw, 200, []byte(r.Path))
			}
			taken, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				return err
			}
			defer taken.Close()
			if _, err := io.WriteString(taken, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
				return err
			}
			take(taken)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewServer(l.Handler(floor), log.New(io.Discard, "", 0))
	go func() { _ = server.Serve(l) }()
	ours, theirs := net.Pipe()
	inner <- theirs
	t.Cleanup(func() {
		_ = ours.Close()
		close(inner)
		_ = server.Close()
	})
	return ours
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// switched reads the answer that switches.
func switched(t *testing.T, br *bufio.Reader) {
	t.Helper()
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", res, err)
	}
}

// What a client sends right behind its request is the new protocol's, all of it and once, wherever the network cut it; and
// so is what comes after hours of silence.
func TestTunnel(t *testing.T) {
	const early = "\x81\x85no GET / HTTP/1.1\r\n\r\n, and no head at all\n\n"
	for _, cut := range []int{0, 1, 7, len(upgrade) - 1, len(upgrade), len(upgrade) + 1, len(upgrade) + 9} {
		synctest.Test(t, func(t *testing.T) {
			c := switches(t, listen.Config{}, echo)
			go func() {
				raw := "GET /first HTTP/1.1\r\n" + host + "\r\n" + upgrade + early
				cut := cut + strings.Index(raw, upgrade)
				_, _ = io.WriteString(c, raw[:cut])
				time.Sleep(time.Second / 2)
				_, _ = io.WriteString(c, raw[cut:])
			}()
			br := bufio.NewReader(c)
			if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 200 {
				t.Fatalf("the request before it: %v, %v", res, err)
			} else if body, _ := io.ReadAll(res.Body); string(body) != "/first" {
				t.Fatalf("the request before it: %s", body)
			}
			switched(t, br)
			got := make([]byte, len(early))
			if _, err := io.ReadFull(br, got); err != nil || string(got) != early {
				t.Fatalf("cut at %d: %q came back, %v", cut, got, err)
			}
			for range 3 {
				time.Sleep(5 * time.Hour)
				if _, err := io.WriteString(c, "still there?"); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len("still there?"))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != "still there?" {
					t.Fatalf("after hours: %q, %v", got, err)
				}
			}
		})
	}
}

// Whoever asks for another protocol and gets a plain answer is read as strictly as before: what came behind the request is
// the next one or nothing.
func TestUpgradeThatIsNotAnswered(t *testing.T) {
	ask := strings.Replace(upgrade, "/echo", "/plain", 1)
	for behind, want := range map[string]string{
		"GET /next HTTP/1.1\r\n" + host + end: "200 200",
		"\x81\x85GET /next HTTP/1.1\r\n":      "200 400",
		"GET /next HTTP/1.1\n\n":              "200 400",
		ask + last:                            "200 200 200",
		strings.Repeat("x", 70_000):           "", // it does not wait for the answer, and gets none
	} {
		synctest.Test(t, func(t *testing.T) {
			c := switches(t, listen.Config{}, echo)
			go func() { _, _ = io.WriteString(c, ask+behind) }()
			br := bufio.NewReader(c)
			var got []string
			for {
				res, err := http.ReadResponse(br, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, res.Body)
				got = append(got, fmt.Sprint(res.StatusCode))
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("behind it %.40q: got %q, want %q", behind, got, want)
			}
		})
	}
}

// A client that leaves before the answer is noticed, with and without something behind its request.
func TestTunnelEndsWithItsClient(t *testing.T) {
	for _, behind := range []string{"", "early"} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan struct{})
			c := switches(t, listen.Config{}, func(c net.Conn) {
				defer close(ended)
				echo(c)
			})
			go func() { _, _ = io.WriteString(c, upgrade+behind) }()
			switched(t, bufio.NewReader(c))
			_ = c.Close()
			<-ended
		})
	}
}

// A tunnel's writes are bounded as all are.
func TestTunnelThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := switches(t, listen.Config{Stall: time.Minute}, func(c net.Conn) {
			time.Sleep(time.Hour) // for as long as there is nothing to write, nothing stalls
			_, err := c.Write(make([]byte, 1<<20))
			ended <- err
		})
		go func() { _, _ = io.WriteString(c, upgrade) }()
		switched(t, bufio.NewReader(c))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
	})
}

// A connection that no request asked to switch stays HTTP's.
func TestNoTunnelUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := switches(t, listen.Config{}, func(net.Conn) { t.Error("the connection was taken over") })
		go func() { _, _ = io.WriteString(c, "GET /echo HTTP/1.1\r\n"+host+"\r\n") }()
		if answer, _ := io.ReadAll(c); strings.Contains(string(answer), "101") {
			t.Errorf("got %q", answer)
		}
	})
}
