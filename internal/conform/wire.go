package conform

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A request is what is sent, to the byte: net/http would mend much of it.
type request struct {
	method, target string
	headers        []string // whole lines, without their end
	body           string
}

// with is r with more lines in its head.
func (r request) with(lines ...string) request {
	r.headers = append(slices.Clone(r.headers), lines...)
	return r
}

// text is r on the wire. The connection ends behind it, so that an answer is everything that comes.
func (r request) text(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, host)
	for _, line := range r.headers {
		b.WriteString(line + "\r\n")
	}
	if r.body != "" || r.method == http.MethodPost {
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.body)) + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n" + r.body)
	return b.String()
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	after  string // what came behind it
	closed bool   // the server ended the connection
	text   string // all of it
}

// only is the one value of a header; the error says if there is none, or more than one.
func (a answer) only(name string) (string, error) {
	switch values := a.header.Values(name); len(values) {
	case 0:
		return "", fmt.Errorf("%s is missing", name)
	case 1:
		return values[0], nil
	default:
		return "", fmt.Errorf("%s is there %d times", name, len(values))
	}
}

// A wire reaches one server.
type wire struct {
	secure  bool
	address string // to dial
	host    string // to ask for
	timeout time.Duration
}

func newWire(base string, timeout time.Duration) (wire, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return wire{}, errors.New("the server is named by http:// or https://, its host and its port, and nothing more: http://127.0.0.1:8000")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return wire{u.Scheme == "https", net.JoinHostPort(u.Hostname(), port), u.Host, timeout}, nil
}

func (w wire) dial(ctx context.Context) (net.Conn, error) {
	if w.secure {
		return (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", w.address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", w.address)
}

// mostAnswer is how much of what a server sends is read.
const mostAnswer = 4 << 20

// exchange sends text and reads until the server closes, or says nothing more until the deadline: that is closed.
func (w wire) exchange(ctx context.Context, method, text string, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := w.dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // it fails on a closed connection alone
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// A server may answer before it has read everything, so whether all was written does not matter.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, text)
	}()
	got, err := io.ReadAll(io.LimitReader(c, mostAnswer))
	c.Close()
	<-sent
	a := answer{text: string(got), closed: err == nil || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)}
	if len(got) == 0 {
		if err == nil {
			err = errors.New("the connection was closed")
		}
		return a, fmt.Errorf("no answer came: %w", err)
	}
	r := bufio.NewReader(bytes.NewReader(got))
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return a, fmt.Errorf("the answer is not HTTP: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return a, fmt.Errorf("the answer is cut off: %w", err)
	}
	rest, _ := io.ReadAll(r) // of a buffer
	a.status, a.header, a.body, a.after = response.StatusCode, response.Header, string(body), string(rest)
	return a, nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
