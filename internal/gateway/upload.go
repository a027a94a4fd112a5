package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/upstream"
)

// A pace is how fast a request's body has to come.
type pace struct {
	rate  int64         // bytes a second on average, while they are waited for; 0: any
	grace time.Duration // before anybody looks
}

// usualGrace is the grace there is outside of tests.
const usualGrace = 10 * time.Second

// wait is how long so many bytes may have been waited for, and the next one.
func (p pace) wait(bytes int64) time.Duration {
	const ever = 1 << 30 // seconds, which a Duration still holds
	return max(p.grace, time.Duration(min(float64(bytes)/float64(p.rate), ever)*float64(time.Second)))
}

// errSlow is what a Read of a body says that was given up. As an end of its time it tells the floor not to wait for the rest.
var errSlow = fmt.Errorf("it comes too slowly: %w", os.ErrDeadlineExceeded)

// An upload is the body of a request on its way to the API. It remembers why it could not be read, for that is not the API's
// fault, and gives up on a client that is too slow; that an API takes its time does not count. The transport may still read
// it when the call is over, from a goroutine of its own.
type upload struct {
	io.ReadCloser
	renewal  *renewal // nil: nothing to see
	progress atomic.Uint32
	failure  atomic.Pointer[error]
	reading  sync.Mutex // held while a Read is under way

	pace pace
	w    http.ResponseWriter // whose connection the bytes come over

	mu     sync.Mutex // for what follows
	bytes  int64
	waited time.Duration // in Reads that are over
	since  time.Time     // when the Read under way began; zero: none is
	timer  *time.Timer   // looks again when the Read under way may have become too long; nil: nobody looks
	slow   bool
	over   bool // nothing is waited for any more, and the connection may be another call's
}

func (u *upload) Read(p []byte) (int, error) {
	u.progress.Store(uint32(upstream.Underway))
	u.reading.Lock()
	defer u.reading.Unlock()
	u.waiting()
	n, err := u.ReadCloser.Read(p)
	if slow := u.came(n); slow && err != nil && err != io.EOF { //nolint:errorlint // io.EOF is never wrapped by a Reader
		err = errSlow
	}
	if u.renewal != nil {
		u.renewal.sent(p[:n], err)
	}
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // as above
		u.progress.Store(uint32(upstream.Ended))
		u.end()
	default:
		why := err // a copy, or every Read would put its err on the heap
		u.failure.Store(&why)
		u.progress.Store(uint32(upstream.Failed))
	}
	return n, err
}

// waiting notes that bytes are waited for from now on.
func (u *upload) waiting() {
	if u.pace.rate == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since = time.Now() // the kernel's clock: it is of sockets
	if u.timer == nil && !u.over {
		u.timer = time.AfterFunc(u.pace.wait(u.bytes)-u.waited, u.look)
	}
}

// came notes that so many have come, and says whether they were given up before.
func (u *upload) came(n int) (slow bool) {
	if u.pace.rate == 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waited += time.Since(u.since)
	u.since = time.Time{}
	u.bytes += int64(n)
	return u.slow
}

// look ends the Read under way if it has become too long.
func (u *upload) look() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timer = nil
	if u.over || u.since.IsZero() {
		return // the next Read has it looked at again
	}
	if left := u.pace.wait(u.bytes) - u.waited - time.Since(u.since); left > 0 {
		u.timer = time.AfterFunc(left, u.look)
		return
	}
	u.slow = true
	_ = http.NewResponseController(u.w).SetReadDeadline(time.Unix(1, 0)) // a writer without deadlines is one of a test
}

// end says that nothing is waited for any more.
func (u *upload) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

// Close does nothing: a transport that could not connect closes what it did not read, and another server may get it.
// ReverseProxy closes what lies beneath when the call is over.
func (u *upload) Close() error { return nil }

// Progress is for the trip.
func (u *upload) Progress() upstream.Progress { return upstream.Progress(u.progress.Load()) }

// err is why the body could not be read. Where the client has gone, it was a Read that found out, and net/http tells it before
// that Read returns: so it is waited for.
func (u *upload) err(gone bool) error {
	if gone {
		u.reading.Lock()
		defer u.reading.Unlock()
	}
	if err := u.failure.Load(); err != nil {
		return *err
	}
	return nil
}
