package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/desk"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Repeats remember what was done under an Idempotency-Key. It is written down with what is done, see [auth.Once].
type Repeats interface {
	// Repeat returns what was done under a key.
	Repeat(ctx context.Context, key []byte) (auth.Repeat, error)
	// AmendRepeat replaces the answer that is kept under a key.
	AmendRepeat(ctx context.Context, key []byte, answer string) error
}

// keepRepeats is how long a key is remembered.
const keepRepeats = 24 * time.Hour

// once does what the call asks for, at most once under one Idempotency-Key of this actor. The key is written down in the transaction
// of the act, with what is answered to a repetition: so either both are there or neither, whatever breaks in between.
func (c *call) once(w http.ResponseWriter, terms desk.Terms) (answer, error) {
	given, ok := web.IdempotencyKey(c.Header)
	if !ok {
		return answer{}, errKey
	}
	if given == "" {
		return c.do(terms)
	}
	keySum := c.c.Digest("admin", "idempotency", c.actor.Name, string(c.actor.Token), given)
	requestSum := c.c.Digest("admin", "request", c.Method, c.Path, c.body)
	key, request := keySum[:], requestSum[:]
	if again, done, err := c.again(w, key, request); done || err != nil {
		return again, err
	}
	terms.Once = &desk.Once{Key: key, Request: request, Until: c.c.Now().Add(keepRepeats), Keep: keep}
	said, err := c.do(terms)
	if err != nil {
		// It may have been done all the same: by another request at the same time, which is then what is in the way, or by this one,
		// if the answer of the database got lost.
		if again, done, other := c.again(w, key, request); done {
			return again, other
		}
		return answer{}, err
	}
	if said.settled {
		if err := c.c.Repeats.AmendRepeat(c.Context(), key, keep(said.value)); err != nil {
			c.c.Log.Warn("a repetition will be told less than is known", "request_id", c.Caller.RequestID, "error", err)
		}
	}
	return said, nil
}

// again is the answer to a repetition, if this is one. It has no secret: none is kept that could be told.
func (c *call) again(w http.ResponseWriter, key, request []byte) (said answer, done bool, err error) {
	before, err := c.c.Repeats.Repeat(c.Context(), key)
	switch {
	case err != nil || before.Answer == "":
		return answer{}, false, err
	case !secret.Equal(before.Request, request):
		return answer{}, true, errOtherBody
	}
	w.Header()["Idempotency-Replayed"] = []string{"true"}
	return answer{value: json.RawMessage(before.Answer)}, true, nil
}

// keep is what may be told again of what is told now.
func keep(told any) string {
	switch v := told.(type) {
	case api.Issued:
		v = v.Public()
		v.Replayed = true
		told = v
	case api.Invited:
		v.Link, v.Replayed = "", true
		told = v
	case api.OperatorToken:
		v.Token, v.Replayed = "", true
		told = v
	}
	text, _ := encode(told) // which cannot fail: it is text, numbers and times of ours
	return string(text)
}
