package desk

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// account is an account as it is told.
func account(a auth.Account) api.Account {
	told := api.Account{
		ID: int64(a.ID), Name: a.Name, Ref: a.Ref, Status: a.Status(), Allowlist: entries(a.Allowlist),
		CreatedAt: at(a.CreatedAt), SuspendedAt: at(a.SuspendedAt),
	}
	if !a.Requests.None() {
		told.Requests, told.Burst = a.Requests.String(), a.Requests.Burst
	}
	return told
}

func entries(list []auth.AllowEntry) []api.AllowEntry {
	all := []api.AllowEntry{}
	for _, e := range list {
		all = append(all, api.AllowEntry{CIDR: cidr(e.Prefix), Note: e.Note, CreatedAt: at(e.CreatedAt), ExpiresAt: at(e.ExpiresAt)})
	}
	return all
}

// cidr is a prefix as people write it: a single address without its mask.
func cidr(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Accounts lists accounts by number.
func (d *Desk) Accounts(ctx context.Context, q api.AccountQuery) (api.Page[api.Account], error) {
	var none api.Page[api.Account]
	most, err := atOnce(q.Range)
	if err != nil {
		return none, err
	}
	if q.Ref != "" {
		a, err := d.registry.Account(ctx, d.actor, "ref:"+q.Ref)
		if errors.Is(err, auth.ErrNotFound) {
			return api.Page[api.Account]{Items: []api.Account{}}, nil
		}
		return api.Page[api.Account]{Items: []api.Account{account(a)}}, err
	}
	after, err := cursor(q.After, number)
	if err != nil {
		return none, err
	}
	all, err := d.registry.Accounts(ctx, d.actor, auth.AccountQuery{Search: q.Search, Status: q.Status, After: after, Most: most + 1})
	if err != nil {
		return none, err
	}
	return page(all, most, func(a *auth.Account) api.Account { return account(*a) }, func(a *auth.Account) string { return a.ID.String() }), nil
}

// number is a place in the list of accounts.
func number(after string) (auth.AccountID, error) {
	if after == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(after, 10, 63)
	return auth.AccountID(n), err
}

// Account finds an account by its number or, as "ref:…", by the operator's reference.
func (d *Desk) Account(ctx context.Context, id string) (api.Account, error) {
	a, err := d.registry.Account(ctx, d.actor, id)
	if err != nil {
		return api.Account{}, err
	}
	return account(a), nil
}

// Known is an error if there is no such account, as far as the actor may know that.
func (d *Desk) Known(ctx context.Context, id auth.AccountID) error {
	if !d.may(registry.ReadAccounts, id) {
		return nil
	}
	_, err := d.registry.Account(ctx, d.actor, id.String())
	return err
}

// CreateAccount makes an account.
func (d *Desk) CreateAccount(ctx context.Context, n api.NewAccount) (api.Account, error) {
	a, err := making(d, created).CreateAccount(ctx, d.actor, n.Name, n.Ref)
	if err != nil {
		return api.Account{}, err
	}
	return created(a), nil
}

func created(a auth.Account) api.Account {
	told := account(a)
	told.Confirmed = yes() // nobody holds anything of it yet
	return told
}

func yes() *bool {
	confirmed := true
	return &confirmed
}

// changed is the account after a change.
func (d *Desk) changed(ctx context.Context, id auth.AccountID, done registry.Done, err error) (api.Account, error) {
	if err != nil {
		return api.Account{}, err
	}
	a, err := d.Account(ctx, id.String())
	a.Confirmed = &done.Confirmed
	return a, err
}

// UpdateAccount changes name or reference.
func (d *Desk) UpdateAccount(ctx context.Context, id auth.AccountID, u api.AccountUpdate) (api.Account, error) {
	if u.Name == nil && u.Ref == nil {
		return api.Account{}, auth.ErrInvalid.Saying("there is nothing to change: give name or ref")
	}
	a, err := d.registry.Account(ctx, d.actor, id.String())
	if err != nil {
		return api.Account{}, err
	}
	name := a.Name
	if u.Name != nil {
		name = *u.Name
	}
	done, err := d.registry.RenameAccount(ctx, d.actor, id, name, u.Ref)
	return d.changed(ctx, id, done, err)
}

// SuspendAccount refuses everything of the account at once.
func (d *Desk) SuspendAccount(ctx context.Context, id auth.AccountID, s api.Suspension) (api.Account, error) {
	done, err := d.registry.SuspendAccount(ctx, d.actor, id, s.RevokeTokens)
	return d.changed(ctx, id, done, err)
}

// ResumeAccount ends a suspension.
func (d *Desk) ResumeAccount(ctx context.Context, id auth.AccountID) (api.Account, error) {
	done, err := d.registry.ResumeAccount(ctx, d.actor, id)
	return d.changed(ctx, id, done, err)
}

// LimitAccount gives the account a limit of its own, or takes it away.
func (d *Desk) LimitAccount(ctx context.Context, id auth.AccountID, l api.RateLimit) (api.Account, error) {
	rate, err := auth.ParseRate(l.Requests)
	if err != nil {
		return api.Account{}, auth.ErrInvalid.Saying("requests: " + err.Error())
	}
	if l.Burst < 0 || l.Burst > 0 && rate.None() {
		return api.Account{}, auth.ErrInvalid.Saying("a burst is a number above 0, beside a rate")
	}
	rate.Burst = l.Burst
	done, err := d.registry.LimitAccount(ctx, d.actor, id, rate)
	return d.changed(ctx, id, done, err)
}

// DeleteAccount ends everything of the account for good.
func (d *Desk) DeleteAccount(ctx context.Context, id auth.AccountID) (api.Deleted, error) {
	done, err := d.registry.DeleteAccount(ctx, d.actor, id)
	if err != nil {
		return api.Deleted{}, err
	}
	return api.Deleted{ID: int64(id), Status: "deleted", Confirmed: &done.Confirmed}, nil
}

// Allowlist is an account's allowlist, with where the account came from lately and whether that is let in.
func (d *Desk) Allowlist(ctx context.Context, id auth.AccountID) (api.Allowlist, error) {
	a, err := d.registry.Account(ctx, d.actor, id.String())
	if err != nil {
		return api.Allowlist{}, err
	}
	told, err := d.tried(ctx, id, a.Allowlist)
	told.Suggestions = nil
	return told, err
}

// allowlist is what of an account's allowlist can be changed.
func allowlist(a auth.Account) api.Allowlist {
	return api.Allowlist{Account: int64(a.ID), Allowlist: entries(a.Allowlist)}
}

// Allow adds entries to an account's allowlist. One that is there already gets the new note and end.
func (d *Desk) Allow(ctx context.Context, id auth.AccountID, change api.Allowing) (api.Allowlist, error) {
	prefixes, err := parsePrefixes(change.CIDRs)
	if err != nil {
		return api.Allowlist{}, err
	}
	if change.DryRun {
		return d.wouldAllow(ctx, id, prefixes, change)
	}
	done, err := d.registry.AllowIP(ctx, d.actor, id, prefixes, change.Note, change.ExpiresAt)
	return d.allowlistChanged(ctx, id, done, err)
}

func (d *Desk) wouldAllow(ctx context.Context, id auth.AccountID, prefixes []netip.Prefix, change api.Allowing) (api.Allowlist, error) {
	a, err := d.registry.Account(ctx, d.actor, id.String())
	if err != nil {
		return api.Allowlist{}, err
	}
	if err := d.unchanged(a); err != nil {
		return api.Allowlist{}, err
	}
	told, err := d.tried(ctx, id, withEntries(a.Allowlist, prefixes, change.Note, change.ExpiresAt))
	told.DryRun = true
	return told, err
}

// Disallow takes entries off an account's allowlist.
func (d *Desk) Disallow(ctx context.Context, id auth.AccountID, change api.Disallowing) (api.Allowlist, error) {
	prefixes, err := parsePrefixes(change.CIDRs)
	if err != nil {
		return api.Allowlist{}, err
	}
	done, err := d.registry.RemoveIP(ctx, d.actor, id, prefixes, change.AllowEveryone)
	return d.allowlistChanged(ctx, id, done, err)
}

// ReplaceAllowlist gives an account an allowlist in place of the one that it has.
func (d *Desk) ReplaceAllowlist(ctx context.Context, id auth.AccountID, change api.Replacing) (api.Allowlist, error) {
	a, err := d.registry.Account(ctx, d.actor, id.String())
	if err != nil {
		return api.Allowlist{}, err
	}
	list, err := parseEntries(change.Allowlist, a.Allowlist)
	if err != nil {
		return api.Allowlist{}, err
	}
	// What it will be is tried in any case: that is what is told again, should the answer get lost.
	would, err := d.tried(ctx, id, list)
	if err != nil {
		return api.Allowlist{}, err
	}
	if change.DryRun {
		would.DryRun = true
		return would, d.unchanged(a)
	}
	would.Suggestions = nil
	would.Confirmed = new(bool)
	replacing := making(d, func(any) api.Allowlist { return would })
	done, err := replacing.ReplaceAllowlist(ctx, d.actor, id, list, change.AllowEveryone, "")
	return d.allowlistChanged(ctx, id, done, err)
}

// parseEntries reads the entries of a whole list. One that is sent as it was told is the one that is there: what is told of times is
// less than what is known.
func parseEntries(list *[]api.AllowEntry, before []auth.AllowEntry) ([]auth.AllowEntry, error) {
	if list == nil {
		return nil, auth.ErrInvalid.Saying("allowlist is missing: give all entries, or [] for none")
	}
	var all []auth.AllowEntry
	for _, e := range *list {
		p, err := auth.ParsePrefix(e.CIDR)
		if err != nil {
			return nil, auth.ErrInvalid.Saying(err.Error())
		}
		read := auth.AllowEntry{Prefix: p, Note: e.Note, ExpiresAt: e.ExpiresAt}
		for _, b := range before {
			if b.Prefix == p && at(b.ExpiresAt).Equal(e.ExpiresAt) {
				read.ExpiresAt = b.ExpiresAt
			}
		}
		all = append(all, read)
	}
	return all, nil
}

func (d *Desk) allowlistChanged(ctx context.Context, id auth.AccountID, done registry.Done, err error) (api.Allowlist, error) {
	if err != nil {
		return api.Allowlist{}, err
	}
	told, err := d.Allowlist(ctx, id)
	told.Confirmed = &done.Confirmed
	return told, err
}

func parsePrefixes(cidrs []string) ([]netip.Prefix, error) {
	if len(cidrs) == 0 {
		return nil, auth.ErrInvalid.Saying("cidrs names no address")
	}
	var all []netip.Prefix
	for _, text := range cidrs {
		p, err := auth.ParsePrefix(text)
		if err != nil {
			return nil, auth.ErrInvalid.Saying(err.Error())
		}
		all = append(all, p)
	}
	return all, nil
}

// withEntries is the list with these entries added, as the store would have it.
func withEntries(before []auth.AllowEntry, add []netip.Prefix, note string, expires time.Time) []auth.AllowEntry {
	list := slices.Clone(before)
	for _, p := range add {
		i := slices.IndexFunc(list, func(e auth.AllowEntry) bool { return e.Prefix == p })
		if i < 0 {
			list = append(list, auth.AllowEntry{Prefix: p})
			i = len(list) - 1
		}
		list[i].Note, list[i].ExpiresAt = note, expires
	}
	return list
}

// tried is a list for an account, with what it says to where the account came from lately.
func (d *Desk) tried(ctx context.Context, id auth.AccountID, list []auth.AllowEntry) (api.Allowlist, error) {
	trial, err := d.registry.TryAllowlist(ctx, d.actor, id, list)
	if err != nil {
		return api.Allowlist{}, err
	}
	told := allowlist(auth.Account{ID: id, Allowlist: trial.Entries})
	told.Addresses, told.ShutOut = []api.SeenAddress{}, trial.ShutOut
	for _, s := range trial.Seen {
		told.Addresses = append(told.Addresses, api.SeenAddress{
			Address: cidr(s.From), Who: who(s), At: at(s.At), Count: s.Count, Allowed: s.Allowed, Partly: s.Partly,
		})
	}
	for _, s := range trial.Suggestions {
		told.Suggestions = append(told.Suggestions, api.AllowSuggestion{CIDR: cidr(s.Prefix), Addresses: s.Addresses, Count: s.Count, At: at(s.At)})
	}
	return told, nil
}

// who names who came from somewhere.
func who(s auth.SeenFrom) string {
	switch {
	case s.Session != "":
		return "session " + string(s.Session)
	case s.Kind != "":
		return string(s.Kind) + " credential " + string(s.Credential)
	}
	return "credential " + string(s.Credential)
}
