package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

// A held token is one that we have. It is never changed. Times are by the server's clock.
type held struct {
	value, kind, scope string
	expires            time.Time
	asks               time.Time // from then on calls ask for the next one in band
	due                time.Time // from then on it is renewed
	replaced           time.Time // by our clock: when it was had for one that a call was refused with; zero: it was not
}

// newHeld says when a token that lives from issued to expires is to be renewed: five minutes before its end, or for its last
// tenth if that is less, and by chance up to a fifth of that sooner.
func newHeld(value, kind, scope string, issued, expires time.Time) *held {
	early := min(5*time.Minute, expires.Sub(issued)/10)
	return &held{
		value: value, kind: kind, scope: scope, expires: expires,
		asks: expires.Add(-2 * early),
		due:  expires.Add(-early - time.Duration(rand.Float64()*float64(early)/5)),
	}
}

// A run is who is waiting for some requests.
type run struct {
	work  context.Context //nolint:containedctx // two contexts with two ends; nobody keeps a run
	stay  context.Context //nolint:containedctx // ends when nobody waits any more: then nothing new is begun
	spare *held           // a token to go on with if these requests fail; nil: there is none
}

// A flight is one renewal, which many may wait for.
type flight struct {
	run
	refused string // the token that a call was refused with last: not this one
	before  string // the token there was when it began
	leave   context.CancelFunc
	waiting int // under the Client's mutex
	done    chan struct{}
	pending bool // a refresh was sent and nobody knows what became of it

	token *held // when done is closed
	err   error
}

// errAbandoned is a flight that nobody waited for any more.
var errAbandoned = errors.New("nobody waits")

// token returns a token that is good now, as far as is known here.
func (c *Client) token(ctx context.Context) (*held, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		c.mu.Lock()
		t, err := c.atHand()
		if t != nil || err != nil {
			c.mu.Unlock()
			return t, err
		}
		f := c.flight
		if f == nil {
			f = c.begin(ctx)
		}
		f.waiting++
		dead := c.dead
		c.mu.Unlock()

		select {
		case <-f.done:
		case <-ctx.Done():
			c.mu.Lock()
			if f.waiting--; f.waiting == 0 {
				f.leave()
			}
			c.mu.Unlock()
			return nil, fmt.Errorf("client: %w", ctx.Err())
		}
		switch {
		case errors.Is(f.err, errAbandoned): // by those before us
		case f.err != nil:
			return nil, fmt.Errorf("client: %w", f.err)
		case f.refused == dead || f.token.value != dead: // else a call has been refused with it since
			return f.token, nil
		}
	}
}

// atHand returns what can be said without asking anybody: a token, an error, or neither. The mutex is held.
func (c *Client) atHand() (*held, error) {
	now := c.theirs()
	t := c.current
	good := t != nil && t.value != c.dead && now.Before(t.expires)
	still := c.now().Before(c.notBefore)
	switch {
	case c.ended:
		return nil, fmt.Errorf("client: %w", ErrLoggedOut)
	case good && (still || now.Before(t.due)):
		return t, nil
	case !good && still && c.failed != nil:
		return nil, fmt.Errorf("client: %w", c.failed)
	}
	return nil, nil
}

// begin begins a flight. It goes on without ctx, for others may wait for it too. When nobody does, it ends with the request
// under way, whose answer is kept. The mutex is held.
func (c *Client) begin(ctx context.Context) *flight {
	work := context.WithoutCancel(ctx)
	stay, leave := context.WithCancel(work)
	f := &flight{run: run{work: work, stay: stay}, refused: c.dead, leave: leave, done: make(chan struct{})}
	if t := c.current; t != nil {
		f.before = t.value
		if t.value != c.dead && c.theirs().Before(t.expires) {
			f.spare = t
		}
	}
	c.flight = f
	go c.fly(f)
	return f
}

