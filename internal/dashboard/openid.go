package dashboard

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/signon"
)

// callback is where providers send people back to; the name of the provider follows.
const callback = "/openid/callback"

// CallbackPath is callback as the providers' room has to know it.
const CallbackPath = Root + callback

// Providers are those that people can choose.
func (v *visit) Providers() []signon.Choice {
	if v.d.Providers == nil {
		return nil
	}
	return v.d.Providers.Choices()
}

// signInElsewhere, joinElsewhere, confirmElsewhere and link send somebody to the provider that the form names.
func (d *Dashboard) signInElsewhere(v *visit) error {
	return v.toProvider(signon.Ask{Provider: v.form.Get("provider"), Purpose: signon.SignIn, Detail: v.goingTo()}, (*Dashboard).signInPage)
}

func (d *Dashboard) joinElsewhere(v *visit) error {
	code := v.form.Get("code")
	if _, err := v.invited(code); err != nil {
		return v.refused(err, "code", (*Dashboard).joinPage)
	}
	v.setCookie(joinCookie, code)
	return v.toProvider(signon.Ask{Provider: v.form.Get("provider"), Purpose: signon.Join}, (*Dashboard).joinPage)
}

func (d *Dashboard) confirmElsewhere(v *visit) error {
	detail := v.keepAway(cmp.Or(v.form.Get("confirm-next"), Root+"/"), v.form.Get("confirm-kept"))
	return v.toProvider(signon.Ask{Provider: v.form.Get("provider"), Purpose: signon.Confirm, Person: v.visitor.Person.ID, Detail: detail}, v.confirmAgain())
}

// awayCookie holds the form that waits for a proof while its sender is at a provider, sealed as it stood on the page: so nothing of it
// lies on the server, and the provider does not see it.
const awayCookie = "gatehouse-form"

// mostAway is how long a sealed form can be to go into a cookie: browsers take 4096 bytes, with its name and all.
const mostAway = 3500

// keepAway keeps a form while its sender is away, if it is short enough, and returns what the provider brings back: the page to go to
// and which form was kept.
func (v *visit) keepAway(next, kept string) (detail string) {
	if kept == "" || len(kept) > mostAway {
		return next
	}
	v.setCookie(awayCookie, kept)
	return next + "#" + keptMark(kept)
}

// keptAway is what [visit.keepAway] kept, once. The form is "" unless it is the one that the detail names, for that page and person.
func (v *visit) keptAway(detail string) (next, kept string) {
	next, mark, _ := strings.Cut(detail, "#")
	kept = v.cookie(awayCookie)
	if kept == "" {
		return next, ""
	}
	v.setCookie(awayCookie, "")
	if _, ours := v.d.unseal(v.keptFor(next), kept); !ours || mark != keptMark(kept) {
		return next, ""
	}
	return next, kept
}

