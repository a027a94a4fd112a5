// Package fault is a TCP link for tests, from whoever dials it to a server, that breaks in the ways networks do: it refuses,
// it is cut, it goes silent while connections stand, it is slow. It knows nothing of what passes over it.
//
// The invariant: a byte that came in goes out in its order, or the connection ends; a fault loses connections, never bytes
// within one.
package fault

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Link passes connections on to a server. It begins whole. Its methods may be called at any time.
type Link struct {
	to       string
	listener net.Listener
	passed   sync.WaitGroup // what runs for the link
	delay    atomic.Int64   // nanoseconds, for each stretch of bytes that is passed on

	mu       sync.Mutex
	refusing bool
	flowing  chan struct{} // closed while bytes flow; another, open, while it is silent
	closed   bool
	ends     map[net.Conn]bool // both of each connection
}

// Listen opens a link to a server, at a free port of the loopback.
func Listen(to string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{to: to, listener: listener, flowing: make(chan struct{}), ends: make(map[net.Conn]bool)}
	close(l.flowing)
	l.passed.Go(l.accept)
	return l, nil
}

// Addr is where the link is dialled, as host:port.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut ends all connections, with a reset, and every new one as soon as it comes, until [Link.Mend].
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing = true
	l.endAll()
}

// Drop ends all connections with a reset, and takes new ones.
func (l *Link) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endAll()
}

// Silence lets nothing pass any more: connections stand, new ones are taken, and nobody is told, until [Link.Mend]. What was
// sent meanwhile then arrives.
func (l *Link) Silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flowing:
		l.flowing = make(chan struct{})
	default: // it is silent
	}
}

// Delay has every stretch of bytes wait before it is passed on, in either direction.
func (l *Link) Delay(d time.Duration) { l.delay.Store(int64(d)) }

// Mend ends every fault.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing = false
	l.delay.Store(0)
	l.flow()
}

// Close ends the link, and returns when nothing of it runs.
func (l *Link) Close() error {
	err := l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.endAll()
	l.flow()
	l.mu.Unlock()
	l.passed.Wait()
	return err
}

func (l *Link) flow() {
	select {
	case <-l.flowing:
	default:
		close(l.flowing)
	}
}

func (l *Link) endAll() {
	for c := range l.ends {
		reset(c)
	}
	clear(l.ends)
}

// reset ends a connection at once: what was sent and has not arrived is thrown away.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

func (l *Link) accept() {
	for {
		c, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // whoever dialled has gone again
		}
		l.passed.Go(func() { l.pass(c) })
	}
}

// take remembers c, unless it is not to be.
func (l *Link) take(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusing || l.closed {
		reset(c)
		return false
	}
	l.ends[c] = true
	return true
}

func (l *Link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, c)
	c.Close()
}

// wait returns when bytes may pass.
func (l *Link) wait() {
	if d := time.Duration(l.delay.Load()); d > 0 {
		time.Sleep(d)
	}
	l.mu.Lock()
	flowing := l.flowing
	l.mu.Unlock()
	<-flowing
}

func (l *Link) pass(from net.Conn) {
	if !l.take(from) {
		return
	}
	defer l.forget(from)
	l.wait()
	to, err := net.DialTimeout("tcp", l.to, 10*time.Second)
	if err != nil {
		reset(from) // the nearest to being refused
		return
	}
	if !l.take(to) {
		return
	}
	defer l.forget(to)
	var both sync.WaitGroup
	both.Go(func() { l.carry(to, from) })
	both.Go(func() { l.carry(from, to) })
	both.Wait()
}

// carry passes on what comes, until one side ends; the other then hears that nothing more will come.
func (l *Link) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.wait()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				reset(from)
				return
			}
		}
		if err != nil {
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			return
		}
	}
}
