package client

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// A token that took the place of a refused one, and is refused sooner than this, is kept: it is not about the token.
const pauseUseless = time.Minute

// RoundTrip implements [http.RoundTripper]: it sends a call with a token, if it goes to one of Origins and has no
// Authorization already, and as it is otherwise.
//
// A 401 about the token is answered with a new one and the same call once more. After 429 and 503 it waits as Retry-After
// says, and sends the call again. After those without a Retry-After, after 502, 504 and a connection that broke it waits a little, and
// does so only with what can be done twice: GET, HEAD, OPTIONS, PUT, DELETE, and any method with an Idempotency-Key. It never
// does so with a body that cannot be read again (see http.Request.GetBody). What comes in the end is the API's answer, whatever it says; [Check]
// makes an error of it. An error is for calls that have no answer, or no token.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.Header == nil || !c.origins[origin(req.URL)] || len(req.Header["Authorization"]) > 0 {
		return c.transport.RoundTrip(req)
	}
	res, err := c.call(req)
	if err == nil {
		res.Request = req // and not the one with the token, which programs print
	}
	return res, err
}

func (c *Client) call(req *http.Request) (*http.Response, error) {
	repeatable := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	unread := req.Body // of the call's own; each repetition gets another
	defer func() {
		if unread != nil {
			unread.Close()
		}
	}()
	renewed := false
	for attempt := 1; ; attempt++ {
		t, err := c.token(req.Context())
		if err != nil {
			return nil, err
		}
		out := req.Clone(req.Context())
		out.Header.Set("Authorization", "Bearer "+t.value)
		asks, err := c.ask(out, t)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		switch {
		case asks.rewritten || unread == nil && req.Body == nil:
		case unread != nil:
			out.Body, unread = unread, nil
		case req.GetBody != nil:
			if out.Body, err = req.GetBody(); err != nil {
				asks.over(nil)
				return nil, fmt.Errorf("client: read the body again: %w", err)
			}
		}
		res, err := c.transport.RoundTrip(out)
		status, after := 0, time.Duration(0)
		if err == nil {
			status = res.StatusCode
			asks.answered(res)
			after = retryAfter(res.Header, c.theirs())
		} else {
			asks.over(nil)
		}
		var wait time.Duration
		again := false
		if status == http.StatusUnauthorized {
			if again = !renewed && c.mayHelp(t, res.Header); again {
				renewed = true
				c.refuse(t.value) // also where this call is over: the next one needs another
				attempt--
			}
		} else {
			wait, again = c.pause(attempt, status, after, idempotent(req) || undone(res))
		}
		if !again || !repeatable || req.Context().Err() != nil {
			return res, err
		}
		if res != nil { // its connection can be used again
			_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
			res.Body.Close()
		}
		if wait > 0 {
			if err := c.sleep(req.Context(), wait); err != nil {
				return nil, fmt.Errorf("client: %w", err)
			}
		}
	}
}

// mayHelp says whether another token than t may be accepted where this 401 came from. An API has its own, about other
// things, and a token of the wrong type stays one.
func (c *Client) mayHelp(t *held, h http.Header) bool {
	if len(h.Values("WWW-Authenticate")) > 0 && challenge(h, "error") != "invalid_token" {
		return false
	}
	return challenge(h, "error_description") != wrongType && !c.now().Before(t.replaced.Add(pauseUseless))
}

// refuse notes that a token is dead, unless it has been replaced already.
func (c *Client) refuse(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.current.value == token {
		c.dead = token
	}
}

// undone says whether an answer means that the call was not done: whoever names a time at which to come again has not done it.
// A 503 alone may be of something behind that has begun.
func undone(res *http.Response) bool {
	return res != nil && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) &&
		res.Header.Get("Retry-After") != ""
}

// idempotent says whether a call may be done twice (RFC 9110, section 9.2.2).
func idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return req.Header.Get("Idempotency-Key") != ""
}
