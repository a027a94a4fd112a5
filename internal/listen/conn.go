package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is what a connection has at hand while it waits for the rest of a head. Idle connections have none.
const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// States of a connection: whose bytes come next.
const (
	inHead  = iota
	passing // a head that was judged and lies in the buffer
	inBody
	inChunks
	asking  // behind a request for another protocol: nobody knows until it is answered
	tunnel  // that protocol's
	refused // what stands for the refused request
	over    // nothing any more
)

// A conn hands net/http one request at a time, and no byte of one whose head it has not read whole. Once [conn.Tunnel] was
// called, it passes on what comes.
//
// net/http reads a connection from one goroutine at a time, which is all that Read allows. Deadlines may come from others.
type conn struct {
	net.Conn
	listener *Listener

	state uint8
	head  head
	chunk chunks
	left  int64 // of the body, or of the head that passes
	heads int64 // that were passed on

	buf    []byte // what was read and not passed on is buf[from:to]
	pooled *[bufferSize]byte
	from   int
	to     int

	instead []byte // what is left to pass in place of the refused request
	refusal *refusal
	broken  atomic.Bool // a body was given up in its middle

	malformed *Refusal // what was wrong with that body; nil: nothing, it stood still

	headBy time.Time // when the head under way must be there; zero: none is

	// Setting a deadline costs the runtime a timer, and each request sets several, nearly always later ones than before. So the
	// socket keeps an earlier one, and a read that it ends goes on until the time that holds; and it gets none while nobody reads.
	mu      sync.Mutex
	reading bool
	asked   time.Time // the deadline that net/http asked for
	own     time.Time // ours
	armed   time.Time // the socket's
	born    time.Time

	lookout lookout
}

// A refusal is what is known of a refused request.
type refusal struct {
	method, target string
	why            *Refusal
}

// standIn is what net/http reads in place of a refused request. [Listener.Handler] knows it by its method.
var standIn = []byte(refusedMethod + " / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n")

// newConn returns a connection without a deadline.
func newConn(c net.Conn, l *Listener) *conn { return &conn{Conn: c, listener: l, born: time.Now()} }

// A secureConn says of itself that it is encrypted, by which net/http knows.
type secureConn struct{ *conn }

// ConnectionState is that of TLS.
func (c secureConn) ConnectionState() tls.ConnectionState {
	return c.Conn.(*tls.Conn).ConnectionState()
}

// Read passes on what comes, but never bytes of two requests at once: when net/http asks for the next request, the answer to
// the one before is written.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch c.state {
		case inHead:
			if len(p) == 1 && c.from == c.to && c.head.seen == 0 && !c.awaitLookout() {
				return 0, os.ErrDeadlineExceeded
			}
			if n, err := c.readHead(p); n > 0 || err != nil {
				return n, err
			}
		case passing:
			n := copy(p[:min(len(p), int(c.left))], c.buf[c.from:c.to])
			c.consume(n)
			if c.left -= int64(n); c.left == 0 {
				c.begin()
			}
			return n, nil
		case inBody:
			n, err := c.readBody(p[:min(int64(len(p)), c.left)])
			if c.left -= int64(n); c.left == 0 {
				c.state = inHead
			}
			return n, err
		case inChunks:
			return c.readChunks(p)
		case asking:
			if len(p) == 1 {
				return 0, c.gather()
			}
			c.state = inHead // net/http asks for the next request: the answer to this one is another
		case tunnel:
			if c.from < c.to {
				n := copy(p, c.buf[c.from:c.to])
				c.consume(n)
				return n, nil
			}
			return c.read(p)
		case refused:
			n := copy(p, c.instead)
			if c.instead = c.instead[n:]; len(c.instead) == 0 {
				c.state = over
			}
			return n, nil
		default:
			return 0, c.over()
		}
	}
}

// over ends a connection behind something that was refused. net/http closes without a word on an error of reading; whoever
// reads a body finds the [*Refusal] in it.
func (c *conn) over() error {
	if c.malformed != nil {
		return &net.OpError{Op: "read", Net: "tcp", Err: c.malformed}
	}
	return errOver
}

var errOver = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("what came was refused")}

