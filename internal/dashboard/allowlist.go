package dashboard

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// allowlistRoutes are the pages of an account's allowlist. Everybody who may see the account sees the list.
func allowlistRoutes() []route {
	return []route{
		{both, get, "=/allowlist", registry.ReadAccounts, false, (*Dashboard).allowlist},
		{both, post, "=/allowlist", registry.AllowIP, false, (*Dashboard).changeAllowlist},
	}
}

// An allowlistPage is the list as it is, the form that changes it, and what the change would do.
type allowlistPage struct {
	Entries   []entryRow
	Tag       string // of the list that what is typed was made from
	You       *you   // nil: an operator, whose address has nothing to do with the list
	Suggested []suggestion
	Trial     *trial // nil: nothing was tried
}

// An entryRow is an entry as lists show it.
type entryRow struct {
	auth.AllowEntry
	Shown string
	Over  bool
}

func entryRows(entries []auth.AllowEntry, now time.Time) []entryRow {
	var rows []entryRow
	for _, e := range entries {
		rows = append(rows, entryRow{e, cidr(e.Prefix), !e.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt)})
	}
	return rows
}

// you is where a member's browser comes from, as the server sees it.
type you struct {
	Address netip.Addr
	Listed  bool
	Through bool // a proxy that the server trusts
	Unsure  bool // something sent X-Forwarded-For that the server did not follow: the address may be that of a proxy
}

// A suggestion is an address that the account came from lately and that is not on the list.
type suggestion struct {
	Field string // the name of its box
	Entry string
	Seen  string // by what, and when
}

// A trial is what a list would do.
type trial struct {
	Entries        []auth.AllowEntry
	Added, Removed []string
	First          bool // the account has no list yet: from now on, every other address is shut out
	Everyone       bool // no entry would be left
	You            bool // who looks at it would be shut out
	Out            []seenRow
	Digest         string // of what is to be confirmed; "": nothing
}

// A seenRow is an address that the account came from.
type seenRow struct {
	From    string
	Who     string
	At      time.Time
	Partly  bool // some of it would come in
	Already bool // shut out now, too
}

// allowlist shows the list and the form that changes it.
func (d *Dashboard) allowlist(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	text := formatAllowlist(a.Allowlist)
	if p, err := auth.ParsePrefix(v.query("add")); err == nil && !slices.ContainsFunc(a.Allowlist, func(e auth.AllowEntry) bool { return e.Prefix == p }) {
		text += cidr(p) + "\n"
	}
	v.form.Fill("entries", text)
	return v.allowlistPage(a, nil)
}

// allowlistPage answers with the page of an account whose list is as it was read a moment ago.
func (v *visit) allowlistPage(a auth.Account, t *trial) error {
	now := v.d.now()
	p := allowlistPage{Entries: entryRows(a.Allowlist, now), Tag: v.form.Get("tag"), Trial: t}
	if v.form.sent == nil {
		p.Tag = auth.AllowlistTag(a.Allowlist)
	} else if t == nil || v.form.Get("shown") != t.Digest {
		delete(v.form.sent, "sure") // it was ticked for something else
	}
	was, err := v.d.Registry.TryAllowlist(v.r.Context(), v.actor, a.ID, a.Allowlist)
	if err != nil {
		return err
	}
	if v.d.Side == Members {
		c := v.r.Caller
		p.You = &you{
			Address: c.Address, Listed: limit.NewAllowlist(a.Allowlist).Allows(c.Address, now),
			Through: c.Peer != c.Address, Unsure: c.Forwarded != "" && c.Peer == c.Address,
		}
	}
	if v.Can(string(registry.AllowIP)) {
		p.Suggested = v.suggestions(a, was, p.You)
	}
	return v.page("allowlist", "Allowlist", p, v.trail()...)
}

// mostSuggested is how many addresses are suggested.
const mostSuggested = 20

// suggestions are entries for the addresses of the last 30 days that are not on the list: as the registry puts them together, or,
// while there is no list, one by one.
func (v *visit) suggestions(a auth.Account, was auth.AllowlistTrial, y *you) []suggestion {
	now := v.d.now()
	var all []suggestion
	suggest := func(p netip.Prefix, says string) {
		if len(all) == mostSuggested || slices.ContainsFunc(all, func(s suggestion) bool { return s.Entry == cidr(p) }) ||
			len(a.Allowlist) > 0 && auth.Covered(a.Allowlist, p, now) == auth.Whole {
			return
		}
		field := "add-" + strconv.Itoa(len(all))
		all = append(all, suggestion{field, cidr(p), says})
	}
	if y != nil {
		if p, err := y.Address.Prefix(y.Address.BitLen()); err == nil {
			suggest(p, "you, now")
		}
	}
	for _, s := range was.Suggestions {
		says := "seen " + distance(now.Sub(s.At))
		if s.Addresses > 1 {
			says = plural(s.Addresses, "address") + " of this network, the last seen " + distance(now.Sub(s.At))
		}
		suggest(s.Prefix, says)
	}
	for _, s := range was.Seen {
		if len(a.Allowlist) == 0 {
			suggest(s.From, who(s)+", "+distance(now.Sub(s.At)))
		}
	}
	return all
}

// who says what came from an address.
func who(s auth.SeenFrom) string {
	text := "credential " + string(s.Credential)
	if s.Session != "" {
		text = "a live session of " + text
	}
	return text
}

