package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/upstream"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// flushAfter is how long bytes of an answer of known length may wait for more of them. An answer of unknown length is a
// stream, and its bytes do not wait at all.
const flushAfter = 10 * time.Millisecond

// A call is one request on its way through a route. It is never used again: the transport may hold on to parts of it when
// the call is over.
type call struct {
	g     *Gateway
	w     http.ResponseWriter
	r     *web.Request
	route *route
	who   verify.Principal // of a public route, nobody

	proxy  httputil.ReverseProxy
	to     *onward
	trip   upstream.Trip
	sent   time.Time // when the API was first asked
	up     upload
	down   download
	failed error // why there was no answer

	upgrades bool     // it asks to become a WebSocket
	renewal  *renewal // nil: the call cannot ask for a new token

	values []string // of the headers that we set, in room unless there are many
	room   [12]string
}

// admit says whether the call may pass, and notes who calls. methodErr is what the table said of its method.
func (c *call) admit(methodErr error) error {
	if len(c.route.servers) == 0 {
		return &web.StatusError{Status: http.StatusNotFound}
	}
	var err error
	if c.upgrades, err = c.asksUpgrade(); err != nil {
		return err
	}
	if methodErr != nil {
		return methodErr
	}
	c.who, err = c.g.judge(c.r, c.route)
	return err
}

// forward sends the call to its API and the answer to the client.
func (c *call) forward() error {
	if c.r.ContentLength != 0 {
		// Without this net/http would hold back the head of the answer until it had read, and thrown away, what is left
		// of the request's body. HTTP/2 does not need it and a writer without it is one of a test.
		_ = http.NewResponseController(c.w).EnableFullDuplex()
	}
	c.watch()
	c.values = c.room[:0]
	c.to = c.g.onward[c.route]
	c.trip.Pool = c.to.pool
	c.proxy = httputil.ReverseProxy{
		Rewrite:        c.rewrite,
		ModifyResponse: c.answered,
		ErrorHandler:   c.unanswered,
		Transport:      &c.trip,
		BufferPool:     &c.g.buffers,
		FlushInterval:  flushAfter,
		ErrorLog:       c.g.silent,
	}
	defer c.ended()
	c.sent = c.g.now()
	if c.upgrades {
		c.upgraded()
	} else {
		c.proxy.ServeHTTP(c.w, c.r.Request)
	}
	return c.failed
}

// rewrite makes the request that the API gets. Hop-by-hop headers, and whatever else the client named in Connection, are
// gone already, and so cannot take away what is set here.
func (c *call) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	c.to.strip.from(out.Header)
	c.route.request.add(out.Header)
	c.setOurs(out.Header)
	if c.renewal != nil {
		c.set(out.Header, "Accept-Encoding", "identity") // what is compressed takes no new member
	}
	c.direct(out.URL)
	// The API gets its own name. Which of its virtual hosts answers is for the route to say, not for the client, whose
	// choice is in X-Forwarded-Host.
	out.Host = ""
	// Trailers could carry any name past the headers that were looked at. RFC 9110, section 6.5.1, lets us drop them.
	out.Trailer = nil
	if out.Body != nil {
		c.up.ReadCloser, c.up.renewal, out.Body = out.Body, c.renewal, &c.up
		c.up.pace, c.up.w = c.g.pace, c.w
	}
}

// direct gives u the path that was judged and the query as it came. Of which server it becomes the URL is the trip's to
// say.
func (c *call) direct(u *url.URL) {
	path := c.r.Path[len(c.route.strip):]
	if path == "" {
		path = "/"
	}
	u.Path, u.RawPath, u.RawQuery = path, path, c.r.RawQuery
	if strings.IndexByte(path, '%') >= 0 {
		// Only if Path is RawPath decoded, RawPath is what is sent. It decodes: it passed the path check.
		u.Path, _ = url.PathUnescape(path)
	}
}

