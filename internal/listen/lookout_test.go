package listen_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A watched socket counts how often it is read, and how often it gets a deadline for reading.
type watchedSocket struct {
	net.Conn
	reads, deadlines atomic.Int64
}

func (w *watchedSocket) Read(p []byte) (int, error) {
	w.reads.Add(1)
	return w.Conn.Read(p)
}

func (w *watchedSocket) SetReadDeadline(t time.Time) error {
	w.deadlines.Add(1)
	return w.Conn.SetReadDeadline(t)
}

// inMemory serves one connection, whose time is synctest's, until done is called.
func inMemory(t *testing.T, handler http.HandlerFunc) (client net.Conn, socket *watchedSocket, done func()) {
	t.Helper()
	inner := make(pipes, 1)
	l, err := listen.New(inner, listen.Config{Refuse: func(string, string, string, *listen.Refusal) []byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewServer(l.Handler(handler), nil)
	go func() { _ = server.Serve(l) }()
	client, theirs := net.Pipe()
	socket = &watchedSocket{Conn: theirs}
	inner <- socket
	return client, socket, func() {
		_ = client.Close()
		close(inner)
		_ = server.Close()
		synctest.Wait()
	}
}

func ask(t *testing.T, c net.Conn, br *bufio.Reader, request string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answered(t, br)
}

func answered(t *testing.T, br *bufio.Reader) {
	t.Helper()
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
}

// While handlers are quick, a request costs the socket one read, and no deadline after those of the first.
func TestNobodyLooksWhetherTheClientOfAQuickAnswerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, socket, done := inMemory(t, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			synctest.Wait() // net/http's read of one byte is under way
			_, _ = io.WriteString(rw, "ok")
		})
		defer done()
		br := bufio.NewReader(client)
		ask(t, client, br, post("/x", "Content-Length: 2\r\n", "ab"))
		synctest.Wait()
		reads, deadlines := socket.reads.Load(), socket.deadlines.Load()
		for range 100 {
			time.Sleep(time.Millisecond)
			ask(t, client, br, post("/x", "Content-Length: 2\r\n", "ab"))
		}
		synctest.Wait()
		if got := socket.reads.Load() - reads; got != 100 {
			t.Errorf("100 requests were read in %d reads", got)
		}
		if got := socket.deadlines.Load() - deadlines; got != 0 {
			t.Errorf("the socket got %d deadlines", got)
		}
	})
}

// Whoever leaves while a handler runs is noticed, after however many quick requests.
func TestAClientThatLeavesIsNoticed(t *testing.T) {
	for _, quick := range []int{0, 1, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			took := make(chan time.Duration, 1)
			client, _, done := inMemory(t, func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/slow" {
					time.Sleep(time.Millisecond)
					return
				}
				began := time.Now()
				<-r.Context().Done()
				if !errors.Is(r.Context().Err(), context.Canceled) {
					t.Errorf("it ended with %v", r.Context().Err())
				}
				took <- time.Since(began)
			})
			defer done()
			br := bufio.NewReader(client)
			for range quick {
				ask(t, client, br, asking("/quick"))
			}
			if _, err := io.WriteString(client, asking("/slow")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			_ = client.Close()
			if got := <-took; got > 100*time.Millisecond {
				t.Errorf("after %d quick requests it took %v", quick, got)
			}
		})
	}
}

// A client that does not wait for an answer before it asks again gets both, however long the first one takes.
func TestTheNextRequestWhileAHandlerRuns(t *testing.T) {
	for _, running := range []time.Duration{0, 49 * time.Millisecond, 50 * time.Millisecond, 51 * time.Millisecond, time.Second} {
		for _, after := range []time.Duration{0, 49 * time.Millisecond, 50 * time.Millisecond, 51 * time.Millisecond, 2 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				client, _, done := inMemory(t, func(_ http.ResponseWriter, r *http.Request) {
					time.Sleep(running)
					if err := r.Context().Err(); err != nil {
						t.Errorf("running %v, the next after %v: %v", running, after, err)
					}
				})
				defer done()
				var asked sync.WaitGroup
				defer asked.Wait()
				asked.Go(func() {
					for range 5 {
						if _, err := io.WriteString(client, asking("/x")); err != nil {
							t.Error(err)
						}
						time.Sleep(after)
					}
				})
				br := bufio.NewReader(client)
				for range 5 {
					answered(t, br)
				}
			})
		}
	}
}

func asking(path string) string { return "GET " + path + " HTTP/1.1\r\n" + host + "\r\n" }
