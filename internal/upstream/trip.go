package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
)

// mostTries is how many servers a call goes to at most.
const mostTries = 3

// A Trip is one call's way to one of a pool's servers, or to a few, one after the other. It is the [http.RoundTripper] of
// that call and of no other.
type Trip struct {
	Pool     *Pool
	at       *member // where the call is; nil: nowhere
	trial    int64   // not 0: the call tries whether the server is back
	tried    [mostTries]*member
	tries    int
	answered atomic.Bool // a byte of an answer has come, as far as that is looked at
}

// A Body is a request's body that knows how far it was read. It may be closed and still be read: what is closed is what
// failed to send it.
type Body interface {
	io.ReadCloser
	Progress() Progress
}

// Progress is how far a body was read.
type Progress uint32

// How far a body was read.
const (
	Untouched Progress = iota
	Underway
	Ended  // there is no more
	Failed // there should be more, and it cannot be had
)

// End says that the call is over, its answer's body included. Before anything was sent, and once more, it does nothing.
func (t *Trip) End() {
	if t.at != nil {
		t.at.calls.Add(-1)
		t.at = nil
	}
}

// RoundTrip sends the call, whose URL has the path below the servers' own and says no host. The request is the trip's from
// then on. A body that is no [Body] is taken for one that was read.
//
// If the call was sent nowhere because no server may be asked, the error is an [*Unavailable].
func (t *Trip) RoundTrip(req *http.Request) (*http.Response, error) {
	keepSingle(req)
	path, raw := req.URL.Path, req.URL.RawPath
	if len(t.Pool.members) > 1 && repeatable(req) {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotFirstResponseByte: func() { t.answered.Store(true) },
		}))
	}
	var failure error
	for {
		m, trial, err := t.Pool.pick(t)
		if err != nil {
			return nil, cmp.Or(failure, err)
		}
		t.tried[t.tries], t.at, t.trial = m, m, trial
		t.tries++
		m.direct(req.URL, path, raw)
		res, err := m.transport.RoundTrip(req)
		if err == nil {
			t.Pool.answered(m)
			return res, nil
		}
		t.End()
		failure = fmt.Errorf("%s: %w", m.name, err)
		t.note(m, req, err)
		if !t.mayGoOn(req, err) {
			return nil, failure
		}
		t.Pool.retries.Add(1)
		req = again(req)
	}
}

// note tells the breaker of m that a call failed, if that is the server's fault as far as one can know. A client that left or
// did not send its body has no say in whether others are served; nor has one whose body the server would not read to its
// end, for a server that refuses it and hangs up is well.
func (t *Trip) note(m *member, req *http.Request, err error) {
	var none noConnection
	switch p := progress(req.Body); {
	case req.Context().Err() != nil, p == Failed, p == Underway && !errors.As(err, &none):
		m.breaker.undecided(t.trial)
	default:
		t.Pool.failed(m, t.trial, err)
	}
}

// been says whether the call was at m already.
func (t *Trip) been(m *member) bool { return slices.Contains(t.tried[:t.tries], m) }

// mayGoOn says whether a call that failed so may go to another server.
func (t *Trip) mayGoOn(req *http.Request, err error) bool {
	if t.tries == mostTries || t.tries == len(t.Pool.members) || req.Context().Err() != nil {
		return false
	}
	var none noConnection
	if errors.As(err, &none) { // nothing was sent, whatever it is
		return progress(req.Body) == Untouched
	}
	var wait net.Error
	if errors.As(err, &wait) && wait.Timeout() { // the server may well be at it, and the next could take as long
		return false
	}
	return repeatable(req) && !t.answered.Load()
}

func progress(b io.ReadCloser) Progress {
	switch b := b.(type) {
	case nil:
		return Untouched
	case Body:
		return b.Progress()
	}
	return Underway
}

// safe says whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// repeatable says whether it does no harm if a server gets a request twice.
func repeatable(req *http.Request) bool { return req.Body == nil && safe(req.Method) }

// again returns a request that can be sent in the place of one that failed, which its transport may still hold.
func again(req *http.Request) *http.Request {
	next, u := *req, *req.URL
	next.URL = &u
	return &next
}

// keepSingle keeps net/http from sending a call a second time that may change something. It does so by itself with a call
// without a body whose connection was used before and broke, if its method is safe or it has a header of one of these names.
// But the client that sets the header knows nothing of the API, which may never have heard of it. Spelled otherwise, it means
// the same to the API and nothing to net/http.
func keepSingle(req *http.Request) {
	if req.Body != nil || safe(req.Method) {
		return
	}
	for _, name := range [...][2]string{{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"}} {
		if values, ok := req.Header[name[0]]; ok {
			delete(req.Header, name[0])
			req.Header[name[1]] = values
		}
	}
}
