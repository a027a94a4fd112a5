package dashboard

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A visit is one request to a page: who asks, for what, and what is said back.
type visit struct {
	http.ResponseWriter
	d       *Dashboard
	r       *web.Request
	route   *route         // nil: there is no such page
	visitor people.Visitor // zero: nobody has signed in
	actor   auth.Actor     // the visitor's
	form    form
	of      string // the name of the account that the page is of, once it was read
	status  int
	err     error
	mark    string // of the browser, once it was asked for
	resumed bool   // it was another page's before, which knows who comes and has the form
}

// serve serves the page of the visit's route: it finds out who comes, takes the form if it is from a page of ours, and asks
// whether they may.
func (v *visit) serve() error {
	if v.resumed {
		return v.enter()
	}
	if err := v.meet(); err != nil {
		return err
	}
	if v.r.Method != get && v.r.Method != http.MethodHead {
		if err := v.d.forms.Check(v.r.Request); err != nil {
			v.denied("a form from another site for " + v.route.path)
			return errOtherSite.From(err)
		}
		sent, err := web.DecodeForm(v.r)
		if err != nil {
			return err
		}
		v.form.sent = sent.All()
	}
	return v.enter()
}

// enter asks whether who comes may, and has the page served.
func (v *visit) enter() error {
	if v.route.open {
		return v.route.serve(v.d, v)
	}
	if !v.signedIn() {
		return v.signInFirst()
	}
	if _, err := v.parseAccount(); err != nil {
		return err
	}
	if v.route.needs != "" {
		switch err := v.may(v.route.needs); {
		case errors.Is(err, registry.ErrStepUp):
			return v.confirmFirst()
		case err != nil:
			v.denied(string(v.route.needs))
			return err
		}
	}
	err := v.route.serve(v.d, v)
	if errors.Is(err, registry.ErrStepUp) { // what it wants could not be known before
		return v.confirmFirst()
	}
	return err
}

// errOtherSite is a form that a page of somebody else's sent.
var errOtherSite = &auth.Error{Kind: auth.Forbidden, Msg: "This form was sent by a page of another site. Nothing was changed. If you meant to do it, open the dashboard and do it there."}

// denied writes down that somebody we know was refused before the registry was asked. Who could not be noted is refused
// nevertheless.
func (v *visit) denied(detail string) {
	if v.actor.Role == "" {
		return
	}
	if err := v.d.Registry.Denied(v.r.Context(), v.actor, detail); err != nil {
		v.d.Log.Error("a refusal could not be written to the audit trail", "request_id", v.r.Caller.RequestID, "error", err)
	}
}

// may says whether who comes may do something with what the page is about.
func (v *visit) may(action registry.Action) error {
	return registry.May(v.actor, action, v.account(), v.d.now())
}

// Can says whether a button for an action has its place on the page: a step-up is asked for when it is pressed.
func (v *visit) Can(action string) bool {
	err := v.may(registry.Action(action))
	return err == nil || errors.Is(err, registry.ErrStepUp)
}

// account is the one that the page is of, 0 if it is of none.
func (v *visit) account() auth.AccountID {
	id, _ := v.parseAccount() // asked before any page was served
	return id
}

// parseAccount reads the account of the address; that of a member is their own whatever is asked.
func (v *visit) parseAccount() (auth.AccountID, error) {
	if v.d.Side == Members {
		return v.actor.Account, nil
	}
	text := v.r.PathValue("account")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != text {
		return 0, auth.ErrNotFound
	}
	return auth.AccountID(n), nil
}

// Base is where the pages of the account are, "" for members.
func (v *visit) Base() string {
	if v.d.Side == Operators && v.r.PathValue("account") != "" {
		return Root + "/accounts/" + v.r.PathValue("account")
	}
	return Root
}

// query is a parameter of the address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// Has says whether the address has a parameter.
func (v *visit) Has(name string) bool { return v.query(name) != "" }

// At is the path of the page.
func (v *visit) At() string { return v.r.URL.Path }

