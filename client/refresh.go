package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatehouse/gatehouse/api"
)

const (
	// The answer to a refresh can be had again, under the same key, for ten seconds from the moment that the token was
	// spent. That was no sooner than it was first sent; the rest is for the way.
	repeatWithin = 8 * time.Second
	// So long one answer is waited for, so that there is time to ask again.
	refreshTimeout = 2 * time.Second
)

// errLogIn is a session that cannot be gone on with.
var errLogIn = errors.New("there is nothing to refresh")

// refresh spends the refresh token of s for the next pair. The error is errLogIn if there is none that is good, or that can
// be known to be unspent: a spent one, sent once more, is taken for theft, and ends the session of whoever holds the next.
//
// After any other error s is what is stored, and its Key says whether the token may be spent.
func (c *Client) refresh(r *run, s *state) (grant, error) {
	if s.Refresh == "" || !c.theirs().Before(s.RefreshExpires) {
		return grant{}, errLogIn
	}
	build := func(ctx context.Context, base string) (*http.Request, error) {
		req, err := postJSON(ctx, base+"/auth/refresh", api.RefreshRequest{RefreshToken: s.Refresh})
		if err == nil {
			req.Header.Set("Idempotency-Key", s.Key)
		}
		return req, err
	}
	unknown := s.Key != "" // it was sent, and nobody knows what became of it
	for attempt := 1; ; attempt++ {
		if r.stay.Err() != nil {
			return grant{}, c.leave(r.work, s, unknown, errAbandoned)
		}
		if !unknown {
			s.Key, s.Sent = rand.Text(), c.now().Round(0)
			if err := c.save(r.work, *s); err != nil {
				c.log.Warn("a refresh token is given up, for its Idempotency-Key cannot be stored", slog.Any("error", err))
				return grant{}, errLogIn
			}
		} else if gone := c.now().Sub(s.Sent); gone < 0 || gone >= repeatWithin {
			c.log.Warn("a refresh token is given up, for nobody knows whether it is spent")
			return grant{}, errLogIn
		}
		g, status, err := c.once(r.work, min(c.timeout, refreshTimeout), "refresh", build, pairGrant)
		switch {
		case err == nil:
			return g, nil
		case status == 0:
			unknown = unknown || !unsent(err)
		case status >= http.StatusInternalServerError:
			unknown = true
		case status == http.StatusTooManyRequests, status == http.StatusForbidden: // it was not spent
		default: // no good, by whatever words: a login is what is left
			c.log.Info("a refresh token is no good", slog.Any("error", err))
			return grant{}, errLogIn
		}
		retry := *r
		if unknown && retryAfterOf(err) < repeatWithin-c.now().Sub(s.Sent) {
			retry.spare = nil // it is now or never
		}
		if err := c.wait(&retry, attempt, status, err); err != nil {
			return grant{}, c.leave(r.work, s, unknown, err)
		}
	}
}

// leave leaves s as somebody finds it who comes later, and returns err.
func (c *Client) leave(ctx context.Context, s *state, unknown bool, err error) error {
	if unknown || s.Key == "" {
		return err
	}
	s.Key, s.Sent = "", time.Time{}
	if failed := c.save(ctx, *s); failed != nil {
		c.log.Warn("that a refresh token is good is not stored", slog.Any("error", failed))
	}
	return err
}

// Logout ends all sessions of a [Login], on every machine: all tokens of its account that a username and password were
// presented for. It does nothing if no session is known here, or if it is known that the one there was is over. Where nobody
// can know, it logs in to log out.
//
// From then on [Client.Token] and calls are [ErrLoggedOut]: whoever goes on makes a new Client. Other processes that share its
// [Store] log in again when they next need a token. After an error nothing has changed, unless it says so, and Logout can be
// called again.
//
// Of other credentials the error is [errors.ErrUnsupported]: their contracts have no logout.
func (c *Client) Logout(ctx context.Context) error {
	if c.credential.contract() != B2B {
		return fmt.Errorf("client: log out: %w", errors.ErrUnsupported)
	}
	unlock, err := c.store.Lock(ctx)
	if err != nil {
		return fmt.Errorf("client: log out: lock the tokens: %w", err)
	}
	defer unlock()
	s, err := c.load(ctx)
	if err != nil {
		return fmt.Errorf("client: log out: %w", err)
	}
	if err := c.logout(&run{work: ctx, stay: ctx}, &s); err != nil {
		if errors.Is(err, errAbandoned) {
			err = ctx.Err()
		}
		return fmt.Errorf("client: log out: %w", err)
	}
	c.mu.Lock()
	c.current, c.ended = nil, true
	c.mu.Unlock()
	if err := c.save(ctx, state{Gatehouse: stateVersion, Of: c.owner}); err != nil {
		return fmt.Errorf("client: log out: it is done, but here it is not known: %w", err)
	}
	return nil
}

// logout ends the session of s, if there is one.
func (c *Client) logout(r *run, s *state) error {
	if s.Token == "" && s.Refresh == "" {
		return nil
	}
	if t := c.stored(s); t != nil {
		err := c.end(r, t.value)
		if !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrTokenRevoked) {
			return over(err)
		}
		// The token is no good, and its session perhaps is.
	}
	if s.Refresh != "" && s.Key == "" && !c.theirs().Before(s.RefreshExpires) {
		return nil
	}
	g, err := c.refresh(r, s) // only an access token can log out
	if errors.Is(err, errLogIn) {
		c.giveUp(r.work, s)
		g, err = c.exchange(r)
	}
	if err != nil {
		return err
	}
	return over(c.end(r, c.keep(r.work, s, g).value))
}

// over is the error of a logout: that the token is dead is none, for that is what was wanted.
func over(err error) error {
	if errors.Is(err, ErrUnauthorized) {
		return nil
	}
	return err
}

// end sends a logout. It may be done twice: the second time the token is no good.
func (c *Client) end(r *run, token string) error {
	build := func(ctx context.Context, base string) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/auth/logout", nil)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return req, err
	}
	for attempt := 1; ; attempt++ {
		a, err := c.send(r.work, c.timeout, build)
		status := 0
		switch {
		case err != nil:
		case a.status == http.StatusOK:
			return nil
		default:
			status, err = a.status, c.refusal(a)
		}
		if err := c.wait(r, attempt, status, err); err != nil {
			return err
		}
	}
}
