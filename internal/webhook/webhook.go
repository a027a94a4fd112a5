// Package webhook tells others over HTTP what happened: acts of the audit trail, and credentials and secrets that are about to end. Each
// message is signed as Standard Webhooks has it. What is worth telling lies in the store's queue before anybody is called, so a
// restart loses nothing. A test message, by which somebody tries an endpoint, goes past it. It leaves to audit what an act is, and to the
// store who of several replicas sends.
//
// The invariants: every event that an endpoint asked for arrives at least once, and in order, unless its endpoint cannot be reached for
// days; no event holds a secret; nothing inside the network is called unless the operator allowed it for that endpoint, whatever a name
// resolves to, and no redirect is followed.
package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	every     = time.Second
	lookEvery = time.Minute
	lease     = 15 * time.Second // after which another replica sends in the place of one that was not heard of
	atOnce    = 200              // acts
	patience  = 10 * time.Second // of one look at the store
	oldest    = 3 * 24 * time.Hour
	mostQueue = 10_000 // messages for one endpoint
)

// A Store keeps the queue, as the methods of the same names of the package store say.
type Store interface {
	ClaimWebhooks(ctx context.Context, replica string, lease time.Duration) (bool, error)
	WebhookActs(ctx context.Context, most int) ([]auth.AuditEntry, int64, error)
	QueueWebhooks(ctx context.Context, behind, to int64, messages []auth.WebhookMessage) error
	QueueWebhooksOnce(ctx context.Context, what string, until time.Time, messages []auth.WebhookMessage) error
	NextWebhook(ctx context.Context, endpoint string) (auth.WebhookMessage, error)
	WebhookDelivered(ctx context.Context, number int64) error
	WebhookFailed(ctx context.Context, number int64, next time.Time) error
	TrimWebhooks(ctx context.Context, before time.Time, most int, endpoints []string) (dropped, waiting int64, err error)
	CredentialsToTell(ctx context.Context, name string, within time.Duration) ([]auth.Credential, error)
	OldSecretsToTell(ctx context.Context, name string, within time.Duration) ([]auth.Credential, error)
}

// An Endpoint is who is told.
type Endpoint struct {
	URL           string
	Events        []string      // see [Wanted]; none: all
	Key           func() []byte // what messages are signed with; a closure, so that it is not printed
	AllowInternal bool          // it may lie inside the network
}

