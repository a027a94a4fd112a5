package webhook

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Test is the type of a message that somebody sends to try a receiver. Nothing has happened. It is none of [Types]: no endpoint asks
// for it, and each takes it.
const Test = "webhook.test"

// A Tester sends test messages, in every way as a [Sender] sends others. It knows no queue: what waits there goes on waiting, and
// neither an outcome nor a count is kept.
type Tester struct {
	endpoints []*endpoint
	now       func() time.Time
}

// NewTester returns a Tester of the Endpoints of c, with its Now and Lookup.
func NewTester(c Config) (*Tester, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	all, err := endpoints(c)
	return &Tester{all, c.Now}, err
}

// endpoints are those of c, ready to be called.
func endpoints(c Config) ([]*endpoint, error) {
	var all []*endpoint
	for _, e := range c.Endpoints {
		post, err := newPoster(e, c.Lookup)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(e.URL))
		all = append(all, &endpoint{e, hex.EncodeToString(sum[:12]), post})
	}
	return all, nil
}

// A Name is what an endpoint is called. Its URL is not told: the path, or a query, may be all that protects it.
type Name struct {
	ID   string // a digest of the URL
	Host string
}

// Names are those of the endpoints, in the order of the configuration.
func (t *Tester) Names() []Name {
	var all []Name
	for _, e := range t.endpoints {
		all = append(all, e.name())
	}
	return all
}

func (e *endpoint) name() Name { return Name{e.id, e.post.host()} }

// An Outcome is what came of a test message.
type Outcome struct {
	Name
	Message string // its id
	Status  int    // of the answer; 0: there was none
	Took    time.Duration
	Err     error // nil: the endpoint took it
}

// Test sends an endpoint a test message that says who sent it. Without such an endpoint it is [auth.ErrNotFound].
func (t *Tester) Test(ctx context.Context, id string, by auth.Act) (Outcome, error) {
	for _, e := range t.endpoints {
		if e.id != id {
			continue
		}
		began := t.now()
		m := auth.WebhookMessage{ID: "evt_" + rand.Text(), Body: body(Test, began, ofAct(&auth.AuditEntry{Act: by}))}
		status, err := e.post.post(ctx, m, began)
		if ctx.Err() != nil {
			err = errors.New("it was broken off before there was an answer")
		}
		return Outcome{Name: e.name(), Message: m.ID, Status: status, Took: max(0, t.now().Sub(began)), Err: err}, nil
	}
	return Outcome{}, auth.ErrNotFound
}
