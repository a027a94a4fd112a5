package dashboard

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// explainRoutes are the pages that answer "why was I refused?".
func explainRoutes() []route {
	return []route{
		{Operators, get, "/refusals", registry.ReadRefusals, false, (*Dashboard).refusals},
		{Operators, get, "/refusals/{request}", registry.ReadRefusals, false, (*Dashboard).refusal},
		{both, get, "=/refusals", registry.ReadRefusals, false, (*Dashboard).refusals},
		{both, get, "=/refusals/{request}", registry.ReadRefusals, false, (*Dashboard).refusal},
	}
}

// A refusalsPage is a list of who was refused, and what it was searched by.
type refusalsPage struct {
	list[refusalRow]
	All      bool // of every account
	Search   []Field
	Searched bool // something was searched for
}

// A refusalRow is a refusal as lists show it.
type refusalRow struct {
	auth.Refusal
	To string // its page; "" if no request of it has an id
}

// refusals lists who was refused, the newest first.
func (d *Dashboard) refusals(v *visit) error {
	v.form.Problems = nil
	f, err := v.refusalFilter()
	if err == nil && f.RequestID != "" {
		return v.toRequest(f.RequestID)
	}
	p := refusalsPage{All: v.Base() == Root && d.Side == Operators, Search: v.refusalSearch()}
	p.Searched = v.r.URL.RawQuery != ""
	if err != nil {
		return v.notFound(err, p)
	}
	after, err := v.after("refusals")
	if err != nil {
		return err
	}
	if after != "" {
		if f.After, err = auth.ParseRefusalPlace(after); err != nil {
			return err
		}
	}
	f.Most = perPage + 1
	found, err := d.Registry.Refusals(v.r.Context(), v.actor, f)
	if err != nil {
		return err
	}
	var rows []refusalRow
	for _, r := range found {
		rows = append(rows, v.refusalRow(r))
	}
	p.list = paged(v, "refusals", rows, func(r *refusalRow) string { return r.Place().String() })
	return v.page("refusals", "Refusals", p, v.trail()...)
}

func (v *visit) refusalRow(r auth.Refusal) refusalRow {
	row := refusalRow{Refusal: r}
	if len(r.RequestIDs) > 0 {
		row.To = v.Base() + "/refusals/" + url.PathEscape(r.RequestIDs[0])
	}
	return row
}

// notFound shows the list without rows, and what could not be searched for.
func (v *visit) notFound(err error, p refusalsPage) error {
	e := auth.AsError(err)
	if e.Kind != auth.Invalid && e.Kind != auth.NotFound {
		return err
	}
	v.status = http.StatusBadRequest
	v.form.Problems = append(v.form.Problems, Problem{Says: sentence(e.Msg)})
	return v.page("refusals", "Refusals", p, v.trail()...)
}

// toRequest leads to the page of a request. What somebody pasted can hold anything.
func (v *visit) toRequest(id string) error {
	return v.redirect(strings.TrimPrefix(v.Base(), Root) + "/refusals/" + url.PathEscape(strings.ReplaceAll(id, "/", "")))
}

// refusalSearch are the questions of the search, with what was asked.
func (v *visit) refusalSearch() []Field {
	for _, name := range []string{"request", "account", "credential", "address", "from", "until"} {
		v.form.Fill(name, v.query(name))
	}
	fields := []Field{v.form.Text("request", "Request id", "")}
	if v.d.Side == Operators && v.account() == 0 {
		fields = append(fields, v.form.Text("account", "Account", ""))
	}
	return append(
		fields, v.form.Text("credential", "Credential", ""), v.form.Text("address", "Address", ""),
		v.form.field("datetime-local", "from", "From (UTC)", ""), v.form.field("datetime-local", "until", "Until (UTC)", ""),
	)
}

// refusalFilter is what is searched for, as the address of the page says it.
func (v *visit) refusalFilter() (auth.RefusalFilter, error) {
	f := auth.RefusalFilter{Account: v.account(), RequestID: strings.TrimSpace(v.query("request"))}
	asked := func(name string) string { return strings.TrimSpace(v.query(name)) }
	if id := asked("account"); id != "" && f.Account == 0 {
		a, err := v.d.Registry.Account(v.r.Context(), v.actor, id)
		if err != nil {
			return f, cleaned(err, "there is no such account")
		}
		f.Account = a.ID
	}
	if id := asked("credential"); id != "" {
		c, err := v.d.Registry.Credential(v.r.Context(), v.actor, id)
		if err != nil || f.Account != 0 && c.Account != f.Account {
			return f, cleaned(cmp.Or(err, error(auth.ErrNotFound)), "there is no such credential")
		}
		f.Credential = c.ID
	}
	if text := asked("address"); text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return f, auth.ErrInvalid.Saying("an address is written as 203.0.113.7 or 2001:db8::7")
		}
		f.Address = a.Unmap()
	}
	var err error
	if f.Since, err = minuteOf(asked("from")); err != nil {
		return f, err
	}
	until, err := minuteOf(asked("until"))
	if err == nil && !until.IsZero() {
		f.After = auth.RefusalPlace{At: until.Add(time.Minute - time.Millisecond)} // what comes behind it in the list is older
	}
	return f, err
}

// cleaned says that something was not found, without the commands that would list what there is.
func cleaned(err error, msg string) error {
	if errors.Is(err, auth.ErrNotFound) {
		return auth.ErrNotFound.Saying(msg)
	}
	return err
}

// minuteOf reads a time as the field of a form has it, the zero time for nothing.
func minuteOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, auth.ErrInvalid.Saying("a time is written as 2027-01-31T17:00")
}