// readHead reads until a head is whole. It passes it on at once if it lies in p; otherwise, it sets the state and returns 0.
func (c *conn) readHead(p []byte) (int, error) {
	if c.from == c.to && c.head.seen == 0 && len(p) > 1 { // nothing lies here: most heads come in one piece
		c.release()
		c.setOwn(time.Time{})
		n, err := c.read(p)
		if n == 0 {
			return 0, err
		}
		end, why := c.head.feed(p[:n])
		switch {
		case why != nil:
			c.refuse(p[:n], why)
			return 0, nil
		case end > 0:
			return c.passHead(p[:n], end)
		}
		c.stash(p[:n])
	}
	if c.from < c.to {
		if end, why := c.head.feed(c.buf[c.from:c.to]); why != nil {
			c.refuse(c.buf[c.from:c.to], why)
			return 0, nil
		} else if end > 0 {
			c.state, c.left = passing, int64(end)
			return 0, nil
		}
		if c.headBy.IsZero() {
			c.headBy = time.Now().Add(c.listener.headTime)
		}
	}
	c.setOwn(c.headBy)
	c.room()
	n, err := c.read(c.buf[c.to:])
	if c.to += n; n > 0 {
		return 0, nil
	}
	if c.late(err, c.headBy) {
		c.refuse(c.buf[c.from:c.to], errHeadTime)
		return 0, nil
	}
	return 0, err
}

// late says whether a read ended because of our own deadline, and not because net/http wanted it to.
func (c *conn) late(err error, by time.Time) bool {
	if by.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !now.Before(by) && (c.asked.IsZero() || now.Before(c.asked))
}

// passHead passes on a head that lies at the beginning of p, and what of its body lies behind it.
func (c *conn) passHead(p []byte, end int) (int, error) {
	c.begin()
	rest, n := p[end:], 0
	switch c.state {
	case inBody:
		n = int(min(c.left, int64(len(rest))))
		if c.left -= int64(n); c.left == 0 {
			c.state = inHead
		}
	case inChunks:
		var done bool
		var why *Refusal
		if n, done, why = c.chunk.scan(rest); why != nil {
			c.malformed = why
			c.breakOff()
			return end + n, nil
		} else if done {
			c.state = inHead
		}
	}
	c.stash(rest[n:])
	return end + n, nil
}

// begin goes on to what follows the head that has passed.
func (c *conn) begin() {
	h := &c.head
	switch {
	case h.codes > 0:
		c.state = inChunks
	case h.length > 0:
		c.state, c.left = inBody, h.length
	case h.upgrade:
		c.state = asking
	default:
		c.state = inHead
	}
	c.head, c.headBy = head{}, time.Time{}
	c.heads++
}

// gather keeps what comes before a request for another protocol is answered, for nobody knows whose it is. It serves the one
// byte that net/http reads while a handler runs, to see whether the client leaves, and returns when it does, or when net/http
// has the read end. RFC 6455, section 4.1, has the client wait for the answer: one that has sent as much as a head may hold is
// not waited for.
func (c *conn) gather() error {
	c.setOwn(time.Time{})
	for c.to-c.from < maxHead {
		c.room()
		n, err := c.read(c.buf[c.to:])
		if c.to += n; err != nil {
			return err
		}
	}
	return errEager
}

// errEager ends a connection whose client does not wait.
var errEager = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("too much came before the answer to an Upgrade")}

// Tunnel says that whoever took the connection over from net/http answers 101: what came behind the request, and all that
// comes, passes as it is, for as long as both sides like. Only a write that does not move is still given up. A connection
// whose last request did not ask for it cannot be a tunnel, and is as it was.
func (c *conn) Tunnel() error {
	if c.state != asking {
		return errors.New("listen: a tunnel that no request asked for")
	}
	c.state = tunnel
	c.setOwn(time.Time{})
	if c.from == c.to {
		c.release()
	}
	return nil
}

// refuse keeps what is known of a request that is not let through, and lets something stand in for it.
func (c *conn) refuse(b []byte, why *Refusal) {
	h := &c.head
	r := &refusal{why: why}
	if h.targetEnd > 0 {
		r.method, r.target = string(b[:h.methodEnd]), string(b[h.methodEnd+1:h.targetEnd])
	}
	c.refusal, c.instead, c.state, c.headBy = r, standIn, refused, time.Time{}
	c.from, c.to = 0, 0
	c.release()
}

// breakOff ends a connection in the middle of a body that is malformed, or has stopped. Its request has been let through, and what reads the
// body finds out.
func (c *conn) breakOff() {
	c.state = over
	c.broken.Store(true)
}

// Close closes the connection. Behind a body that was given up there may be more, and a close would be a reset, which takes the
// answer back: so that goes on for a moment.
func (c *conn) Close() error {
	if c.broken.CompareAndSwap(true, false) {
		go func() {
			c.listener.end(c.Conn, nil)
			_ = c.Conn.Close()
		}()
		return nil
	}
	return c.Conn.Close()
}

