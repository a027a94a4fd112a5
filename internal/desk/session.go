package desk

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Sessions lists an account's sessions, the youngest first.
func (d *Desk) Sessions(ctx context.Context, q api.SessionQuery) (api.Page[api.Session], error) {
	var none api.Page[api.Session]
	most, err := atOnce(q.Range)
	if err != nil {
		return none, err
	}
	after, err := cursor(q.After, auth.ParseSessionPlace)
	if err != nil {
		return none, err
	}
	query := auth.SessionQuery{Account: auth.AccountID(q.Account), LiveOnly: true, After: after, Most: most + 1}
	live, err := d.registry.Sessions(ctx, d.actor, query)
	if err != nil {
		return none, err
	}
	alive := map[auth.SessionID]bool{}
	for _, s := range live {
		alive[s.ID] = true
	}
	all := live
	if query.LiveOnly = !q.All; q.All { // among so many of all there are no more live ones than were read
		if all, err = d.registry.Sessions(ctx, d.actor, query); err != nil {
			return none, err
		}
	}
	return page(all, most, func(s *auth.Session) api.Session { return session(*s, alive[s.ID], d.Now()) },
		func(s *auth.Session) string { return s.Place().String() }), nil
}

// session is a session as it is told.
func session(s auth.Session, live bool, now time.Time) api.Session {
	return api.Session{
		ID: string(s.ID), Account: int64(s.Account), Credential: string(s.Credential), Secret: s.Secret,
		Status: sessionStatus(s, live, now), Refreshes: s.Generation, Scopes: scopes(s.Scope), StartedAt: at(s.StartedAt),
		RefreshedAt: at(s.RotatedAt), ExpiresAt: at(s.Expires), EndedAt: at(s.EndedAt), EndedBecause: s.EndedBecause,
		Address: address(s.Address), UserAgent: s.UserAgent,
	}
}

// sessionStatus is live, or what it is instead.
func sessionStatus(s auth.Session, live bool, now time.Time) string {
	switch {
	case live:
		return "live"
	case !s.EndedAt.IsZero():
		return "ended"
	case !now.Before(s.Expires):
		return "expired"
	}
	return "dead" // with its account, its credential, or by a logout
}

// RevokeSession ends a session and every token that came of it.
func (d *Desk) RevokeSession(ctx context.Context, id auth.SessionID) (api.SessionRevoked, error) {
	return d.endSession(ctx, auth.Subject{Session: id})
}

func (d *Desk) endSession(ctx context.Context, of auth.Subject) (api.SessionRevoked, error) {
	done, err := d.registry.RevokeSession(ctx, d.actor, of.Session, of.Account)
	if err != nil {
		return api.SessionRevoked{}, err
	}
	return api.SessionRevoked{Session: string(of.Session), Account: int64(of.Account), Revoked: true, Confirmed: &done.Confirmed}, nil
}

// InspectToken says whose a token is and whether it would be accepted. Nothing is spent.
func (d *Desk) InspectToken(ctx context.Context, t api.Token) (api.Inspection, error) {
	if err := d.Ask(ctx, registry.ReadSessions, 0); err != nil {
		return api.Inspection{}, err
	}
	var from netip.Addr
	if t.Address != "" {
		p, err := auth.ParsePrefix(t.Address)
		if err != nil || !p.IsSingleIP() {
			return api.Inspection{}, auth.ErrInvalid.Saying("address is no IP address, as 203.0.113.7 or 2001:db8::7")
		}
		from = p.Addr()
	}
	if t.Token == "" {
		return api.Inspection{}, auth.ErrInvalid.Saying("token is empty")
	}
	found, err := d.config.Inspect(ctx, t.Token, from)
	return found.Inspection, err
}

// errForeign is a token that nothing here came of.
var errForeign = auth.ErrNotFound.Saying("this token is none of this database's, so there is nothing to end: gatehouse token inspect - says what is wrong with it")