// keptMark tells one kept form from another. It says nothing of what was typed: a sealed form begins with a digest that nobody guesses.
func keptMark(kept string) string {
	sum := sha256.Sum256([]byte(kept))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (d *Dashboard) link(v *visit) error {
	if d.Providers == nil {
		return auth.ErrNotFound
	}
	if v.stale() {
		return v.confirmFirst()
	}
	return v.toProvider(signon.Ask{Provider: v.r.PathValue("provider"), Purpose: signon.Link, Person: v.visitor.Person.ID}, (*Dashboard).askLink)
}

// askLink asks whether somebody is to sign in through a provider.
func (d *Dashboard) askLink(v *visit) error {
	title := ""
	for _, c := range v.Providers() {
		if c.Name == v.r.PathValue("provider") {
			title = c.Title
		}
	}
	if title == "" {
		return auth.ErrNotFound
	}
	return v.ask("Link "+title, Ask{
		Lead: "You are sent to " + title + ", and sign in there. From then on you can sign in here through it.", Button: "Go to " + title, Back: toProfile.To,
	}, toProfile)
}

// toProvider sends somebody to a provider. A form cannot lead to another site, for our policy forbids it; a page that leads on can.
func (v *visit) toProvider(ask signon.Ask, again func(*Dashboard, *visit) error) error {
	ask.Browser = v.browser()
	to, err := v.d.Providers.Begin(v.r.Context(), ask)
	if err != nil {
		return v.unproven(err, again)
	}
	return v.leadOn(to)
}

// leadOn answers with a page that leads on by itself.
func (v *visit) leadOn(to string) error {
	v.Header()["Refresh"] = []string{"0; url=" + to}
	return v.page("lead-on", "One moment", to)
}

// fromProvider takes what a provider sent somebody back with. The request comes from another site and has none of our cookies, which
// are strict; so the first one is answered by a page that leads on to the same, and the second one is of our own.
func (d *Dashboard) fromProvider(v *visit) error {
	if d.Providers == nil {
		return auth.ErrNotFound
	}
	query := v.r.URL.Query()
	if !query.Has("here") {
		query.Set("here", "yes")
		return v.leadOn(v.r.URL.Path + "?" + query.Encode())
	}
	purpose, detail := signon.Asked(query)
	again, kept := (*Dashboard).signInPage, ""
	switch {
	case purpose == signon.Join:
		again = (*Dashboard).joinPage
	case purpose == signon.Link && v.signedIn():
		again = (*Dashboard).profile
	case purpose == signon.Confirm && v.signedIn():
		var next string
		next, kept = v.keptAway(detail)
		next, _ = own(next)
		again = func(_ *Dashboard, v *visit) error { return v.confirmPage(cmp.Or(next, Root+"/"), kept) }
	}
	refund, err := d.People.Attempt(v.r.Caller)
	if err != nil {
		return v.unproven(err, again)
	}
	a, err := d.Providers.End(v.r.Context(), v.r.PathValue("provider"), v.browser(), v.visitor.Person.ID, query)
	if err == nil {
		err = v.take(a, kept)
	}
	if err != nil {
		return v.unproven(err, again)
	}
	refund()
	return nil
}

// take does what somebody was asked at the provider for; kept is the form that waited for it.
func (v *visit) take(a signon.Answer, kept string) error {
	d, ctx := v.d, v.r.Context()
	switch a.Purpose {
	case signon.SignIn:
		signed, err := d.People.SignInOpenID(ctx, d.kind(), a.OpenID, v.r.Caller)
		if err != nil {
			return err
		}
		return v.signedTo(signed, a.Detail)
	case signon.Join:
		code := v.cookie(joinCookie)
		v.setCookie(joinCookie, "")
		p, err := v.invited(code)
		if err != nil {
			return err
		}
		email, err := auth.ParseEmail(a.OpenID.Email)
		if err != nil {
			return err
		}
		if p.Email != "" && email != p.Email {
			return errOtherAddress
		}
		signed, err := d.People.Join(ctx, code, people.Joining{Email: email, Name: email, OpenID: &a.OpenID}, v.r.Caller)
		if err != nil {
			return err
		}
		return v.signed(signed)
	case signon.Link:
		if v.stale() {
			return v.confirmFirst()
		}
		if err := d.People.AddOpenID(ctx, v.visitor, a.OpenID); err != nil {
			return err
		}
		return v.done(toProfile.To, "You can sign in through "+v.providerTitle(a.OpenID.Provider)+" from now on.")
	case signon.Confirm:
		signed, err := d.People.ConfirmOpenID(ctx, v.visitor, a.OpenID, v.r.Caller)
		if err != nil {
			return err
		}
		next, _, _ := strings.Cut(a.Detail, "#")
		return v.proved(signed, next, kept)
	}
	return errors.New("dashboard: an answer for " + string(a.Purpose))
}

var errOtherAddress = &auth.Error{Kind: auth.Forbidden, Msg: "You were invited by another e-mail address than the one that this provider knows you by"}

// signedTo is [visit.signed] for who wanted to go to a page.
func (v *visit) signedTo(s people.Entry, to string) error {
	v.form.sent = map[string]string{"next": to}
	return v.signed(s)
}

// providerTitle is what people call a provider, its name if there is none of this name any more.
func (v *visit) providerTitle(name string) string {
	for _, c := range v.Providers() {
		if c.Name == name {
			return c.Title
		}
	}
	return name
}

// A listedOpenID is one as its owner sees it.
type listedOpenID struct {
	auth.OpenID
	Title string
	Path  string // of its pages
}

// MyOpenIDs are the visitor's.
func (v *visit) MyOpenIDs() ([]listedOpenID, error) {
	ids, err := v.d.People.OpenIDs(v.r.Context(), v.visitor)
	if err != nil {
		return nil, err
	}
	var all []listedOpenID
	for _, o := range ids {
		sum := sha256.Sum256([]byte(o.Issuer + "\x00" + o.Subject))
		all = append(all, listedOpenID{o, v.providerTitle(o.Provider), Root + "/profile/openid/" + base64.RawURLEncoding.EncodeToString(sum[:12])})
	}
	return all, nil
}

// myOpenID is the one of the visitor's that the address names.
func (v *visit) myOpenID() (listedOpenID, error) {
	all, err := v.MyOpenIDs()
	if err != nil {
		return listedOpenID{}, err
	}
	for _, o := range all {
		if strings.HasSuffix(o.Path, "/"+v.r.PathValue("link")) {
			return o, nil
		}
	}
	return listedOpenID{}, auth.ErrNotFound
}

// askUnlink asks whether somebody is no longer to sign in through a provider.
func (d *Dashboard) askUnlink(v *visit) error {
	o, err := v.myOpenID()
	if err != nil {
		return err
	}
	return v.ask("Unlink a provider", Ask{
		Lead: "You cannot sign in through " + o.Title + " as " + o.Email + " any more.", Button: "Unlink it", Danger: true, Back: toProfile.To,
	}, toProfile)
}

func (d *Dashboard) unlink(v *visit) error {
	if v.stale() {
		return v.confirmFirst()
	}
	o, err := v.myOpenID()
	if err != nil {
		return err
	}
	if err := d.People.RemoveOpenID(v.r.Context(), v.visitor, o.Issuer, o.Subject); err != nil {
		return v.refused(err, "", (*Dashboard).askUnlink)
	}
	return v.done(toProfile.To, o.Title+" was unlinked.")
}