func (c *conn) readChunks(p []byte) (int, error) {
	buffered := c.from < c.to
	var n int
	var err error
	if buffered {
		n = copy(p, c.buf[c.from:c.to])
	} else if n, err = c.readBody(p); n == 0 {
		return 0, err
	}
	used, done, why := c.chunk.scan(p[:n])
	switch {
	case buffered:
		c.consume(used)
	case done:
		c.stash(p[used:n])
	}
	switch {
	case why != nil:
		c.malformed = why
		c.breakOff()
		if used == 0 {
			return 0, c.over()
		}
	case done:
		c.state = inHead
	}
	return used, nil // an error comes again
}

// readBody reads what lies here or else what comes, and gives up on a body that has stopped coming.
func (c *conn) readBody(p []byte) (int, error) {
	if c.from < c.to {
		n := copy(p, c.buf[c.from:c.to])
		c.consume(n)
		return n, nil
	}
	// own is written by this goroutine alone.
	if now := time.Now(); c.own.Sub(now) < c.listener.stall/2 {
		c.setOwn(now.Add(c.listener.stall))
	}
	n, err := c.read(p)
	if n == 0 && c.late(err, c.own) {
		c.breakOff() // net/http would try to read the rest, and wait once more
	}
	return n, err
}

// stash keeps bytes for later. The buffer is empty.
func (c *conn) stash(b []byte) {
	if len(b) == 0 {
		return
	}
	if c.from, c.to = 0, 0; len(b) > len(c.buf) {
		c.grow(len(b))
	}
	c.to = copy(c.buf, b)
}

// room makes sure that something can be read into the buffer. A head that fills it grows it up to its bound.
func (c *conn) room() {
	if c.to < len(c.buf) {
		return
	}
	if c.from > 0 {
		c.to = copy(c.buf, c.buf[c.from:c.to])
		c.from = 0
		return
	}
	c.grow(min(2*len(c.buf), maxHead))
}

func (c *conn) grow(size int) {
	old := c.buf[c.from:c.to]
	if size <= bufferSize {
		c.pooled = buffers.Get().(*[bufferSize]byte)
		c.buf = c.pooled[:]
		return
	}
	buf := make([]byte, size)
	n := copy(buf, old)
	c.from, c.to = 0, 0
	c.release()
	c.buf, c.to = buf, n
}

func (c *conn) consume(n int) {
	if c.from += n; c.from == c.to {
		c.from, c.to = 0, 0
		c.release()
	}
}

// release gives the buffer back. There is nothing in it.
func (c *conn) release() {
	if c.pooled != nil {
		buffers.Put(c.pooled)
	}
	c.buf, c.pooled = nil, nil
}

// read reads from the socket until the earlier of both deadlines.
func (c *conn) read(p []byte) (int, error) {
	c.reads(true)
	defer c.reads(false)
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.expired() {
			return n, err
		}
	}
}

// expired says whether the deadline is over. If it is not, the socket has it from now on.
func (c *conn) expired() bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	by := earlier(c.asked, c.own)
	if !by.IsZero() && !now.Before(by) {
		return true
	}
	return c.arm(by) != nil
}

// SetReadDeadline sets net/http's deadline; ours may be earlier.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	if c.woken() {
		c.lookout.end()
	}
	return c.hasten()
}

// woken says whether net/http's deadline is one that is to end a read which is under way.
func (c *conn) woken() bool { return c.wakes(c.asked) }

// wakes says whether a deadline is one by which net/http wakes a reader: no other is from before the connection.
func (c *conn) wakes(t time.Time) bool { return t.Before(c.born) && !t.IsZero() }

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) setOwn(t time.Time) {
	if c.own.Equal(t) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = t
	_ = c.hasten() // it fails on a closed connection, and so will the read
}

// reads says whether somebody reads from the socket from now on.
func (c *conn) reads(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = now
	_ = c.hasten() // it fails on a closed connection, and so does the read
}

// hasten makes sure that the socket of somebody who reads has a deadline no later than both of ours, and none that only woke a
// reader.
func (c *conn) hasten() error {
	if !c.reading {
		return nil
	}
	by := earlier(c.asked, c.own)
	if !c.wakes(c.armed) && (by.Equal(c.armed) || !c.armed.IsZero() && (by.IsZero() || by.After(c.armed))) {
		return nil
	}
	return c.arm(by)
}

func (c *conn) arm(t time.Time) error {
	c.armed = t
	return c.Conn.SetReadDeadline(t)
}

// earlier is the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// CloseWrite says that nothing more comes.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