// Config is what a [Sender] is made of.
type Config struct {
	Store     Store
	Replica   string // this one's name
	Endpoints []Endpoint
	// ExpiringWithin is how long before its end it is told that a credential ends; 0: 7 days.
	ExpiringWithin time.Duration
	Now            func() time.Time // nil means time.Now
	Log            *slog.Logger     // nil: nobody reads it
	Stats          *Stats           // nil: nobody counts
	// Lookup resolves names; nil: as the system does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Stats count what became of messages. They outlive a Sender.
type Stats struct{ Delivered, Failed, Dropped, Waiting atomic.Int64 }

// A Sender sends.
type Sender struct {
	config    Config
	endpoints []*endpoint
	mine      atomic.Bool // this replica sends
	looked    time.Time
}

type endpoint struct {
	Endpoint
	id   string
	post *poster
}

// New returns a Sender. It does nothing until its [Sender.Run] is called.
func New(c Config) (*Sender, error) {
	if c.Store == nil || c.Replica == "" || len(c.Endpoints) == 0 {
		return nil, errors.New("webhook: a store, the replica's name and an endpoint are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Stats == nil {
		c.Stats = new(Stats)
	}
	if c.ExpiringWithin == 0 {
		c.ExpiringWithin = 7 * 24 * time.Hour
	}
	all, err := endpoints(c)
	return &Sender{config: c, endpoints: all}, err
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	for _, e := range s.endpoints {
		sending.Go(func() { s.deliver(ctx, e) })
	}
	defer sending.Wait()
	complained := time.Time{}
	for {
		err := s.gather(ctx)
		if now := s.config.Now(); err != nil && ctx.Err() == nil && now.Sub(complained) >= time.Minute {
			complained = now
			s.config.Log.Warn("what is to be told by webhooks could not be gathered; it will be", "error", err)
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

// pause waits, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// gather puts into the queue what has happened, if it is this replica's to do.
func (s *Sender) gather(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mine, err := s.config.Store.ClaimWebhooks(ctx, s.config.Replica, lease)
	s.mine.Store(mine && err == nil)
	if err != nil || !mine {
		return err
	}
	if err := s.gatherActs(ctx); err != nil {
		return err
	}
	if now := s.config.Now(); now.Sub(s.looked) >= lookEvery {
		if err := s.look(ctx, now); err != nil {
			return err
		}
		s.looked = now
	}
	return nil
}

// gatherActs queues acts in the order of the audit trail's chain.
func (s *Sender) gatherActs(ctx context.Context) error {
	for {
		acts, behind, err := s.config.Store.WebhookActs(ctx, atOnce)
		if err != nil || len(acts) == 0 {
			return err
		}
		var messages []auth.WebhookMessage
		for i := range acts {
			if kind := typeOf(&acts[i]); kind != "" && s.config.Now().Sub(acts[i].At) < oldest {
				messages = append(messages, s.messages(kind, acts[i].At, ofAct(&acts[i]))...)
			}
		}
		if err := s.config.Store.QueueWebhooks(ctx, behind, acts[len(acts)-1].Seq, messages); err != nil {
			return err
		}
		if len(acts) < atOnce {
			return nil
		}
	}
}

// look queues what no act tells, credentials and old secrets that end soon, and drops what is too old or too much.
func (s *Sender) look(ctx context.Context, now time.Time) error {
	ending, err := s.config.Store.CredentialsToTell(ctx, CredentialExpiring, s.config.ExpiringWithin)
	if err != nil {
		return err
	}
	for _, c := range ending {
		if err := s.tellOnce(ctx, CredentialExpiring, &c, c.ExpiresAt, data{
			Account: int64(c.Account), Credential: string(c.ID), Kind: string(c.Kind), Name: c.Name, ExpiresAt: c.ExpiresAt.UTC(),
		}); err != nil {
			return err
		}
	}
	old, err := s.config.Store.OldSecretsToTell(ctx, OldSecretInUse, auth.OldSecretEnds)
	if err != nil {
		return err
	}
	for _, c := range old {
		if auth.Advise(c, now).Word != auth.Hurry {
			continue
		}
		secret := c.Secrets[1]
		if err := s.tellOnce(ctx, OldSecretInUse, &c, secret.ExpiresAt, data{
			Account: int64(c.Account), Credential: string(c.ID), Kind: string(c.Kind), Name: c.Name, Secret: secret.Number,
			ExpiresAt: secret.ExpiresAt.UTC(), LastUsedAt: secret.LastUse.At.UTC(), LastUsedFrom: address(secret.LastUse.Address),
		}); err != nil {
			return err
		}
	}
	var ids []string
	for _, e := range s.endpoints {
		ids = append(ids, e.id)
	}
	dropped, waiting, err := s.config.Store.TrimWebhooks(ctx, now.Add(-oldest), mostQueue, ids)
	s.config.Stats.Dropped.Add(dropped)
	s.config.Stats.Waiting.Store(waiting)
	if dropped > 0 {
		s.config.Log.Warn("webhooks were dropped: they waited for too long, or too many did", "messages", dropped)
	}
	return err
}

func (s *Sender) tellOnce(ctx context.Context, kind string, c *auth.Credential, end time.Time, d data) error {
	what := fmt.Sprintf("%s %s %d", kind, c.ID, end.UnixMilli())
	return s.config.Store.QueueWebhooksOnce(ctx, what, end, s.messages(kind, s.config.Now(), d))
}

// messages are an event for each endpoint that wants it.
func (s *Sender) messages(kind string, at time.Time, d data) []auth.WebhookMessage {
	id, text := "evt_"+rand.Text(), body(kind, at, d)
	var all []auth.WebhookMessage
	for _, e := range s.endpoints {
		if Wanted(e.Events, kind) {
			all = append(all, auth.WebhookMessage{Endpoint: e.id, ID: id, Type: kind, At: at, Body: text, NextAt: s.config.Now()})
		}
	}
	return all
}

// deliver sends to one endpoint, the oldest message first, until ctx ends.
func (s *Sender) deliver(ctx context.Context, e *endpoint) {
	for pause(ctx, every) {
		for s.mine.Load() && ctx.Err() == nil {
			more, err := s.deliverNext(ctx, e)
			if err != nil && ctx.Err() == nil {
				s.config.Log.Warn("a webhook waits, because the store does not answer", "error", err)
			}
			if !more {
				break
			}
		}
	}
}

// deliverNext sends the message that is due, and says whether there may be another.
func (s *Sender) deliverNext(ctx context.Context, e *endpoint) (more bool, err error) {
	m, err := s.config.Store.NextWebhook(ctx, e.id)
	if errors.Is(err, auth.ErrNotFound) {
		return false, nil
	}
	now := s.config.Now()
	if err != nil || now.Before(m.NextAt) {
		return false, err
	}
	if _, err := e.post.post(ctx, m, now); err != nil {
		if ctx.Err() != nil {
			return false, nil // it was not the endpoint's fault
		}
		s.config.Stats.Failed.Add(1)
		s.config.Log.Warn("a webhook was not taken; it is tried again", "endpoint", e.post.host(), "event", m.ID, "type", m.Type, "tries", m.Tries+1, "error", err)
		return false, s.config.Store.WebhookFailed(ctx, m.Number, s.config.Now().Add(backOff(m.Tries)))
	}
	s.config.Stats.Delivered.Add(1)
	return true, s.config.Store.WebhookDelivered(ctx, m.Number)
}

// backOff is how long after a try that failed the next is made.
func backOff(tries int) time.Duration {
	steps := []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	return steps[min(tries, len(steps)-1)]
}
