package gateway

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// listening puts the house behind the listener that it has in earnest, which judges the framing.
func (h *house) listening(stall time.Duration) {
	h.t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := listen.New(inner, listen.Config{Refuse: func(_, _, _ string, why *listen.Refusal) []byte { return []byte(why.Why) }, Stall: stall})
	if err != nil {
		h.t.Fatal(err)
	}
	s := web.NewServer(l.Handler(h.handler), nil)
	go s.Serve(l) //nolint:errcheck // it ends when it is closed
	h.t.Cleanup(func() { _ = s.Close() })
	h.addr = inner.Addr().String()
}

// A client whose body is malformed is there and hears of it, whoever finds out first: the one who reads the body, or the
// one who is told that the connection is no good.
func TestAMalformedChunkIsAnswered(t *testing.T) {
	h := newHouse(t, newAPI(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), []Route{protected("/")})
	h.listening(0)
	head := "POST /x HTTP/1.1\r\nHost: a\r\n" + withToken + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, body := range []string{"5\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "x", "5\r\nhello\r\n0\r\nBad Trailer: x\r\n\r\n"} {
		for range 25 {
			conn := h.dial()
			_, _ = io.WriteString(conn, head)
			_, _ = io.WriteString(conn, body+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			r := bufio.NewReader(conn)
			answer := h.read("POST", r)
			h.refused(answer, "b2b", http.StatusBadRequest, auth.ReasonMalformed)
			if !answer.Close {
				t.Error("the connection is to go on")
			}
			if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
				t.Errorf("then came %q, %v", rest, err)
			}
			if o := h.observed(); o.Status != 400 || o.Reason != auth.ReasonMalformed {
				t.Errorf("observed %+v", o)
			}
			h.nothingMoreObserved()
			_ = conn.Close()
		}
	}
}

// One that leaves in the middle of its body hears nothing, and nobody is to blame.
func TestAClientThatLeavesInItsBody(t *testing.T) {
	for _, body := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n10\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n10"} {
		asked := make(chan struct{})
		h := newHouse(t, newAPI(t, func(_ http.ResponseWriter, r *http.Request) {
			close(asked)
			_, _ = io.Copy(io.Discard, r.Body)
		}), []Route{open("/")})
		h.listening(0)
		conn := h.dial()
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+body)
		<-asked
		_ = conn.Close()
		if o := h.observed(); o.Status != 0 || o.Reason != "" || o.Err != nil {
			t.Errorf("%q: observed %+v", body, o)
		}
	}
}

// One that stands still in its body may still listen.
func TestABodyThatStandsStill(t *testing.T) {
	h := newHouse(t, newAPI(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), []Route{protected("/")})
	h.listening(30 * time.Millisecond)
	conn := h.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\nContent-Length: 10\r\n\r\nhalf")
	h.refused(h.read("POST", bufio.NewReader(conn)), "b2b", http.StatusBadRequest, auth.ReasonMalformed)
}

// hurried is a house whose bodies have to come at this rate, after a moment.
func hurried(t *testing.T, rate int64, answer http.HandlerFunc) *house {
	t.Helper()
	h := newHouse(t, newAPI(t, answer), []Route{protected("/")}, func(c *Config) { c.MinBodyRate = rate })
	h.gateway.pace.grace = 50 * time.Millisecond
	return h
}

func readAll(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, strings.Repeat("x", int(n)))
}

