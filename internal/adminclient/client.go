// Package adminclient asks the admin API of a server for what a desk of that server answers, so that commands work from elsewhere
// as they do beside the database. It leaves what is asked, and how the answer is shown, to them.
//
// The invariants: the operator token goes nowhere but to the one server that was named, and not in clear text over a network
// unless somebody has said so; nothing that could be a secret goes into a URL.
package adminclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// Config says which server is asked.
type Config struct {
	URL      string // of its admin listener, as https://admin.example.com:9000
	Token    string // an operator token
	Insecure bool   // send it in clear text over a network
}

// A Client asks one server. Errors are of type [*auth.Error], of the kind that the server's own had.
type Client struct {
	base  string
	token func() string // a closure, because fmt reads through unexported fields
	http  *http.Client
	long  *http.Client // for answers that take their time

	mu     sync.Mutex
	date   time.Time // what the server said last,
	dateAt time.Time // and when
}

// New returns a Client. The error says how to put the address right.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the server is named by the URL of its admin listener, as https://admin.example.com:9000 or http://127.0.0.1:9000")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the server's URL has neither user, password, query nor fragment: the token is given by GATEHOUSE_TOKEN or --token-file")
	case u.Scheme == "http" && !c.Insecure && !loopback(u.Hostname()):
		return nil, fmt.Errorf("the token would go to %s in clear text, for everybody on the way to read: use https (admin_tls), a tunnel to a loopback address, or say --insecure-http", u.Host)
	case c.Token == "" || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("an operator token is needed, as gko_…: give it by GATEHOUSE_TOKEN or --token-file")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.ResponseHeaderTimeout = time.Minute
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for this server
	return &Client{
		base: strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), token: func() string { return c.Token },
		http: &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: stay},
		long: &http.Client{Transport: transport, CheckRedirect: stay},
	}, nil
}

// loopback says whether a host is this machine, whatever a name server says.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || strings.EqualFold(host, "localhost")
}

// Close gives the connections back.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Now is the server's time, to the second and never ahead of it, as far as the server has said it or says it when it is asked.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	known := !c.date.IsZero()
	c.mu.Unlock()
	if !known {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if res, err := c.send(ctx, c.http, http.MethodGet, "/healthz", nil, ""); err == nil {
			_ = res.Body.Close()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Now()
	}
	return c.date.Add(time.Since(c.dateAt))
}

// path is what every address of the API begins with.
const path = "/admin/v1"

// mostAnswer is the longest answer that is read, in bytes: a thousand accounts with their allowlists.
const mostAnswer = 64 << 20

// get asks for something.
func get[T any](ctx context.Context, c *Client, at string, query url.Values) (T, error) {
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	return ask[T](ctx, c, http.MethodGet, at, nil, "")
}

// post has something done.
func post[T any](ctx context.Context, c *Client, at string, body any) (T, error) {
	return ask[T](ctx, c, http.MethodPost, at, body, "")
}

// once has something made that must not be made twice. If the connection breaks it is asked for again, under the same key.
func once[T any](ctx context.Context, c *Client, at string, body any) (T, error) {
	key := rand.Text()
	t, err := ask[T](ctx, c, http.MethodPost, at, body, key)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return ask[T](ctx, c, http.MethodPost, at, body, key)
	}
	return t, err
}

// ask sends one request and reads its answer.
func ask[T any](ctx context.Context, c *Client, method, at string, body any, key string) (T, error) {
	var t T
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return t, &auth.Error{Msg: "the request cannot be written", Err: err}
		}
	}
	res, err := c.send(ctx, c.http, method, path+at, text, key)
	if err != nil {
		return t, &auth.Error{Kind: auth.Unavailable, Msg: "ask " + c.base, Err: reason(err)}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer+1))
	if err != nil || len(answer) > mostAnswer {
		return t, &auth.Error{Kind: auth.Unavailable, Msg: "the answer of " + c.base + " broke off, or is too long", Err: err}
	}
	if res.StatusCode/100 != 2 {
		return t, c.refused(res, answer)
	}
	if err := json.Unmarshal(answer, &t); err != nil {
		return t, &auth.Error{Msg: c.base + " answered what is none of the admin API's: is it the address of admin_listen?"}
	}
	return t, nil
}

func (c *Client) send(ctx context.Context, by *http.Client, method, at string, body []byte, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "gatehouse-command")
	if strings.HasPrefix(at, path) {
		req.Header.Set("Authorization", "Bearer "+c.token())
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := by.Do(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		c.mu.Lock()
		c.date, c.dateAt = date, time.Now()
		c.mu.Unlock()
	}
	return res, nil
}

// reason is err without the URL, which is said already.
func reason(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		if op := new(net.OpError); errors.As(u.Err, &op) {
			return fmt.Errorf("%w (is the server running, and is this its admin listener?)", u.Err)
		}
		return u.Err
	}
	return err
}

// kinds are what statuses stand for.
var kinds = map[int]auth.ErrorKind{
	http.StatusBadRequest: auth.Invalid, http.StatusRequestEntityTooLarge: auth.Invalid, http.StatusUnsupportedMediaType: auth.Invalid,
	http.StatusUnprocessableEntity: auth.Invalid, http.StatusUnauthorized: auth.Unauthenticated, http.StatusForbidden: auth.Forbidden,
	http.StatusNotFound: auth.NotFound, http.StatusConflict: auth.Conflict, http.StatusPreconditionFailed: auth.Conflict,
	http.StatusTooManyRequests: auth.Limited, http.StatusServiceUnavailable: auth.Unavailable,
}

// refused is a failure in the words of the server, as the registry would have said it here.
func (c *Client) refused(res *http.Response, body []byte) error {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" || p.Detail == "" {
		said := "it answered " + res.Status
		if to := res.Header.Get("Location"); to != "" {
			said += ", to " + strconv.QuoteToASCII(to)
		}
		return &auth.Error{Msg: "there is no admin API at " + c.base + ": " + said + "; give the address of the server's admin_listen"}
	}
	e := &auth.Error{Kind: kinds[res.StatusCode], Msg: p.Detail}
	switch e.Kind {
	case auth.Unauthenticated:
		e.Msg = c.base + " does not take the token: it is none of that server's, or has expired or was revoked; gatehouse operator token create makes one"
	case auth.Limited:
		e.Msg = "too many wrong tokens came from this address to " + c.base + ": try again in " + res.Header.Get("Retry-After") + " s"
	case auth.Internal, auth.Unavailable:
		e.Msg = c.base + ": " + p.Detail + " (request " + p.Instance + ")"
	}
	return e
}
