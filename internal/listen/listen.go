// Package listen is what happens to a connection before net/http sees it: TLS and its certificates, the PROXY protocol,
// bounds on the connections of one address and of all, an end for those that have stopped moving, and a strict reading of HTTP/1. It
// leaves to others what a request means, and to net/http to parse it once more.
//
// The invariant: net/http is handed a request of HTTP/1 only when its whole head has been read and has one meaning, never a
// byte behind the end of its body, and nothing behind what was refused. So it finds the requests that were judged here, as
// many and with the same bounds. HTTP/2, which counts its bytes, passes as it is.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// Config is what a [Listener] is made of.
type Config struct {
	// Refuse returns the whole answer to a request that was refused: it came from remote, and its request line said method
	// and target, both "" if it could not be read. Whoever sends it closes the connection.
	Refuse func(remote, method, target string, why *Refusal) []byte
	// Certificates are those of TLS. nil: clear text.
	Certificates *Certificates
	// ProxyProtocol: the peers that Trusts says yes to begin each connection with a header of the PROXY protocol, version
	// 2, and its source is the remote address. Others must not send one.
	ProxyProtocol bool
	// Trusts says which peers are proxies, to which MaxPerAddress does not apply. nil: none.
	Trusts func(netip.Addr) bool
	// Max is how many connections there may be at once, handshakes and what became of them included. One more is closed
	// at once. 0: any number.
	Max int
	// MaxPerAddress is how many connections an address (the /64 for IPv6) may have at once. 0: any number.
	MaxPerAddress int
	HeadTime      time.Duration // how long a handshake and a head may take; 0: 10 seconds
	Stall         time.Duration // after which a body, or an answer, that has not moved at all is given up; 0: 30 seconds
	Log           *slog.Logger  // nil: none
}

// A Listener accepts connections for an [http.Server], whose handler must be [Listener.Handler].
type Listener struct {
	net.Listener

	refuse   func(remote, method, target string, why *Refusal) []byte
	tls      *tls.Config
	proxied  bool
	trusts   func(netip.Addr) bool
	headTime time.Duration
	stall    time.Duration
	log      *slog.Logger
	most     int64
	counter  counter

	open       atomic.Int64
	turnedAway atomic.Int64 // because there were too many
	ofOne      atomic.Int64 // because there were too many of one address
	told       atomic.Int64 // when it was last logged that there are too many, Unix seconds

	start    sync.Once
	accepted chan accepted
	closing  context.Context // ends with Close
	close    context.CancelFunc
}

type accepted struct {
	conn net.Conn
	err  error
}

// New returns a Listener on top of inner, which it closes.
func New(inner net.Listener, c Config) (*Listener, error) {
	if c.Refuse == nil {
		return nil, errors.New("listen: nobody has words for a refusal")
	}
	if c.ProxyProtocol && c.Trusts == nil {
		return nil, errors.New("listen: the PROXY protocol of nobody")
	}
	l := &Listener{
		Listener: inner, refuse: c.Refuse, proxied: c.ProxyProtocol, trusts: c.Trusts, headTime: c.HeadTime, stall: c.Stall, log: c.Log,
		most: int64(c.Max), counter: counter{most: c.MaxPerAddress}, accepted: make(chan accepted),
	}
	if c.Certificates != nil {
		l.tls = c.Certificates.config()
	}
	if l.headTime == 0 {
		l.headTime = 10 * time.Second
	}
	if l.stall == 0 {
		l.stall = 30 * time.Second
	}
	if l.trusts == nil {
		l.trusts = func(netip.Addr) bool { return false }
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.closing, l.close = context.WithCancel(context.Background())
	return l, nil
}

// Accept returns the next connection that can be served.
func (l *Listener) Accept() (net.Conn, error) {
	if l.tls == nil && !l.proxied {
		raw, err := l.admit()
		if err != nil {
			return nil, err
		}
		return newConn(raw, l), nil
	}
	l.start.Do(func() { go l.acceptAll() })
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closing.Done():
		return nil, net.ErrClosed
	}
}