// redirect leads on to a page of ours, after a form was taken. The path is below [Root].
func (v *visit) redirect(path string) error {
	v.Header()["Location"] = []string{Root + path}
	v.WriteHeader(http.StatusSeeOther)
	return nil
}

// redirectTo leads on to an address of ours.
func (v *visit) redirectTo(address string) error {
	return v.redirect(strings.TrimPrefix(address, Root))
}

// done leads on to a page of ours, which then says what was done.
func (v *visit) done(path, said string) error {
	v.say(said)
	return v.redirectTo(path)
}

// refused shows a page again whose form was not taken, with what was typed and why; what is no fault of the form's is the
// error of the visit. field is the one that is at fault, "" for the form as a whole.
func (v *visit) refused(err error, field string, page func(*Dashboard, *visit) error) error {
	e := auth.AsError(err)
	if errors.Is(err, auth.ErrDone) {
		return err
	}
	switch e.Kind {
	case auth.Invalid, auth.Conflict, auth.Unauthenticated, auth.Limited:
	case auth.Forbidden:
		if errors.Is(err, registry.ErrStepUp) {
			return err
		}
	default:
		return err
	}
	failed := web.Fail(v.Header(), v.r, err)
	v.status = failed.Status
	v.form.Problems = append(v.form.Problems, Problem{Field: field, Says: sentence(e.Msg)})
	return page(v.d, v)
}

// sentence makes a message of the registry one: it begins with a capital and ends with a full stop.
func sentence(msg string) string {
	if msg == "" {
		return ""
	}
	msg = strings.ToUpper(msg[:1]) + msg[1:]
	if !strings.ContainsAny(msg[len(msg)-1:], ".!?") {
		msg += "."
	}
	return msg
}

// A frame is what every template is given.
type frame struct {
	*visit
	Page     string // the template's name
	Title    string
	Product  string
	Operator bool // the side
	Signed   bool
	Name     string
	Role     auth.Role
	Nav      []link
	Trail    []link
	Said     string // what was done a moment ago
	Assets   map[string]string
	Now      time.Time
	Form     *form
	Data     any
}

// A link leads to a page.
type link struct {
	To, Text string
	Here     bool
}

// page answers with a page, made by the template of this name of data.
func (v *visit) page(name, title string, data any, trail ...link) error {
	read := v.d.templates[name]
	if read == nil {
		return errors.New("dashboard: there is no template " + name)
	}
	t, err := read()
	if err != nil {
		return err
	}
	assets, err := v.d.assets.Paths()
	if err != nil {
		return err
	}
	f := frame{
		visit: v, Page: name, Title: title, Product: v.d.Title, Operator: v.d.Side == Operators, Signed: v.signedIn(),
		Name: v.visitor.Person.Email, Role: v.actor.Role, Trail: trail, Assets: assets, Now: v.d.now(), Form: &v.form, Data: data,
	}
	if f.Signed {
		f.Nav = v.nav()
	}
	f.Said = v.said()
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "base", f); err != nil {
		return err
	}
	h := v.Header()
	h["Content-Type"] = []string{"text/html; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(b.Len())}
	v.WriteHeader(cmp.Or(v.status, http.StatusOK))
	_, _ = v.Write(b.Bytes())
	return nil
}

// RequestID is what support is told.
func (v *visit) RequestID() string { return v.r.Caller.RequestID }

// nav is the way to the main pages.
func (v *visit) nav() []link {
	var links []link
	for _, one := range mainPages {
		if one.side&v.d.Side == 0 || one.needs != "" && !v.Can(string(one.needs)) {
			continue
		}
		to := Root + one.path
		links = append(links, link{To: to, Text: one.text, Here: isUnder(v.At(), to, one.path != "/")})
	}
	return links
}

// own says whether an address that came from outside is one of our pages, and returns its one spelling: nobody is led away.
func own(next string) (string, bool) {
	path, query, err := web.CheckPath(next)
	if err != nil || !strings.HasPrefix(path, Root+"/") {
		return "", false
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || u.Host != "" {
		return "", false
	}
	if query != "" {
		path += "?" + query
	}
	return path, true
}
