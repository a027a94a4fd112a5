package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Store keeps what a [Client] must not forget. What that is belongs to this package; it has tokens in it, so keep it as you
// would a password. One Store is for one credential: another one's tokens are overwritten.
type Store interface {
	// Lock keeps out all others who use what is stored, in this process and, if they share it, in others, until unlock is
	// called. A Client holds it over Load and Save and the requests between them, for seconds. The error is ctx's, or says
	// why there is no lock.
	Lock(ctx context.Context) (unlock func(), err error)
	// Load returns what was saved last, nil if nothing was.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces what is stored, whole or not at all. When it returns it outlives the process, if anything does.
	Save(ctx context.Context, saved []byte) error
}

// A MemoryStore forgets with the process. Its zero value is ready.
type MemoryStore struct {
	gate gate

	mu    sync.Mutex
	saved []byte
}

// Lock implements [Store].
func (s *MemoryStore) Lock(ctx context.Context) (func(), error) { return s.gate.lock(ctx) }

// Load implements [Store].
func (s *MemoryStore) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved, nil
}

// Save implements [Store].
func (s *MemoryStore) Save(_ context.Context, saved []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = saved
	return nil
}

// A gate is a mutex that one need not wait for.
type gate struct {
	once sync.Once
	free chan struct{}
}

func (g *gate) lock(ctx context.Context) (unlock func(), err error) {
	g.once.Do(func() { g.free = make(chan struct{}, 1) })
	select {
	case g.free <- struct{}{}:
		return func() { <-g.free }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A state is what is stored. Times of tokens are by the server's clock.
type state struct {
	Gatehouse      int           `json:"gatehouse"` // the version of this
	Of             string        `json:"of"`        // whose it is
	Token          string        `json:"token,omitzero"`
	Type           string        `json:"type,omitzero"`
	Scope          string        `json:"scope,omitzero"`
	Issued         time.Time     `json:"issued,omitzero"`
	Expires        time.Time     `json:"expires,omitzero"`
	Skew           time.Duration `json:"skew,omitzero"` // of that clock
	Refresh        string        `json:"refresh_token,omitzero"`
	RefreshExpires time.Time     `json:"refresh_expires,omitzero"`
	// Key is the Idempotency-Key that Refresh was sent under, or was about to be, at Sent, by our clock, and nobody knows
	// what became of it.
	Key  string    `json:"idempotency_key,omitzero"`
	Sent time.Time `json:"sent,omitzero"`
}

const stateVersion = 1

// load reads what is stored of this credential, under the lock. It is the zero state if that is nothing.
func (c *Client) load(ctx context.Context) (state, error) {
	none := state{Gatehouse: stateVersion, Of: c.owner}
	text, err := c.store.Load(ctx)
	if err != nil {
		return none, fmt.Errorf("load tokens: %w", err)
	}
	if len(text) == 0 {
		return none, nil
	}
	var s state
	// What is no store of ours is left as it is: somebody named the wrong file.
	if err := json.Unmarshal(text, &s); err != nil || s.Gatehouse == 0 {
		return none, errors.New("load tokens: what is stored there is something else")
	}
	if s.Gatehouse != stateVersion || s.Of != c.owner {
		return none, nil
	}
	return s, nil
}

// save stores s, under the lock.
func (c *Client) save(ctx context.Context, s state) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = c.store.Save(ctx, text)
	}
	if err != nil {
		return fmt.Errorf("save tokens: %w", err)
	}
	return nil
}
