package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

const (
	// mostAnswered is the longest answer about a token that is read, in bytes. Ours are below 4 KiB.
	mostAnswered = 1 << 20

	userAgent = "gatehouse-client-go"
)

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	at     time.Time // by the server's clock
}

// send sends a request that has a secret in it, once, and reads the whole answer. Redirects are not followed: the secret
// would go along.
func (c *Client) send(ctx context.Context, within time.Duration, build func(context.Context, string) (*http.Request, error)) (a *answer, err error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	defer func() {
		if err != nil && limited.Err() != nil && ctx.Err() == nil { // not the caller's own deadline, which it would look like
			err = fmt.Errorf("no answer within %v", within)
		}
	}()
	req, err := build(limited, c.base)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	sent := c.now().Round(0)
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	came := c.now().Round(0)
	body, err := io.ReadAll(io.LimitReader(res.Body, mostAnswered+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(body) > mostAnswered {
		return nil, fmt.Errorf("%w: it has no end", ErrBadAnswer)
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		// Date is cut to the second, and was written somewhere between the two.
		half := came.Sub(sent) / 2
		c.skew.Store(int64(date.Add(500 * time.Millisecond).Sub(sent.Add(half))))
	}
	return &answer{res.StatusCode, res.Header, body, c.theirs()}, nil
}

// refusal makes an error of an answer that is none of the successes.
func (c *Client) refusal(a *answer) error {
	if a.status < http.StatusBadRequest {
		return fmt.Errorf("%w: it is %d", ErrBadAnswer, a.status)
	}
	return newError(c.credential.contract(), a.status, a.header, a.body, a.at, c.credential.secrets())
}

// unsent says whether err means that nothing of the request has left this machine.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// pause says whether a request that was answered with this status (0: not at all) is sent once more, and after how long. It
// was sent so often, and whether it may be sent again is for the caller to know.
func (c *Client) pause(attempt, status int, after time.Duration, repeatable bool) (time.Duration, bool) {
	if attempt >= c.attempts || !repeatable {
		return 0, false
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if after > c.maxWait {
			return 0, false
		}
		if after > 0 {
			return after + rand.N(max(after/5, 250*time.Millisecond)), true
		}
		return backOff(attempt), true
	case 0, http.StatusBadGateway, http.StatusGatewayTimeout:
		return backOff(attempt), true
	}
	return 0, false
}

// backOff is how long to wait after so many attempts: longer and longer, and by chance.
func backOff(attempt int) time.Duration {
	most := min(250*time.Millisecond<<min(attempt-1, 10), 5*time.Second)
	return most/2 + rand.N(most/2)
}
