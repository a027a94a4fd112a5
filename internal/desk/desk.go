// Package desk answers what operators ask for, in the words that commands print with --json and that go over the wire of the
// admin API: package api. It is the one place that makes these out of accounts, credentials and the rest. It leaves
// permission, change and audit to registry, and how it is asked, at a command line or over HTTP, to others.
//
// The invariant: whatever is asked is asked of the registry, as the one actor that the desk is for; a secret is in the answer to
// what made it, and in no other.
package desk

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Config says what the desk works on.
type Config struct {
	Registry *registry.Registry
	// Reload reads the working keys anew, after one was changed.
	Reload func(context.Context) error
	// Inspect says what there is to know of a token, for somebody at this address.
	Inspect func(ctx context.Context, raw string, from netip.Addr) (Inspection, error)
	Spoken  func(auth.Contract) bool // contracts that are switched on
	// AuditKeys are the fingerprints of the keys that sign the audit trail here.
	AuditKeys func(context.Context) ([]string, error)
	// VerifyAudit says whether the audit trail is what they signed.
	VerifyAudit func(context.Context, chain.Want) (chain.Report, error)
	// Dashboard says where the dashboard of a kind of persons is reached, without a slash at its end, and whether there is one.
	Dashboard func(auth.PersonKind) (base string, open bool)
	// Webhooks are who is told what happens, and TestWebhook sends one of them a test message for an act.
	Webhooks    func() []api.Webhook
	TestWebhook func(ctx context.Context, id string, act auth.Act) (api.WebhookTest, error)

	Retention string           // how long refusals are stored, for people
	Now       func() time.Time // nil means time.Now
}

// An Inspection is what the program's api says of a token, and whose it is, for an end.
type Inspection struct {
	api.Inspection
	Of auth.Subject // of an authentic token
}

// Desks are there for every actor.
type Desks struct{ config Config }

// New returns Desks.
func New(c Config) (*Desks, error) {
	if c.Registry == nil || c.Reload == nil || c.Inspect == nil || c.Spoken == nil || c.AuditKeys == nil || c.VerifyAudit == nil || c.Dashboard == nil ||
		c.Webhooks == nil || c.TestWebhook == nil {
		return nil, errors.New("desk: there is nothing to ask")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Desks{c}, nil
}

// A Desk is what one actor may ask. Errors are of type [*auth.Error].
type Desk struct {
	config   *Config
	registry *registry.Registry
	actor    auth.Actor
	terms    Terms
}

// For returns the actor's desk.
func (d *Desks) For(actor auth.Actor) *Desk {
	return &Desk{config: &d.config, registry: d.config.Registry, actor: actor}
}

// Now is the time by which everything is judged.
func (d *Desk) Now() time.Time { return d.config.Now() }

// Ask says whether the actor may take an action on what is the account's, 0 for what is none's. A refusal is in the audit trail.
func (d *Desk) Ask(ctx context.Context, action registry.Action, of auth.AccountID) error {
	return d.registry.Ask(ctx, d.actor, action, of)
}

// may says whether the actor may read something that is told beside what was asked for.
func (d *Desk) may(action registry.Action, of auth.AccountID) bool {
	return registry.May(d.actor, action, of, d.Now()) == nil
}

// at is a time as it is told.
func at(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

// address is an address as it is told; "" for none.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// The most of a list that is told at once, and how much it is unless somebody says.
const (
	MostAtOnce  = auth.MostRows - 1
	usualAtOnce = auth.UsualRows
)

// atOnce is how many rows a part of a list has.
func atOnce(r api.Range) (int, error) {
	switch {
	case r.Limit == 0:
		return usualAtOnce, nil
	case r.Limit < 1 || r.Limit > MostAtOnce:
		return 0, auth.ErrInvalid.Saying("limit is a number from 1 to " + strconv.Itoa(MostAtOnce))
	}
	return r.Limit, nil
}

// ErrCursor is a place in a list that is none of its places.
var ErrCursor = auth.ErrInvalid.Saying("this is no cursor of this list")

// page tells what was read, without what belongs to the next part of a list: of that, one row more than most was read. place is where
// the last one told stands.
func page[Row, T any](rows []Row, most int, tell func(*Row) T, place func(*Row) string) api.Page[T] {
	p := api.Page[T]{Items: []T{}}
	if len(rows) > most {
		rows = rows[:most]
		p.Next = place(&rows[most-1])
	}
	for i := range rows {
		p.Items = append(p.Items, tell(&rows[i]))
	}
	return p
}

// cursor reads a place in a list.
func cursor[Place any](after string, parse func(string) (Place, error)) (Place, error) {
	p, err := parse(after)
	if err != nil {
		return p, ErrCursor
	}
	return p, nil
}