// Close ends it. Connections that were accepted go on; those that still shake hands do not.
func (l *Listener) Close() error {
	l.close()
	return l.Listener.Close()
}

// Open is how many connections there are.
func (l *Listener) Open() int64 { return l.open.Load() }

// TurnedAway is how many connections were closed because there were too many: in all, or of one address.
func (l *Listener) TurnedAway() (inAll, ofOneAddress int64) {
	return l.turnedAway.Load(), l.ofOne.Load()
}

// admit accepts a connection, if there may be one more, and one more of its address.
func (l *Listener) admit() (*peer, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := &peer{Conn: c, stall: l.stall, remote: c.RemoteAddr(), open: &l.open}
		if open := l.open.Add(1); l.most > 0 && open > l.most {
			l.full(p)
			continue
		}
		if addr := addressOf(p.remote); l.trusts(addr) || p.count(&l.counter, addr) {
			return p, nil
		}
		l.tooMany(p)
	}
}

// full turns one away because there are too many, and says so once a minute.
func (l *Listener) full(p *peer) {
	n := l.turnedAway.Add(1)
	defer p.Close()
	now, told := time.Now().Unix(), l.told.Load()
	if now-told >= 60 && l.told.CompareAndSwap(told, now) {
		l.log.Warn("there are as many connections as max_connections allows; new ones are closed at once",
			"max_connections", l.most, "closed_since_start", n)
	}
}

func (l *Listener) tooMany(p *peer) {
	l.ofOne.Add(1)
	l.log.Debug("an address has too many connections; one more was closed", "remote", p.RemoteAddr().String())
	_ = p.Close()
}

// acceptAll accepts for [Listener.Accept], and lets each connection begin in a goroutine of its own, so that nobody waits
// for another's handshake.
func (l *Listener) acceptAll() {
	for {
		raw, err := l.admit()
		if err != nil {
			l.hand(accepted{err: err})
			if l.closing.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go func() {
			if c := l.prepare(raw); c == nil || !l.hand(accepted{conn: c}) {
				_ = raw.Close()
			}
		}()
	}
}

func (l *Listener) hand(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.closing.Done():
		return false
	}
}

// prepare does what comes before HTTP: the PROXY header, the handshake. It returns nil if there is nothing to serve.
func (l *Listener) prepare(raw *peer) net.Conn {
	_ = raw.SetDeadline(time.Now().Add(l.headTime))
	stop := context.AfterFunc(l.closing, func() { _ = raw.Close() })
	defer stop()
	if l.proxied && l.trusts(addressOf(raw.remote)) && !l.readProxy(raw) {
		return nil
	}
	if l.tls == nil {
		_ = raw.SetDeadline(time.Time{})
		return newConn(raw, l)
	}
	secure := tls.Server(raw, l.tls)
	if err := secure.HandshakeContext(l.closing); err != nil {
		var header tls.RecordHeaderError
		if errors.As(err, &header) && header.Conn != nil && sorts[header.RecordHeader[0]]&inToken != 0 {
			l.end(raw, l.refuse(raw.RemoteAddr().String(), "", "", errClearText))
		}
		l.log.Debug("a TLS handshake failed", "remote", raw.RemoteAddr().String(), "error", err)
		return nil
	}
	_ = raw.SetDeadline(time.Time{})
	switch secure.ConnectionState().NegotiatedProtocol {
	case "h2":
		return secure
	case acme.ALPNProto: // the handshake was all that the ACME server wanted
		return nil
	}
	return secureConn{newConn(secure, l)}
}

// readProxy reads the header that a proxy begins with.
func (l *Listener) readProxy(raw *peer) bool {
	source, err := readProxyHeader(raw.Conn)
	if err != nil {
		l.log.Warn("a trusted proxy did not begin with a header of the PROXY protocol, version 2; its connection was closed",
			"remote", raw.RemoteAddr().String(), "error", err)
		return false
	}
	if !source.IsValid() {
		return true // the proxy itself, asking whether we live
	}
	raw.remote = net.TCPAddrFromAddrPort(source)
	if !raw.count(&l.counter, source.Addr()) {
		l.tooMany(raw)
		return false
	}
	return true
}