// answered sees the head of the answer before the client does.
func (c *call) answered(res *http.Response) error {
	switched := res.StatusCode == http.StatusSwitchingProtocols
	if switched && !c.upgrades {
		return errSwitched
	}
	c.headCame()
	c.route.response.do(res.Header)
	h := c.w.Header()
	c.oneVoice(h, res.Header)
	for name := range h {
		if name != "Vary" { // whose values belong together
			delete(res.Header, name) // ReverseProxy adds the API's values to ours
		}
	}
	if switched {
		return nil // its body is the connection
	}
	if _, ok := res.Header["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
	c.down.ReadCloser, res.Body = res.Body, &c.down
	if c.renewal != nil {
		c.renewal.headCame(res)
	}
	return nil
}

// oneVoice leaves it to the API, or to us, to tell browsers who may read the answer.
func (c *call) oneVoice(ours, theirs http.Header) {
	if c.route.OwnCORS {
		web.DropCORS(ours)
		delete(ours, "Vary")
		return
	}
	web.DropCORS(theirs)
	c.r.WriteCORS(ours)
}

// headCame notes how long the API took, and says what we say in every answer.
func (c *call) headCame() {
	c.r.Seen.Upstream = max(1, c.g.now().Sub(c.sent)) // 0 would mean that it was not asked
	c.sayOurs()
}

func (c *call) sayOurs() {
	h := c.w.Header()
	h[headerRequestID] = []string{c.r.Caller.RequestID} // again, for when ReverseProxy passes on a 1xx it empties the map
	web.WriteLimit(h, c.r.Seen.Limit)
}

// unanswered notes why there is no answer to pass on.
func (c *call) unanswered(_ http.ResponseWriter, _ *http.Request, err error) {
	var resting *upstream.Unavailable
	if errors.As(err, &resting) { // it was not asked
		c.sayOurs()
		c.failed = &auth.Error{
			Kind: auth.Unavailable, Reason: auth.ReasonUpstream, Msg: http.StatusText(http.StatusServiceUnavailable),
			RetryAfter: resting.RetryAfter, Err: err,
		}
		return
	}
	c.headCame()
	var timeout net.Error
	switch sending := c.sending(); {
	case sending != nil:
		if c.r.ProtoMajor == 1 {
			c.w.Header()["Connection"] = []string{"close"} // where the body ends nobody can say
		}
		c.failed = &web.StatusError{Status: http.StatusBadRequest, Err: sending}
	case c.gone():
		panic(http.ErrAbortHandler) // there is nobody to answer
	case errors.As(err, &timeout) && timeout.Timeout():
		c.failed = &web.StatusError{Status: http.StatusGatewayTimeout, Err: err}
	default:
		c.failed = &web.StatusError{Status: http.StatusBadGateway, Err: err}
	}
}

// ended says who is to blame if the answer was cut short.
func (c *call) ended() {
	c.trip.End()
	c.up.end()
	if c.down.err == nil {
		return
	}
	if err := c.sending(); err != nil {
		c.r.Seen.Reason, c.r.Seen.Err = auth.ReasonMalformed, err
	} else if !c.gone() {
		c.r.Seen.Reason = auth.ReasonUpstream
		c.r.Seen.Err = fmt.Errorf("the API broke off its answer: %w", c.down.err)
	}
}

// sending is why the client's body cannot be had, nil if it can, or if the client has left.
func (c *call) sending() error {
	gone := c.gone()
	err := c.up.err(gone)
	if err == nil || gone && (c.r.ProtoMajor > 1 || hungUp(err)) {
		return nil
	}
	return fmt.Errorf("read the request's body: %w", err)
}

// hungUp says whether a body of HTTP/1 could not be read because its client has left. Where the body is malformed or too slow
// the client is there and waits, though for net/http it has gone whenever it cannot be read.
func hungUp(err error) bool {
	var system *os.SyscallError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &system)
}

// gone says whether the client has left.
func (c *call) gone() bool { return c.r.Context().Err() != nil }

// A download is the body of an answer. It remembers why it ended early.
type download struct {
	io.ReadCloser
	err error
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // as above
		d.err = err
	}
	return n, err
}
