package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

var (
	errUpgrade  = errors.New("the request asks for another protocol (Upgrade) than WebSocket, or not as a WebSocket is asked for")
	errSwitched = errors.New("the API switches to another protocol, which nobody asked for")
	errStopping = errors.New("the server stops")
)

// judgedEvery is how often it is looked whether a WebSocket may go on.
const judgedEvery = 500 * time.Millisecond

// Upgraded are the connections that were a call and have become a WebSocket. Servers of net/http know nothing of them any
// more, so whoever stops a server closes them too. The zero value has none, and is safe for concurrent use.
type Upgraded struct {
	mu      sync.Mutex
	open    map[*upgrade]struct{}
	stopped bool
	under   sync.WaitGroup // the handlers of those that are open
}

// Close cuts them all and returns when their calls have ended. No other will be let begin.
func (u *Upgraded) Close() {
	u.mu.Lock()
	u.stopped = true
	for one := range u.open {
		go one.cut() // each may have to wait for its client
	}
	u.mu.Unlock()
	u.under.Wait()
}

// add says whether one more may begin.
func (u *Upgraded) add(one *upgrade) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped {
		return false
	}
	if u.open == nil {
		u.open = make(map[*upgrade]struct{})
	}
	u.open[one] = struct{}{}
	u.under.Add(1)
	return true
}

func (u *Upgraded) remove(one *upgrade) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.open[one]; ok {
		delete(u.open, one)
		u.under.Done()
	}
}

// An upgrade is a call that asks to become a WebSocket, and what it became. It is the writer that its call is answered
// through, so that the client's connection is at hand when it has to end.
//
// A call is judged once, and a WebSocket may go on for days: it ends when the same call would not be let in any more.
type upgrade struct {
	http.ResponseWriter
	c      *call
	cancel context.CancelFunc // ends the API's side
	conn   net.Conn           // the client's; nil while it is a call
	ended  context.Context
	over   time.Time     // when its token is
	judged chan struct{} // closed when nobody judges it any more
	why    error         // why it was cut; read when judged is closed
}

// asksUpgrade says whether the call asks to become a WebSocket. Whoever asks for another protocol, or not in the one way that
// everybody understands (RFC 6455, section 4.1), gets an error: it would be calls that nobody judges.
func (c *call) asksUpgrade() (bool, error) {
	to, ok := c.r.Header["Upgrade"]
	if !ok {
		return false, nil
	}
	if len(to) != 1 || !strings.EqualFold(to[0], "websocket") || !names(c.r.Header["Connection"], "upgrade") ||
		c.r.Method != http.MethodGet || c.r.ProtoMajor != 1 || c.r.ProtoMinor != 1 || c.r.ContentLength != 0 {
		return false, &web.StatusError{Status: http.StatusBadRequest, Err: errUpgrade}
	}
	return true, nil
}

// names says whether one of the comma-separated lists has the token.
func names(lists []string, token string) bool {
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(one, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// upgraded forwards the call, and stays for as long as there is a WebSocket.
func (c *call) upgraded() {
	ctx, cancel := context.WithCancel(c.r.Context())
	u := &upgrade{ResponseWriter: c.w, c: c, cancel: cancel, ended: ctx, over: c.over(), judged: make(chan struct{})}
	defer u.end()
	c.proxy.ServeHTTP(u, c.r.Request.WithContext(ctx))
}

// over is when a WebSocket with the call's token ends: at its exp, or, if the call was let in after that, with the leeway.
func (c *call) over() time.Time {
	if c.who.Claims == nil {
		return c.route.ObserveUntil
	}
	exp := time.Unix(c.who.Expires, 0)
	if c.g.now().Before(exp) {
		return exp
	}
	return exp.Add(verify.Leeway)
}

// Hijack takes the connection over: the API has said 101.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.conn = conn
	if !u.c.g.upgraded.add(u) {
		u.conn = nil
		_ = conn.Close()
		return nil, nil, errStopping
	}
	go u.judge()
	return conn, buffered, nil
}

// Unwrap is for [http.ResponseController].
func (u *upgrade) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// judge looks again and again whether the call would still be let in, and cuts the connection when it would not.
func (u *upgrade) judge() {
	defer close(u.judged)
	if u.c.route.Public {
		return
	}
	for {
		wait := judgedEvery
		if left := u.over.Sub(u.c.g.now()); 0 < left && left < wait {
			wait = left
		}
		next := time.NewTimer(wait)
		select {
		case <-u.ended.Done():
			next.Stop()
			return
		case <-next.C:
		}
		if u.why = u.still(); u.why != nil {
			u.cut()
			return
		}
	}
}

// still says why the call would not be let in any more.
func (u *upgrade) still() error {
	g, c := u.c.g, u.c
	now := g.now()
	switch {
	case now.Before(c.route.ObserveUntil):
		return nil
	case c.who.Claims == nil: // it was let in because its route was only observed
		return auth.ErrBadToken.Because(c.r.Seen.Observed)
	case !now.Before(u.over):
		return auth.ErrBadToken.Because(auth.ReasonTokenExpired)
	}
	return g.gate.Still(u.ended, c.who, c.r.Caller, c.route.want)
}

// cut ends both sides.
func (u *upgrade) cut() {
	u.cancel()
	_ = u.conn.Close()
}

// end notes why it was cut.
func (u *upgrade) end() {
	u.cancel()
	if u.conn == nil {
		return // it never became one
	}
	defer u.c.g.upgraded.remove(u)
	<-u.judged
	if u.why != nil {
		u.c.r.Seen.Reason = auth.AsError(u.why).Reason
	}
}
