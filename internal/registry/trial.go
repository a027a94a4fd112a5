package registry

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	// seenWithin is how long it is remembered where an account came from.
	seenWithin = 30 * 24 * time.Hour
	// mostEntries is how many entries an allowlist can be replaced by.
	mostEntries = 1000
	// joinedFrom is how many addresses of one network are suggested as that network: a /24, or of IPv6 a /48.
	joinedFrom = 3
	// mostReplacing is how often a list is replaced anew, whatever it was, where others change it in the same moment.
	mostReplacing = 8
)

// TryAllowlist says what an account's allowlist would do if these were its entries: who came in lately and would not any more, whether
// the one who asks would. Nothing is changed.
func (r *Registry) TryAllowlist(ctx context.Context, actor auth.Actor, id auth.AccountID, entries []auth.AllowEntry) (auth.AllowlistTrial, error) {
	if err := r.see(ctx, actor, ReadAccounts, auth.Subject{Account: id}); err != nil {
		return auth.AllowlistTrial{}, err
	}
	a, err := r.store.Account(ctx, id)
	if err != nil {
		return auth.AllowlistTrial{}, err
	}
	if entries, err = r.asEntries(a.Allowlist, entries); err != nil {
		return auth.AllowlistTrial{}, err
	}
	trial := auth.AllowlistTrial{Entries: entries, Tag: auth.AllowlistTag(a.Allowlist), Caller: actor.Address}
	if trial.Seen, err = r.seen(ctx, actor, id); err != nil {
		return auth.AllowlistTrial{}, err
	}
	now := r.now()
	trial.CallerAllowed = actor.Address.IsValid() && auth.Covered(entries, single(actor.Address), now) == auth.Whole
	var out []auth.Sighting
	for i := range trial.Seen {
		s := &trial.Seen[i]
		switch auth.Covered(entries, s.From, now) {
		case auth.Whole:
			s.Allowed = true
		case auth.Part:
			s.Partly = true
		default:
			trial.ShutOut++
			out = append(out, s.Sighting)
		}
	}
	trial.Suggestions = suggest(out)
	return trial, nil
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// asEntries checks entries and gives those that are there already the time when they were made.
func (r *Registry) asEntries(before, entries []auth.AllowEntry) ([]auth.AllowEntry, error) {
	if len(entries) > mostEntries {
		return nil, auth.ErrInvalid.Saying("an allowlist has at most 1000 entries")
	}
	now := r.now()
	checked := make([]auth.AllowEntry, 0, len(entries))
	for _, e := range entries {
		p, err := auth.ParsePrefix(e.Prefix.String())
		if err != nil {
			return nil, auth.ErrInvalid.Saying(err.Error())
		}
		if err := checkNote(e.Note); err != nil {
			return nil, err
		}
		e = auth.AllowEntry{Prefix: p, Note: e.Note, CreatedAt: now, ExpiresAt: e.ExpiresAt}
		i := slices.IndexFunc(before, func(b auth.AllowEntry) bool { return b.Prefix == p })
		if i >= 0 {
			e.CreatedAt = before[i].CreatedAt
		}
		if gone := !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now); gone && (i < 0 || !before[i].ExpiresAt.Equal(e.ExpiresAt)) {
			return nil, auth.ErrInvalid.Saying("the entry " + p.String() + " would have expired already")
		}
		if slices.ContainsFunc(checked, func(other auth.AllowEntry) bool { return other.Prefix == p }) {
			return nil, auth.ErrInvalid.Saying("the entry " + p.String() + " is there twice")
		}
		checked = append(checked, e)
	}
	return checked, nil
}

