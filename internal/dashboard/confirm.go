package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
)

// An Ask is the question before something is done that takes something away: a page of its own, or a dialog on the page
// before.
type Ask struct {
	Lead    string   // what it is about
	Says    []string // what will come of it
	Button  string
	Danger  bool
	Back    string // where it leads if the answer is no
	Fields  []Field
	Warning string // what should be known before; "": nothing
	Makes   bool   // a secret: see [visit.Once]
}

// ask answers with the question.
func (v *visit) ask(title string, a Ask, trail ...link) error {
	return v.page("ask", title, a, trail...)
}

// A confirmPage asks who comes to prove once more that it is they.
type confirmPage struct {
	Password, TOTP bool // what they can prove it with
	Next           string
	Kept           string // the form that was about to be taken, sealed; "": none
	Back           string
	Long           bool // the form is too long to be kept while somebody is at a provider
}

// confirmFirst asks whoever comes to prove that it is they, before what they were about to do is done. A form that was sent is
// kept on the page, so that nothing has to be typed again.
func (v *visit) confirmFirst() error {
	at := v.r.URL.RequestURI()
	if v.r.Method != post {
		return v.proveFirst()
	}
	sent, err := json.Marshal(v.form.sent)
	if err != nil {
		return err
	}
	kept := v.d.seal(v.keptFor(at), string(sent))
	v.form = form{}
	v.status = http.StatusForbidden
	return v.confirmPage(at, kept)
}

// proveFirst leads to the page that asks for a proof, and from there back to the page of this address.
func (v *visit) proveFirst() error {
	return v.away("/confirm?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode())
}

// keptFor is what a kept form is sealed for: one address and one person.
func (v *visit) keptFor(at string) string { return "form " + string(v.actor.Person) + " " + at }

func (v *visit) confirmPage(next, kept string) error {
	p := v.visitor.Person
	return v.page("confirm", "Confirm that it is you", confirmPage{p.Password, p.TOTP, next, kept, Root + "/", len(kept) > mostAway})
}

// confirmPage asks on the way to a page.
func (d *Dashboard) confirmPage(v *visit) error {
	return v.confirmPage(v.goingTo(), "")
}

// confirm takes the proof, and does what was about to be done: it leads to the page, or takes the form that was kept.
func (d *Dashboard) confirm(v *visit) error {
	if other := v.another((*Dashboard).passkeyConfirm, (*Dashboard).confirmElsewhere); other != nil {
		return other(d, v)
	}
	next, kept := v.form.Get("confirm-next"), v.form.Get("confirm-kept")
	again := func(d *Dashboard, v *visit) error { return v.confirmPage(next, kept) }
	signed, err := d.People.Confirm(v.r.Context(), v.visitor, v.form.Raw("confirm-password"), v.form.Get("confirm-code"), v.r.Caller)
	if err != nil {
		return v.refused(err, "", again)
	}
	return v.proved(signed, next, kept)
}

// proved goes on with what somebody was about to do before they were asked to prove who they are.
func (v *visit) proved(e people.Entry, next, kept string) error {
	to, ok := own(next)
	if !ok {
		to = Root + "/"
	}
	v.keep(e)
	v.visitor.Session.ID = e.Session
	v.visitor.Actor.ProvedAt, v.actor.ProvedAt = v.d.now(), v.d.now()
	if kept == "" {
		return v.redirectTo(to)
	}
	text, ok := v.d.unseal(v.keptFor(to), kept)
	if !ok {
		return auth.ErrInvalid.Saying("The form that was kept is not the one that was sent. Nothing was changed.")
	}
	v.form = form{}
	if err := json.Unmarshal([]byte(text), &v.form.sent); err != nil {
		return err
	}
	return v.resume(to)
}

// resume takes the form that the visit holds at another of our addresses, as if it had been sent there now.
func (v *visit) resume(at string) error {
	u, err := url.ParseRequestURI(at)
	if err != nil {
		return err
	}
	r := v.r.Clone(v.r.Context())
	r.Method, r.URL, r.RequestURI = post, u, at // who comes back from a provider comes by GET
	if _, pattern := v.d.mux.Handler(r); pattern == "" {
		return auth.ErrNotFound
	}
	v.resumed = true
	v.d.mux.ServeHTTP(v, r)
	return v.err
}