// A story is one refusal as its page tells it.
type story struct {
	auth.Refusal
	RequestID string
	Others    int // requests that were equal to it in its second
	Asked     string
	Answer    string
	Let       bool // it was let through all the same
	Meaning   string
	Do        []string
	Again     string
	Clock     string
	Ways      []way
	// These are for operators alone.
	Hops     string
	Detail   string
	Commands []string
}

// A way leads to where a refusal is mended.
type way struct{ To, Text string }

// refusal explains one.
func (d *Dashboard) refusal(v *visit) error {
	id := v.r.PathValue("request")
	found, err := d.Registry.Refusals(v.r.Context(), v.actor, auth.RefusalFilter{Account: v.account(), RequestID: id})
	if err != nil {
		return err
	}
	if id == "" || len(found) == 0 {
		v.status = http.StatusNotFound
		return v.page("refusal-none", "Nothing is known of this request", id, v.trail(v.toRefusals())...)
	}
	x, err := d.Registry.Explain(v.r.Context(), v.actor, id)
	if err != nil {
		return err
	}
	s, err := v.story(id, found[0], x)
	if err != nil {
		return err
	}
	return v.page("refusal", "Why was this refused?", s, v.trail(v.toRefusals())...)
}

func (v *visit) toRefusals() link { return link{To: v.Base() + "/refusals", Text: "Refusals"} }

// story tells a refusal: to operators all that is known of it, to members what is theirs to know, in words of their own.
func (v *visit) story(id string, r auth.Refusal, x audit.Explained) (story, error) {
	s := story{
		Refusal: r, RequestID: id, Others: int(r.Count) - 1, Asked: strings.TrimSpace(r.Method + " " + cmp.Or(r.Path, "(path left out)")),
		Answer: strings.TrimSpace(x.Answer), Let: r.Status < http.StatusBadRequest, Again: x.Retry, Clock: x.Clock,
	}
	if v.d.Side == Operators {
		s.Asked, s.Meaning, s.Do, s.Hops, s.Detail, s.Commands = x.Request, x.Meaning, x.Mend, x.Hops, x.Detail, x.Commands
	} else {
		words := forMember(r.Reason)
		s.Meaning, s.Do = words.Meaning, []string{words.Do}
		s.Answer, _, _ = strings.Cut(s.Answer, ",") // the status; whose words it was in is a matter of how we are built
	}
	var err error
	s.Ways, err = v.ways(r)
	return s, err
}

// ways lead to what mends a refusal, as far as who looks may do that.
func (v *visit) ways(r auth.Refusal) ([]way, error) {
	account := r.Subject.Account
	if account == 0 {
		return nil, nil
	}
	base := Root
	if v.d.Side == Operators {
		base += "/accounts/" + account.String()
	}
	var all []way
	add := func(action registry.Action, path, text string) {
		if err := registry.May(v.actor, action, account, v.d.now()); err == nil || errors.Is(err, registry.ErrStepUp) {
			all = append(all, way{base + path, text})
		}
	}
	c, known, err := v.credentialOf(r)
	if err != nil {
		return nil, err
	}
	own := "/credentials/" + string(c.ID)
	renew := func() { // a secret that works, instead of the one that came
		switch {
		case !known || c.Dead(v.d.now()) != auth.ReasonNone:
			add(registry.CreateCredential, "/credentials/new?"+url.Values{"kind": {string(audit.KindOf(r))}}.Encode(), "Create a credential")
		case v.credentialPage(c).Rotating:
			add(registry.FinishRotation, own+"/finish", "Finish the rotation: end the old secret")
			add(registry.UndoRotation, own+"/undo", "Undo the rotation: take the new secret back")
		default:
			add(registry.Rotate, own+"/rotate", "Rotate: make a new secret")
		}
	}
	switch r.Reason {
	case auth.ReasonAddressNotAllowed:
		add(registry.AllowIP, "/allowlist?"+url.Values{"add": {r.Address.String()}}.Encode(), "Add "+r.Address.String()+" to the allowlist")
		if known {
			add(registry.RevokeCredential, own+"/revoke", "It is not ours: revoke the credential")
		}
	case auth.ReasonAccountSuspended:
		add(registry.Resume, "/resume", "Resume the account")
	case auth.ReasonNoCredential, auth.ReasonUnknown, auth.ReasonWrongEnvironment:
		add(registry.CreateCredential, "/credentials/new?"+url.Values{"kind": {string(audit.KindOf(r))}}.Encode(), "Create a credential")
	case auth.ReasonChecksum, auth.ReasonWrongSecret, auth.ReasonExpired, auth.ReasonRevoked, auth.ReasonTokenRevoked, auth.ReasonRefreshReused:
		renew()
	case auth.ReasonInsufficientScope:
		if known {
			add(registry.UpdateCredential, own+"/edit", "Change the credential's scopes")
		}
	case auth.ReasonRateLimited:
		if r.Limit == "requests_per_account" {
			add(registry.LimitAccount, "/limit", "Raise the account's limit")
		}
	}
	if known {
		add(registry.ReadCredentials, own, "Look at the credential")
	}
	return all, nil
}

// credentialOf reads the credential that a refusal is about, if there is one and it is there.
func (v *visit) credentialOf(r auth.Refusal) (c auth.Credential, known bool, err error) {
	if r.Subject.Credential == "" {
		return c, false, nil
	}
	c, err = v.d.Registry.Credential(v.r.Context(), v.actor, string(r.Subject.Credential))
	if errors.Is(err, auth.ErrNotFound) {
		return auth.Credential{}, false, nil
	}
	return c, err == nil && c.Account == r.Subject.Account, err
}