// A body that comes too slowly is given up, in HTTP/1 and HTTP/2.
func TestABodyThatIsTooSlow(t *testing.T) {
	h := hurried(t, 1000, readAll)
	h.listening(0)
	for _, framing := range []string{"Content-Length: 10\r\n\r\n", "Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n10\r\nhalf"} {
		conn := h.dial()
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\n"+framing)
		r := bufio.NewReader(conn)
		h.refused(h.read("POST", r), "b2b", http.StatusBadRequest, auth.ReasonMalformed)
		if o := h.observed(); o.Status != 400 || o.Reason != auth.ReasonMalformed {
			t.Errorf("observed %+v", o)
		}
		_ = conn.Close()
	}

	c := h.http2()
	body, write := io.Pipe()
	defer write.Close()
	go func() { _, _ = io.WriteString(write, "half") }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	res, err := c.Client().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || res.ProtoMajor != 2 {
		t.Errorf("got %s %s", res.Proto, res.Status)
	}
	if o := h.observed(); o.Status != 400 || o.Reason != auth.ReasonMalformed {
		t.Errorf("observed %+v", o)
	}
}

// Once the answer has begun there is nothing to say any more: it is cut.
func TestABodyThatIsTooSlowForAnAnswerUnderWay(t *testing.T) {
	h := hurried(t, 1000, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		_, _ = io.Copy(w, r.Body)
	})
	h.listening(0)
	conn := h.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q passes for a whole answer: %v", got, err)
	}
	if o := h.observed(); o.Status != 200 || o.Reason != auth.ReasonMalformed || o.Err == nil {
		t.Errorf("observed %+v", o)
	}
}

// What is fast enough on average may pause.
func TestBodiesThatAreFastEnough(t *testing.T) {
	h := hurried(t, 10, readAll)
	h.gateway.pace.grace = 400 * time.Millisecond
	h.listening(0)
	conn := h.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 4 {
		_, _ = io.WriteString(conn, "14\r\n01234567890123456789\r\n")
		time.Sleep(150 * time.Millisecond)
	}
	_, _ = io.WriteString(conn, "0\r\n\r\n")
	if answer := h.read("POST", bufio.NewReader(conn)); answer.StatusCode != http.StatusOK || len(answer.body) != 80 {
		t.Errorf("got %d %q", answer.StatusCode, answer.body)
	}

	// A connection that a body came over is as good as before.
	idle := hurried(t, 1_000_000, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(100 * time.Millisecond)
	})
	idle.listening(0)
	conn = idle.dial()
	for r := bufio.NewReader(conn); ; {
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+withToken+"\r\nContent-Length: 2\r\n\r\nhi")
		if answer := idle.read("POST", r); answer.StatusCode != http.StatusOK {
			t.Errorf("got %d", answer.StatusCode)
		}
		if len(idle.api.arrivals()) == 2 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// That an API takes its time is not the client's fault.
func TestTimeInWhichNobodyReadsDoesNotCount(t *testing.T) {
	w := &withDeadline{set: make(chan time.Time, 1)}
	body, write := io.Pipe()
	u := &upload{ReadCloser: body, pace: pace{rate: 1_000_000, grace: 250 * time.Millisecond}, w: w}
	for range 5 {
		go func() { _, _ = write.Write([]byte("x")) }()
		time.Sleep(60 * time.Millisecond) // it lies here
		if _, err := u.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if u.waited > 200*time.Millisecond {
		t.Errorf("%s count of 300 ms in which nobody read", u.waited)
	}
	select {
	case <-w.set:
		t.Error("it was given up")
	default:
	}
	go func() {
		<-w.set
		_ = write.CloseWithError(errors.New("deadline"))
	}()
	if _, err := u.Read(make([]byte, 1)); !errors.Is(err, errSlow) {
		t.Errorf("got %v", err)
	}
	u.end()
}

// A withDeadline tells of read deadlines.
type withDeadline struct {
	http.ResponseWriter
	set chan time.Time
}

func (w *withDeadline) SetReadDeadline(at time.Time) error { w.set <- at; return nil }

func TestPace(t *testing.T) {
	p := pace{rate: 240, grace: 10 * time.Second}
	for bytes, want := range map[int64]time.Duration{
		0: 10 * time.Second, 2400: 10 * time.Second, 2640: 11 * time.Second, math.MaxInt64: (1 << 30) * time.Second,
	} {
		if got := p.wait(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}
