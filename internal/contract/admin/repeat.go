package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Repeats remember what was asked for under an Idempotency-Key.
type Repeats interface {
	// ClaimRepeat claims a key for a request until a time. If it is claimed already it says what for, and what was answered.
	ClaimRepeat(ctx context.Context, key, request []byte, until time.Time) (auth.Repeat, error)
	// FinishRepeat keeps the answer to a claimed request.
	FinishRepeat(ctx context.Context, key []byte, answer string) error
	// ReleaseRepeat forgets a claim: nothing was done.
	ReleaseRepeat(ctx context.Context, key []byte) error
}

const (
	// keepRepeats is how long a key is remembered.
	keepRepeats = 24 * time.Hour
	// onceTime is how long a request under a key may take. It goes on where its sender has hung up: he will ask again.
	onceTime = 30 * time.Second
)

// once does what the call asks for, at most once under one Idempotency-Key of this actor. What it answers to a repetition has no
// secret: none is kept that could be told.
func (c *call) once(w http.ResponseWriter) (answer, error) {
	given, ok := web.IdempotencyKey(c.Header)
	if !ok {
		return answer{}, errKey
	}
	if given == "" {
		return c.do(c.Context())
	}
	keySum := c.c.Digest("admin", "idempotency", c.actor.Name, string(c.actor.Token), given)
	requestSum := c.c.Digest("admin", "request", c.Method, c.Path, c.body)
	key, request := keySum[:], requestSum[:]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), onceTime)
	defer cancel()
	before, err := c.c.Repeats.ClaimRepeat(ctx, key, request, c.c.Now().Add(keepRepeats))
	switch {
	case err != nil:
		return answer{}, err
	case before.Claimed:
		return c.firstTime(ctx, key)
	case !secret.Equal(before.Request, request):
		return answer{}, errOtherBody
	case before.Answer == "":
		return answer{}, errUnfinished
	}
	w.Header()["Idempotency-Replayed"] = []string{"true"}
	return answer{value: json.RawMessage(before.Answer)}, nil
}

// firstTime does what was not done yet under the key, and keeps the answer.
func (c *call) firstTime(ctx context.Context, key []byte) (answer, error) {
	said, err := c.do(ctx)
	if err != nil {
		if nothingDone(err) {
			if released := c.c.Repeats.ReleaseRepeat(ctx, key); released != nil {
				c.c.Log.Warn("an Idempotency-Key stays claimed for a request that was refused", "request_id", c.Caller.RequestID, "error", released)
			}
		}
		return answer{}, err
	}
	public := said.public
	if public == nil {
		public = said.value
	}
	text, err := encode(public)
	if err == nil {
		err = c.c.Repeats.FinishRepeat(ctx, key, string(text))
	}
	if err != nil { // it is done all the same
		c.c.Log.Warn("the answer under an Idempotency-Key could not be kept: a repetition will be told that nobody knows", "request_id", c.Caller.RequestID, "error", err)
	}
	return said, nil
}

// nothingDone says whether an error means that nothing was changed. One of our own side leaves it open.
func nothingDone(err error) bool {
	switch web.StatusOf(err) / 100 {
	case 4:
		return true
	}
	return false
}
