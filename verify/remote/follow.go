package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

const (
	feedPath = "/.well-known/gatehouse-revocations"

	mostWait = 15 * time.Second // how long an answer may be held back

	leastPatience = 2 * time.Second
	mostPatience  = 10 * time.Second

	// pollAtMost is how far apart requests are where much is revoked at once.
	pollAtMost = 50 * time.Millisecond

	firstBackoff = 100 * time.Millisecond
	mostBackoff  = 5 * time.Second

	forgetEvery = time.Minute
)

// follow asks the feed again and again until ctx ends.
func (v *Verifier) follow(ctx context.Context) {
	failing, backoff := false, firstBackoff
	for ctx.Err() == nil {
		began := time.Now()
		err := v.poll(ctx, !failing)
		if err == nil {
			if failing {
				v.log.Info("the revocation feed is followed again", "position", v.position)
			}
			failing, backoff = false, firstBackoff
			sleep(ctx, pollAtMost-time.Since(began))
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if !failing {
			v.log.Warn("the revocation feed cannot be followed; what is known goes on until it is too old", "error", err, "max_staleness", v.config.MaxStaleness.String())
		}
		failing = true
		v.client.CloseIdleConnections()      // a connection of HTTP/2 that died would be used again and again
		pause := backoff/2 + rand.N(backoff) // or all verifiers would come back together
		var busy *busyError
		if errors.As(err, &busy) {
			pause = min(max(pause, busy.after), mostBackoff)
		}
		sleep(ctx, pause)
		backoff = min(2*backoff, mostBackoff, v.config.MaxStaleness/4)
	}
}

// poll asks once and takes over what is answered. The server may hold its answer back, unless what is known is growing old:
// then even that nothing happened is news.
func (v *Verifier) poll(ctx context.Context, wait bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := time.AfterFunc(v.wait+v.patience, func() { cancel(errors.New("the server says nothing")) })
	defer stuck.Stop()

	sent := v.now()
	res, err := v.ask(ctx, wait)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer res.Body.Close()
	fetched := false
	find := func(header string) (*verify.Key, error) {
		key := v.keys.ring.Load().pages[header]
		if key == nil && !fetched { // at most once for each answer: this is not for callers to cause
			fetched = true
			if err := v.keys.fetch(ctx); err != nil {
				return nil, err
			}
			key = v.keys.ring.Load().pages[header]
		}
		if key == nil {
			return nil, errors.New("no key of the key set signed the answer")
		}
		return key, nil
	}
	a, err := readAnswer(res.Body, v.config.Issuers, find, func() { stuck.Reset(v.patience) })
	if err != nil {
		return causeOf(ctx, err)
	}
	if err := v.check(a, sent); err != nil {
		return err
	}
	if v.incarnation != "" && v.incarnation != a.Incarnation {
		v.log.Warn("the server's database is another than it was: everything is loaded anew", "incarnation", a.Incarnation, "before", v.incarnation)
		if !fetched {
			if err := v.keys.fetch(ctx); err != nil { // one that was put back has new keys
				return err
			}
		}
	}
	v.apply(a, sent.Add(-time.Duration(a.Age)*time.Millisecond))
	return nil
}

// causeOf says why the context ended, if that is what ended the request.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// ask sends one request for what came after what is known.
func (v *Verifier) ask(ctx context.Context, wait bool) (*http.Response, error) {
	id, secret, err := v.config.Credentials()
	if err != nil {
		return nil, err
	}
	target := v.feed
	if v.incarnation != "" {
		target += "?after=" + v.incarnation + "." + strconv.FormatInt(v.position, 10)
		if wait {
			target += "&wait=" + strconv.Itoa(int(v.wait/time.Second))
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for revocations: %w", err)
	}
	req.Header.Set("Accept", mediaType)
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) // RFC 6749, section 2.3.1
	res, err := v.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for revocations: %w", err)
	}
	if err := v.understood(res); err != nil {
		_, _ = io.CopyN(io.Discard, res.Body, 4096) // or the connection could not be used again
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

const mediaType = "application/" + verify.RevocationsType

// A busyError is an answer that asks to come back later.
type busyError struct {
	status string
	after  time.Duration
}

func (e *busyError) Error() string { return "the revocation feed answered " + e.status }

// understood says what is wrong with an answer that has no pages.
func (v *Verifier) understood(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusOK:
		if of, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || of != mediaType {
			return fmt.Errorf("%s answered %q, which is no revocation feed", v.feed, res.Header.Get("Content-Type"))
		}
		return nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return &busyError{res.Status, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	case http.StatusUnauthorized:
		return fmt.Errorf("%s answered %s: client id and secret are not good there", v.feed, res.Status)
	case http.StatusForbidden:
		return fmt.Errorf("%s answered %s: the client lacks the scope gatehouse:revocations, or this address is not on its account's allowlist", v.feed, res.Status)
	case http.StatusNotImplemented:
		return fmt.Errorf("%s answered %s: its tokens are signed with HS256, so that nobody else can check them", v.feed, res.Status)
	}
	return fmt.Errorf("%s answered %s", v.feed, res.Status)
}

// check refuses an answer that does not go on from what is known.
func (v *Verifier) check(a *answer, sent time.Time) error {
	// An answer is made after its request was sent. A page from before is an old one, whoever has kept it.
	made, now := time.Unix(a.IssuedAt, 0), v.now()
	if made.Before(sent.Add(-verify.Leeway-time.Second)) || made.After(now.Add(verify.Leeway)) {
		return fmt.Errorf("the answer says that it was made at %s, and here it is %s: an old answer, or one of the two clocks is wrong", made.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if a.Incarnation != v.incarnation {
		if !a.Full {
			return fmt.Errorf("the answer tells changes of the incarnation %q, which is not known here", a.Incarnation)
		}
		return nil
	}
	if a.Position < v.position {
		return fmt.Errorf("the answer goes back from position %d to %d", v.position, a.Position)
	}
	return nil
}

// apply takes an answer over: what it tells was so at the time as of or later.
func (v *Verifier) apply(a *answer, asOf time.Time) {
	v.keys.revoke(a.RevokedKeys)
	now := v.now()
	next := a.told
	if a.Full {
		// A session that was revoked stays so, even if a database that was put back has forgotten it.
		for id, until := range v.known.sessions { // nobody else writes
			if _, told := next.sessions[id]; !told && until >= now.Unix() {
				next.sessions[id] = until
			}
		}
	}
	v.mu.Lock()
	if a.Full {
		v.known = next
	} else {
		v.known.merge(next)
	}
	if now.Sub(v.forgot) >= forgetEvery {
		v.known.forget(now.Unix())
		v.forgot = now
	}
	v.incarnation, v.position = a.Incarnation, a.Position
	v.mu.Unlock()
	if heard := v.heard.Load(); heard == nil || asOf.After(*heard) {
		v.heard.Store(&asOf)
	}
	v.first.Do(func() { close(v.ready) })
}