// fly gets a token: what another process has stored, or a new one.
func (c *Client) fly(f *flight) {
	defer f.leave()
	unlock, err := c.lock(f)
	if err == nil {
		defer unlock() // when the token is in its place: a logout that waits would not find it otherwise
		f.token, err = c.renew(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.err = err
	c.land(f)
	c.flight = nil
	close(f.done)
}

const (
	// After a renewal that failed while there was a token to go on with, so long nobody tries.
	pauseSpare = 30 * time.Second
	// So long a refusal stands.
	pauseRefused = time.Second
)

// land decides what becomes of a flight, and when the next one may begin. The mutex is held.
func (c *Client) land(f *flight) {
	c.notBefore, c.failed = time.Time{}, nil
	if f.err == nil {
		if c.current == nil || c.current.value == f.before { // else another has come in band
			c.current = f.token
		}
		return
	}
	if errors.Is(f.err, errAbandoned) || c.ended {
		return
	}
	now := c.now()
	after := min(retryAfterOf(f.err), c.maxWait)
	if f.spare != nil && c.theirs().Before(f.spare.expires) {
		c.log.Warn("a token was not renewed; the one before it is still good", slog.Any("error", f.err))
		if after == 0 {
			after = pauseSpare
		}
		if f.pending { // what is not repeated soon cannot be repeated at all
			after = min(after, pauseRefused)
		}
		c.notBefore = now.Add(min(after, f.spare.expires.Sub(c.theirs())))
		c.current, f.token, f.err = f.spare, f.spare, nil
		return
	}
	if e := (*Error)(nil); after == 0 && errors.As(f.err, &e) && e.Status < http.StatusInternalServerError {
		after = pauseRefused
	}
	if after > 0 {
		c.notBefore, c.failed = now.Add(after), f.err
	}
}

// lock locks the store for a flight.
func (c *Client) lock(f *flight) (unlock func(), err error) {
	ctx, cancel := f.stay, context.CancelFunc(func() {})
	if f.spare != nil { // those who wait could do without
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
	}
	defer cancel()
	unlock, err = c.store.Lock(ctx)
	switch {
	case err != nil && f.stay.Err() != nil:
		return nil, errAbandoned
	case err != nil:
		return nil, fmt.Errorf("lock the tokens: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended { // while we waited
		unlock()
		return nil, ErrLoggedOut
	}
	return unlock, nil
}

func (c *Client) renew(f *flight) (*held, error) {
	s, err := c.load(f.work)
	if err != nil {
		return nil, err
	}
	if t := c.stored(&s); t != nil && t.value != f.refused {
		if c.theirs().Before(t.due) {
			return t, nil
		}
		if f.spare == nil || f.spare.expires.Before(t.expires) {
			f.spare = t
		}
	}
	return c.obtain(f, &s)
}

// stored returns the token of a state, nil if it has none that is good.
func (c *Client) stored(s *state) *held {
	if s.Token == "" {
		return nil
	}
	c.skew.CompareAndSwap(0, int64(s.Skew)) // until an answer says better
	if !c.theirs().Before(s.Expires) {
		return nil
	}
	return newHeld(s.Token, s.Type, s.Scope, s.Issued, s.Expires)
}

// obtain asks the server for a token and stores it. s is what is stored.
func (c *Client) obtain(f *flight, s *state) (*held, error) {
	g, err := grant{}, error(errLogIn)
	if c.credential.contract() == B2B {
		g, err = c.refresh(&f.run, s)
		f.pending = s.Key != ""
	}
	if errors.Is(err, errLogIn) {
		f.pending = false
		c.giveUp(f.work, s)
		g, err = c.exchange(&f.run)
	}
	if err != nil {
		return nil, err
	}
	t := c.keep(f.work, s, g)
	if f.refused != "" && f.refused == f.before {
		t.replaced = c.now()
	}
	return t, nil
}

// keep stores what was granted.
func (c *Client) keep(ctx context.Context, s *state, g grant) *held {
	issued := c.theirs()
	*s = state{
		Gatehouse: stateVersion, Of: c.owner,
		Token: g.token, Type: g.kind, Scope: g.scope, Issued: issued, Expires: g.expires, Skew: time.Duration(c.skew.Load()),
		Refresh: g.refresh, RefreshExpires: g.refreshExpires,
	}
	if err := c.save(ctx, *s); err != nil {
		// The token is good, and the next one can be had without what is lost here.
		c.log.Warn("a new token is not stored", slog.Any("error", err))
	}
	return newHeld(g.token, g.kind, g.scope, issued, g.expires)
}

// giveUp forgets the refresh token of s for good: whatever becomes of the login, it must not be sent once more.
func (c *Client) giveUp(ctx context.Context, s *state) {
	if s.Refresh == "" {
		return
	}
	s.Refresh, s.RefreshExpires, s.Key, s.Sent = "", time.Time{}, "", time.Time{}
	if err := c.save(ctx, *s); err != nil {
		c.log.Warn("that a refresh token is given up is not stored", slog.Any("error", err))
	}
}

// exchange presents the credential.
func (c *Client) exchange(r *run) (grant, error) {
	for attempt := 1; ; attempt++ {
		if r.stay.Err() != nil {
			return grant{}, errAbandoned
		}
		g, status, err := c.once(r.work, c.timeout, c.credential.act(), c.credential.request, c.credential.grant)
		if err == nil {
			return g, nil
		}
		// An exchange may be done twice: what is left over is a token that nobody has.
		if err := c.wait(r, attempt, status, err); err != nil {
			return grant{}, err
		}
	}
}

// wait waits until a request is to be sent again that failed with this status (0: without an answer) and error. It returns
// that error if it is not to be sent again: soon enough for those who have a spare token is never.
func (c *Client) wait(r *run, attempt, status int, failed error) error {
	d, again := c.pause(attempt, status, retryAfterOf(failed), true)
	if !again || r.spare != nil && c.theirs().Before(r.spare.expires) || errors.Is(failed, ErrBadAnswer) {
		return failed
	}
	if err := c.sleep(r.stay, d); err != nil {
		if r.stay.Err() != nil {
			return errAbandoned
		}
		return err
	}
	return nil
}

// once sends a request for a token once. status is 0 if there was no whole answer.
func (c *Client) once(
	ctx context.Context, within time.Duration, act string,
	build func(context.Context, string) (*http.Request, error), read func(*answer) (grant, error),
) (g grant, status int, err error) {
	a, err := c.send(ctx, within, build)
	switch {
	case err != nil:
	case a.status != http.StatusOK && a.status != http.StatusCreated:
		status, err = a.status, c.refusal(a)
	default:
		status = a.status
		g, err = read(a)
		if err == nil && !visible(g.token) {
			err = errors.New("there is no token")
		}
		if err == nil && !a.at.Before(g.expires) {
			err = errors.New("the token has expired already")
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrBadAnswer, err)
		}
	}
	if err != nil {
		return grant{}, status, fmt.Errorf("%s: %w", act, err)
	}
	return g, status, nil
}
