package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// A long document of so many bytes in the middle, made while it is read.
type long struct {
	head, tail string
	middle     []byte
	left       int64 // of the middle
	at         int
	read       func() // is told of every piece
}

func (l *long) Read(p []byte) (int, error) {
	l.read()
	if l.head != "" {
		n := copy(p, l.head)
		l.head = l.head[n:]
		return n, nil
	}
	if l.left > 0 {
		n := copy(p, l.middle[l.at:min(len(l.middle), l.at+int(min(l.left, 1<<20)))])
		l.left -= int64(n)
		l.at = (l.at + n) % len(l.middle)
		return n, nil
	}
	n := copy(p, l.tail)
	if l.tail = l.tail[n:]; l.tail == "" {
		return n, io.EOF
	}
	return n, nil
}

// newLong is {"rows":[…]tail with about so many bytes of rows.
func newLong(size int64, tail string, read func()) *long {
	row := []byte(`{"id":1234567,"note":"` + string(bytes.Repeat([]byte("All the world is a stage. "), 40)) + `","price":19.95},` + "\n")
	middle := bytes.Repeat(row, 64)
	return &long{head: `{"rows":[`, middle: middle, left: size / int64(len(middle)) * int64(len(middle)), tail: `0]` + tail, read: read}
}

// bodySize is how large the bodies of TestBodiesAreNotHeld are: GATEHOUSE_TEST_BODY in bytes, or else a gigabyte, or less
// where time is short.
func bodySize(t *testing.T) int64 {
	if s := os.Getenv("GATEHOUSE_TEST_BODY"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if raced || testing.Short() {
		return 1 << 26
	}
	return 1 << 30
}

// A gigabyte each way, with the question at the request's very end, and memory that does not grow with it.
func TestBodiesAreNotHeld(t *testing.T) {
	size := bodySize(t)
	var peak atomic.Uint64
	var sampled atomic.Int64
	sample := func() {
		if sampled.Add(1)%2048 != 0 {
			return
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if now := m.HeapInuse + m.StackInuse; now > peak.Load() {
			peak.Store(now)
		}
	}
	wantBytes := newLong(size, "}", sample).left
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		got := make(chan int64, 1)
		go func() {
			n, _ := io.Copy(io.Discard, r.Body)
			got <- n
		}()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, newLong(size, "", sample))
		_, _ = fmt.Fprintf(w, `,"got":%d}`, <-got)
	})
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()

	body := newLong(size, `,"refresh":true}`, sample)
	wantGot := int64(len(body.head)+len(body.tail)) + body.left
	r := newCall("POST", io.NopCloser(body))
	r.ContentLength = -1
	r.RequestURI = ""
	var err error
	if r.URL, err = r.URL.Parse(h.URL + "/api/x"); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	end := &tail{}
	n, err := io.Copy(end, res.Body)
	if err != nil || n < wantBytes {
		t.Fatalf("got %d bytes: %v", n, err)
	}
	if want := fmt.Sprintf(`0],"got":%d,%s}`, wantGot, member); !bytes.HasSuffix(end.last, []byte(want)) {
		t.Errorf("the answer ends with %q, want %q", end.last, want)
	}
	grown := int64(peak.Load()) - int64(before.HeapInuse+before.StackInuse)
	t.Logf("%d MB each way in %s, memory grew by %.1f MB", size>>20, time.Since(began).Round(time.Millisecond), float64(grown)/(1<<20))
	if !raced && grown > 16<<20 { // the race detector remembers
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// A tail keeps the last bytes of what is written to it.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-256):]...)
	t.last = append(t.last[:0], t.last[max(0, len(t.last)-256):]...)
	return len(p), nil
}
