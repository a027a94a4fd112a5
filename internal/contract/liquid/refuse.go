package liquid

import (
	"net/http"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Refuse is the [web.Refuse] of protected calls, and of whatever no other contract has words for.
func (c *Contract) Refuse(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	message := message(f)
	if f.Cause.Kind == auth.Unauthenticated {
		c.bearer.Challenge(w.Header(), f.Cause)
		message = "Unauthorized"
	}
	path := r.Path
	if path == "" {
		path = r.Caller.Path // it was refused: this is what can be shown of it
	}
	c.refuse(w, r, f.Status, f.Status, message, path)
}

// refuseKey is the [web.Refuse] of contract 1's exchange. Whatever is wrong with a key is 400, as it was published, and has
// no challenge.
func (c *Contract) refuseKey(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	if f.Cause.Kind == auth.Unauthenticated {
		c.refuse(w, r, http.StatusBadRequest, 5000, "API Key not found", KeyPathAPI)
		return
	}
	c.refuse(w, r, f.Status, f.Status, message(f), KeyPathAPI)
}

// refuseBasic is the [web.Refuse] of contract 2's exchange.
func (c *Contract) refuseBasic(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	message := message(f)
	if f.Cause.Kind == auth.Unauthenticated {
		w.Header()["Www-Authenticate"] = c.basic
		message = "Invalid credentials"
	}
	c.refuse(w, r, f.Status, f.Status, message, OrdersPathAPI)
}

// message is what the contracts say for a failure that is no failure of a credential or token.
func message(f web.Failure) string {
	if f.Cause.Kind == auth.Forbidden {
		if f.Cause.Reason == auth.ReasonInsufficientScope {
			return "Insufficient scope"
		}
		return "IP address not authorized"
	}
	switch f.Status {
	case http.StatusRequestEntityTooLarge:
		return "Payload Too Large" // Go has the older name
	default:
		return http.StatusText(f.Status)
	}
}

func (c *Contract) refuse(w http.ResponseWriter, r *web.Request, status, code int, message, path string) {
	buf := c.envelope.buffer()
	*buf = c.envelope.appendRefusal((*buf)[:0], code, message, c.now(), r.Caller.RequestID, path)
	_ = web.Reply(w, status, *buf)
	c.envelope.release(buf)
}