// Handler returns what the server serves: next, and the answers to what was refused.
func (l *Listener) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == refusedMethod && r.ProtoMajor == 1 {
			l.answer(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer answers a refused request, when those before it are answered, and ends the connection.
func (l *Listener) answer(w http.ResponseWriter) {
	hijacked, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer hijacked.Close()
	var c *conn
	switch x := hijacked.(type) {
	case *conn:
		c = x
	case secureConn:
		c = x.conn
	default:
		return
	}
	r := c.refusal
	l.end(c.Conn, l.refuse(c.RemoteAddr().String(), r.method, r.target, r.why))
}

const (
	lastWords = 5 * time.Second        // for an answer before the end
	linger    = 500 * time.Millisecond // for the client to have read it
)

// end writes the last answer of a connection, if there is one, and waits until the client has had time to read it: with unread bytes, a
// close would be a reset, which takes back what was written.
func (l *Listener) end(c net.Conn, answer []byte) {
	_ = c.SetDeadline(time.Now().Add(lastWords))
	if len(answer) > 0 {
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, c, 256<<10)
}

// addressOf is the address of a peer; not valid where it has none, as over a Unix socket.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// A counter counts the connections of each address.
type counter struct {
	most int
	mu   sync.Mutex
	of   map[netip.Addr]int
}

// key is what counts as one address.
func key(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a.Unmap()
}

func (c *counter) add(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[a] >= c.most {
		return false
	}
	if c.of == nil {
		c.of = make(map[netip.Addr]int)
	}
	c.of[a]++
	return true
}

func (c *counter) remove(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[a]--; c.of[a] <= 0 {
		delete(c.of, a)
	}
}

// A peer is a connection of the kernel's, which is counted, and of which a write that does not move ends.
type peer struct {
	net.Conn
	stall   time.Duration
	remote  net.Addr
	open    *atomic.Int64
	counter *counter // nil: it is not counted by its address
	counted netip.Addr
	closed  atomic.Bool

	mu    sync.Mutex
	asked time.Time // the deadline for writing that was asked for
	armed time.Time // the one that is set
}

// count counts it as a connection of a, and says whether it may be one.
func (p *peer) count(c *counter, a netip.Addr) bool {
	if c.most == 0 || !a.IsValid() {
		return true
	}
	if a = key(a); !c.add(a) {
		return false
	}
	p.counter, p.counted = c, a
	return true
}

// RemoteAddr is the client's, as far as it is known.
func (p *peer) RemoteAddr() net.Addr { return p.remote }

// Close gives the place back.
func (p *peer) Close() error {
	if p.closed.CompareAndSwap(false, true) {
		p.open.Add(-1)
		if p.counter != nil {
			p.counter.remove(p.counted)
		}
	}
	return p.Conn.Close()
}

// CloseWrite says that nothing more comes.
func (p *peer) CloseWrite() error {
	if w, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Write gives up when not a byte of b has moved for as long as a stall may last.
func (p *peer) Write(b []byte) (int, error) {
	for written := 0; ; {
		p.arm()
		n, err := p.Conn.Write(b[written:])
		written += n
		if err == nil || n == 0 || !p.goesOn(err) {
			return written, err
		}
	}
}

// arm sets the deadline anew, but not with every write.
func (p *peer) arm() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed.IsZero() || p.armed.Sub(now) < p.stall/2 {
		p.armed = now.Add(p.stall)
		_ = p.Conn.SetWriteDeadline(earlier(p.asked, p.armed)) // it fails on a closed connection, and so will the write
	}
}

// goesOn says whether a write that moved ended for our deadline alone.
func (p *peer) goesOn(err error) bool {
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = time.Time{}
	return p.asked.IsZero() || time.Now().Before(p.asked)
}

// SetWriteDeadline sets the deadline that is asked for; ours may be earlier.
func (p *peer) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.IsZero() && p.asked.IsZero() {
		return nil // net/http says so after every request
	}
	p.asked, p.armed = t, time.Time{}
	return p.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (p *peer) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}