// seen is where an account came from, the latest first: what is remembered of 30 days, its live sessions, and the last use of each live
// secret. What the actor may not read is left out.
func (r *Registry) seen(ctx context.Context, actor auth.Actor, id auth.AccountID) ([]auth.SeenFrom, error) {
	since := r.now().Add(-seenWithin)
	may := func(read Action) bool { return May(actor, read, id, r.now()) == nil }
	var known []auth.Sighting
	var credentials []auth.Credential
	var live []auth.Session
	var err error
	if may(ReadCredentials) {
		if known, err = r.store.Seen(ctx, id, since); err != nil {
			return nil, err
		}
		if credentials, err = r.store.Credentials(ctx, auth.CredentialQuery{Account: id, Live: true, Most: auth.MostRows}); err != nil {
			return nil, err
		}
	}
	if may(ReadSessions) {
		if live, err = r.store.Sessions(ctx, auth.SessionQuery{Account: id, LiveOnly: true, Most: auth.MostRows}); err != nil {
			return nil, err
		}
	}
	type place struct {
		credential auth.CredentialID
		from       netip.Prefix
	}
	var all []auth.SeenFrom
	at := map[place]int{}
	add := func(s auth.SeenFrom) {
		if !s.From.IsValid() || s.At.Before(since) {
			return
		}
		key := place{s.Credential, s.From}
		if i, ok := at[key]; ok {
			all[i].Session = cmp.Or(all[i].Session, s.Session)
			if all[i].At.Before(s.At) {
				all[i].At = s.At
			}
			return
		}
		at[key] = len(all)
		all = append(all, s)
	}
	kinds := map[auth.CredentialID]auth.Kind{}
	for _, c := range credentials {
		kinds[c.ID] = c.Kind
	}
	for _, s := range known {
		add(auth.SeenFrom{Sighting: s, Kind: kinds[s.Credential]})
	}
	for _, s := range live {
		add(auth.SeenFrom{Session: s.ID, Kind: kinds[s.Credential], Sighting: auth.Sighting{
			Account: id, Credential: s.Credential, From: auth.SeenAs(s.Address), At: s.StartedAt, Count: 1,
		}})
	}
	for _, c := range credentials {
		for _, s := range c.Secrets {
			if s.Live(r.now()) {
				add(auth.SeenFrom{Kind: c.Kind, Sighting: auth.Sighting{Account: id, Credential: c.ID, From: auth.SeenAs(s.LastUse.Address), At: s.LastUse.At, Count: 1}})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b auth.SeenFrom) int { return b.At.Compare(a.At) })
	return all, nil
}

// suggest are entries that would let these in: each by itself, or their network where there are several.
func suggest(out []auth.Sighting) []auth.AllowSuggestion {
	networks := map[netip.Prefix]map[netip.Prefix]bool{}
	network := func(p netip.Prefix) netip.Prefix {
		bits := 24
		if p.Addr().Is6() {
			bits = 48
		}
		n, _ := p.Addr().Prefix(bits)
		return n
	}
	for _, s := range out {
		n := network(s.From)
		if networks[n] == nil {
			networks[n] = map[netip.Prefix]bool{}
		}
		networks[n][s.From] = true
	}
	by := map[netip.Prefix]*auth.AllowSuggestion{}
	for _, s := range out {
		p := s.From
		addresses := 1
		if n := network(p); len(networks[n]) >= joinedFrom {
			p, addresses = n, len(networks[n])
		}
		if by[p] == nil {
			by[p] = &auth.AllowSuggestion{Prefix: p, Addresses: addresses}
		}
		by[p].Count += s.Count
		if by[p].At.Before(s.At) {
			by[p].At = s.At
		}
	}
	var all []auth.AllowSuggestion
	for _, s := range by {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b auth.AllowSuggestion) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.At.Compare(a.At), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return all
}

// ReplaceAllowlist gives an account these entries in place of those that it has, all or none. With a tag it is done only if the list
// is still the one that had it, see [auth.AllowlistTag]; another one is [auth.ErrChanged]. Without an entry every address may come in, so
// that wants allowEveryone. Who may add and not take away can replace a list by a longer one.
func (r *Registry) ReplaceAllowlist(ctx context.Context, actor auth.Actor, id auth.AccountID, entries []auth.AllowEntry, allowEveryone bool, tag string) (Done, error) {
	for again := 0; ; again++ {
		done, err := r.replaceAllowlist(ctx, actor, id, entries, allowEveryone, tag)
		if whatever := tag == "" && r.terms.Account == nil; !whatever || again == mostReplacing || !errors.Is(err, auth.ErrChanged) {
			return done, err
		}
	}
}

func (r *Registry) replaceAllowlist(ctx context.Context, actor auth.Actor, id auth.AccountID, entries []auth.AllowEntry, allowEveryone bool, tag string) (Done, error) {
	if err := r.see(ctx, actor, ReadAccounts, auth.Subject{Account: id}); err != nil {
		return Done{}, err
	}
	a, err := r.store.Account(ctx, id)
	if err != nil {
		return Done{}, err
	}
	if entries, err = r.asEntries(a.Allowlist, entries); err != nil {
		return Done{}, err
	}
	was := auth.AllowlistTag(a.Allowlist)
	if tag != "" && tag != was {
		return Done{}, auth.ErrChanged.Saying("The allowlist was changed meanwhile by somebody else")
	}
	if len(entries) == 0 && len(a.Allowlist) > 0 && !allowEveryone {
		return Done{}, auth.ErrConflict.Saying("This would remove the last entry, and open the account to every address")
	}
	var acts []auth.Act
	about := auth.Subject{Account: id}
	added := map[time.Time][]netip.Prefix{} // by their end: an act of the audit trail has one
	var ends []time.Time
	for _, e := range entries {
		i := slices.IndexFunc(a.Allowlist, func(b auth.AllowEntry) bool { return b.Prefix == e.Prefix })
		if i >= 0 && a.Allowlist[i].Note == e.Note && a.Allowlist[i].ExpiresAt.Equal(e.ExpiresAt) {
			continue
		}
		end := e.ExpiresAt.UTC()
		if added[end] == nil {
			ends = append(ends, end)
		}
		added[end] = append(added[end], e.Prefix)
	}
	for _, end := range ends {
		act, err := r.permit(ctx, actor, AllowIP, about, auth.AllowDetail(added[end], end))
		if err != nil {
			return Done{}, err
		}
		acts = append(acts, act)
	}
	var gone []netip.Prefix
	for _, b := range a.Allowlist {
		if !slices.ContainsFunc(entries, func(e auth.AllowEntry) bool { return e.Prefix == b.Prefix }) {
			gone = append(gone, b.Prefix)
		}
	}
	if len(gone) > 0 {
		act, err := r.permit(ctx, actor, RemoveIP, about, auth.RemoveDetail(gone))
		if err != nil {
			return Done{}, err
		}
		acts = append(acts, act)
	}
	what, err := r.store.ReplaceAllowlist(ctx, id, entries, was, r.terms, acts)
	return r.done(ctx, what, err)
}