// RevokeToken ends a token, and everything that came of the same login or exchange.
func (d *Desk) RevokeToken(ctx context.Context, raw string) (api.SessionRevoked, error) {
	if err := d.Ask(ctx, registry.RevokeSession, 0); err != nil {
		return api.SessionRevoked{}, err
	}
	found, err := d.config.Inspect(ctx, raw, netip.Addr{})
	if err != nil {
		return api.SessionRevoked{}, err
	}
	if !found.Authentic || found.Of.Session == "" {
		return api.SessionRevoked{}, errForeign
	}
	told, err := d.endSession(ctx, found.Of)
	told.Expired = !found.Refresh && d.Now().After(found.ExpiresAt)
	return told, err
}

// SigningKeys lists the keys that sign tokens, the oldest first.
func (d *Desk) SigningKeys(ctx context.Context) (api.Page[api.SigningKey], error) {
	rows, err := d.registry.SigningKeys(ctx, d.actor)
	if err != nil {
		return api.Page[api.SigningKey]{}, err
	}
	return api.Page[api.SigningKey]{Items: d.signingKeys(rows)}, nil
}

// signingKeys are keys as they are told.
func (d *Desk) signingKeys(rows []auth.KeyRow) []api.SigningKey {
	told := []api.SigningKey{}
	for i, state := range KeyStates(rows, d.Now()) {
		told = append(told, signingKey(rows[i], state))
	}
	return told
}

// SigningKey finds one of them.
func (d *Desk) SigningKey(ctx context.Context, id auth.KeyID) (api.SigningKey, error) {
	all, err := d.SigningKeys(ctx)
	if err != nil {
		return api.SigningKey{}, err
	}
	k, ok := findKey(all.Items, id)
	if !ok {
		return api.SigningKey{}, registry.NoSigningKey(id)
	}
	return k, nil
}

func findKey(all []api.SigningKey, id auth.KeyID) (api.SigningKey, bool) {
	i := slices.IndexFunc(all, func(k api.SigningKey) bool { return k.ID == string(id) })
	if i < 0 {
		return api.SigningKey{}, false
	}
	return all[i], true
}

// signingKey is a key as it is told.
func signingKey(k auth.KeyRow, state string) api.SigningKey {
	return api.SigningKey{
		ID: string(k.ID), Ring: string(k.Ring), Algorithm: k.Algorithm, State: state,
		CreatedAt: at(k.CreatedAt), ActiveAt: at(k.ActiveAt), RevokedAt: at(k.RevokedAt),
	}
}

// KeyStates says what each key is doing now: next, signing, kept, revoked.
func KeyStates(rows []auth.KeyRow, now time.Time) []string {
	states := make([]string, len(rows))
	signs := map[auth.Ring]int{} // of each ring, the row that signs, counted from 1
	for i, k := range rows {
		switch {
		case !k.RevokedAt.IsZero():
			states[i] = "revoked"
		case now.Before(k.ActiveAt):
			states[i] = "next"
		default:
			states[i] = "kept"
			if at := signs[k.Ring]; at == 0 || !k.ActiveAt.Before(rows[at-1].ActiveAt) {
				signs[k.Ring] = i + 1
			}
		}
	}
	for _, at := range signs {
		states[at-1] = "signing"
	}
	return states
}

// RotateSigningKey makes the next signing key before its time.
func (d *Desk) RotateSigningKey(ctx context.Context) (api.SigningKey, error) {
	made, err := making(d, d.newKey).RotateSigningKey(ctx, d.actor)
	if err != nil {
		return api.SigningKey{}, err
	}
	return d.newKey(made), nil
}

func (d *Desk) newKey(k auth.KeyRow) api.SigningKey {
	told := signingKey(k, KeyStates([]auth.KeyRow{k}, d.Now())[0])
	told.Confirmed = yes() // it takes nothing away, and signs only when all can know it
	return told
}

// RevokeSigningKey ends a leaked key, and every token that it signed.
func (d *Desk) RevokeSigningKey(ctx context.Context, id auth.KeyID) (api.SigningKey, error) {
	done, err := d.registry.RevokeSigningKey(ctx, d.actor, id)
	if err != nil {
		return api.SigningKey{}, err
	}
	if err := d.config.Reload(ctx); err != nil {
		return api.SigningKey{}, err
	}
	told, err := d.SigningKey(ctx, id)
	told.Confirmed = &done.Confirmed
	return told, err
}