// changeAllowlist tries a list, and saves it where that was asked for and nobody is shut out by surprise.
func (d *Dashboard) changeAllowlist(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	v.takeSuggestions()
	entries, wrong := parseAllowlist(v.form.Raw("entries"), a.Allowlist, d.now())
	if len(wrong) > 0 {
		for _, w := range wrong {
			v.form.Problems = append(v.form.Problems, Problem{"entries", "Line " + strconv.Itoa(w.Number) + ": " + w.Says + "."})
		}
		v.status = http.StatusBadRequest
		return v.allowlistPage(a, nil)
	}
	t, err := v.try(a, entries)
	if err != nil {
		return v.refused(err, "entries", func(_ *Dashboard, v *visit) error { return v.allowlistPage(a, nil) })
	}
	if v.form.Get("do") != "save" {
		return v.allowlistPage(a, &t)
	}
	if v.form.Get("tag") != auth.AllowlistTag(a.Allowlist) {
		return v.movedAllowlist(a, &t)
	}
	if problem := v.unsure(t); problem != "" {
		v.form.Problems = append(v.form.Problems, Problem{Says: problem})
		v.status = http.StatusConflict
		return v.allowlistPage(a, &t)
	}
	done, err := d.Registry.ReplaceAllowlist(v.r.Context(), v.actor, a.ID, entries, t.Everyone, v.form.Get("tag"))
	if errors.Is(err, auth.ErrChanged) { // somebody was faster by a moment
		if a, err = v.loadAccount(); err != nil {
			return err
		}
		return v.movedAllowlist(a, &t)
	}
	if err != nil {
		return v.refused(err, "", func(_ *Dashboard, v *visit) error { return v.allowlistPage(a, &t) })
	}
	said := "The allowlist was saved."
	if t.Everyone {
		said = "The allowlist is empty: the account is open to every address."
	}
	return v.done(v.Base()+"/allowlist", said+late(done))
}

// takeSuggestions puts the suggested addresses that were ticked behind what was typed.
func (v *visit) takeSuggestions() {
	text := strings.TrimRight(v.form.Raw("entries"), "\r\n \t")
	for n := range mostSuggested {
		field := "add-" + strconv.Itoa(n)
		p, err := auth.ParsePrefix(v.form.Get(field))
		if err != nil {
			continue
		}
		if text != "" {
			text += "\n"
		}
		text += cidr(p)
		delete(v.form.sent, field) // it is in the text now
	}
	v.form.sent["entries"] = text + "\n"
}

// movedAllowlist says that somebody else has changed the list meanwhile. What was typed is kept; saved once more, it is taken
// instead of what is there now.
func (v *visit) movedAllowlist(a auth.Account, t *trial) error {
	v.form.Problems = append(v.form.Problems, Problem{Says: "Somebody else changed the list while you were at it. Nothing of yours is saved or lost: compare what you typed with the list as it is now, and save again."})
	v.form.sent["tag"] = auth.AllowlistTag(a.Allowlist)
	v.status = http.StatusConflict
	fresh, err := v.try(a, t.Entries)
	if err != nil {
		return err
	}
	return v.allowlistPage(a, &fresh)
}

// unsure says what must be confirmed before a list is saved, "" if nothing must, or it was. What was confirmed counts for what
// was shown: whoever else would be shut out by now is asked about again.
func (v *visit) unsure(t trial) string {
	switch {
	case t.Everyone && !v.form.Has("everyone"):
		return "Without an entry the account is open to every address. If that is meant, tick the box that says so."
	case t.Digest != "" && (!v.form.Has("sure") || v.form.Get("shown") != t.Digest):
		return "This list would shut somebody out who came lately. Look below who that is, and tick the box if it is meant so."
	}
	return ""
}

// try says what a list would do.
func (v *visit) try(a auth.Account, entries []auth.AllowEntry) (trial, error) {
	now := v.d.now()
	t := trial{Entries: entries, First: len(a.Allowlist) == 0 && len(entries) > 0, Everyone: len(a.Allowlist) > 0 && len(entries) == 0}
	t.Added, t.Removed = differences(a.Allowlist, entries)
	tried, err := v.d.Registry.TryAllowlist(v.r.Context(), v.actor, a.ID, entries)
	if err != nil {
		return t, err
	}
	var out []string
	if c := v.r.Caller.Address; v.d.Side == Members && !tried.CallerAllowed && limit.NewAllowlist(a.Allowlist).Allows(c, now) {
		t.You = true
		out = append(out, "you "+c.String())
	}
	for _, s := range tried.Seen {
		if s.Allowed {
			continue
		}
		row := seenRow{cidr(s.From), who(s), s.At, s.Partly, auth.Covered(a.Allowlist, s.From, now) == auth.None}
		t.Out = append(t.Out, row)
		if !row.Already && !row.Partly {
			out = append(out, row.From)
		}
	}
	if len(out) > 0 {
		slices.Sort(out)
		t.Digest = v.d.seal("shut out", strings.Join(slices.Compact(out), " "))
	}
	return t, nil
}

// differences are the entries that are on one list only, or with another note or end.
func differences(before, after []auth.AllowEntry) (added, removed []string) {
	missing := func(from, in []auth.AllowEntry) []string {
		var all []string
		for _, e := range from {
			if text := formatEntry(e); !slices.ContainsFunc(in, func(o auth.AllowEntry) bool { return formatEntry(o) == text }) {
				all = append(all, text)
			}
		}
		return all
	}
	return missing(after, before), missing(before, after)
}
